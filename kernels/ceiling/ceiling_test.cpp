// SPDX-License-Identifier: Apache-2.0
#include "kernels/testing/testing.h"

using namespace gatun::testing;

TEST_CASE("ceiling_fma counts the work it did and leaves a finite result") {
  Device device(2);
  const gatun_ceiling_fma_desc desc{sizeof desc, 0, 1000, layout(GATUN_I64, {1}), layout(GATUN_F32, {1})};
  int64_t flops = 0;
  float result = 0;
  run([&](gatun_error* e) { return gatun_ceiling_fma(device.stream(), &desc, &flops, &result, e); });
  CHECK(flops % (2 * 12 * 2 * 1000) == 0);
  CHECK(flops >= 2 * 12 * 2 * 1000);
  // a -> a * 0.999999 + 1e-6 pulls every chain from its start towards 1
  CHECK(result > 0);
  CHECK(std::isfinite(result));
}

TEST_CASE("ceiling_copy copies every element of any length and none beyond") {
  Device device(2);
  for (const int64_t count : {0, 1, 15, 16, 17, 16384, 40001}) {
    const std::vector<float> x = normal(count + 1, 1);
    std::vector<float> y(x.size(), 7.0f);
    const gatun_ceiling_copy_desc desc{sizeof desc, 0, layout(GATUN_F32, {count}), layout(GATUN_F32, {count})};
    run([&](gatun_error* e) { return gatun_ceiling_copy(device.stream(), &desc, x.data(), y.data(), e); });
    CHECK(std::equal(y.begin(), y.end() - 1, x.begin()));
    CHECK(y.back() == 7.0f);
  }
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/testing/memory.h"
#include "kernels/testing/testing.h"

using namespace gatun::testing;

TEST_CASE("ceiling_fma counts the work it did and leaves a finite result") {
  Device device(2);
  const gatun_ceiling_fma_desc desc{sizeof desc, 0, 20, layout(GATUN_I64, {1}), layout(GATUN_F32, {1})};
  Memory<int64_t> work(1, 0);
  Memory<float> last(1, 0.0f);
  run([&](gatun_error* e) { return gatun_ceiling_fma(device.stream(), &desc, work.data(), last.data(), e); });
  const int64_t flops = work.values()[0];
  const float result = last.values()[0];
  CHECK(flops % (2 * 12 * 2 * 20) == 0);
  CHECK(flops >= 2 * 12 * 2 * 20);
  // a -> a * 0.999999 + 1e-6 pulls every chain from its start towards 1
  CHECK(result > 0);
  CHECK(std::isfinite(result));
}

TEST_CASE("ceiling_mma counts the work of the tensor cores; the CPU has none") {
  Device device(2);
  for (const int32_t dtype : {GATUN_BF16, GATUN_F16}) {
    const auto attempt = [&](int64_t iterations, void* flops, void* result, gatun_error* e) {
      const gatun_ceiling_mma_desc desc{sizeof desc, dtype, iterations, layout(GATUN_I64, {1}), layout(GATUN_F32, {1})};
      return gatun_ceiling_mma(device.stream(), &desc, flops, result, e);
    };
    Memory<int64_t> work(1, 0);
    Memory<float> last(1, 0.0f);
#if defined(GATUN_CUDA)
    run([&](gatun_error* e) { return attempt(1, work.data(), last.data(), e); });
    const int64_t once = work.values()[0];
    const float first = last.values()[0];
    CHECK(once % (8 * 2 * 16 * 16 * 8) == 0);
    run([&](gatun_error* e) { return attempt(3, work.data(), last.data(), e); });
    CHECK(work.values()[0] == 3 * once);
    // The same product is added each time; none is left out.
    CHECK(first != 0);
    CHECK(last.values()[0] == doctest::Approx(3 * first).epsilon(1e-4));
#else
    gatun_error error{};
    CHECK(attempt(1, work.data(), last.data(), &error) == GATUN_UNSUPPORTED);
#endif
    refused("iterations is 0", [&](gatun_error* e) { return attempt(0, work.data(), last.data(), e); });
  }
  int64_t flops = 0;
  float result = 0;
  const gatun_ceiling_mma_desc desc{sizeof desc, GATUN_F32, 1, layout(GATUN_I64, {1}), layout(GATUN_F32, {1})};
  refused("dtype is f32", [&](gatun_error* e) { return gatun_ceiling_mma(device.stream(), &desc, &flops, &result, e); });
}

TEST_CASE("ceiling_copy copies every element of any length and none beyond") {
  Device device(2);
  for (const int64_t count : {0, 1, 15, 16, 17, 16384, 40001}) {
    for (const int64_t shift : {0, 1}) {  // an operand that vectors do not fit
      const std::vector<float> x = normal(count + 2, 1);
      const Memory<float> from(x);
      Memory<float> to(x.size(), 7.0f);
      const gatun_ceiling_copy_desc desc{sizeof desc, 0, layout(GATUN_F32, {count}), layout(GATUN_F32, {count})};
      run([&](gatun_error* e) { return gatun_ceiling_copy(device.stream(), &desc, from.data() + shift, to.data(), e); });
      const std::vector<float> y = to.values();
      CHECK(std::equal(y.begin(), y.end() - 2, x.begin() + shift));
      CHECK(y[y.size() - 2] == 7.0f);
      CHECK(y.back() == 7.0f);
    }
  }
}

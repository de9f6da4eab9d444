// SPDX-License-Identifier: Apache-2.0
// Operations of streams of one thread, whose parallel regions are plain calls, from within a caller's own team of threads.
#include <omp.h>

#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

// x + x for enough elements that a team would share them.
std::vector<float> doubled(int threads) {
  Device device(threads);
  std::vector<float> x(100'003, 1.5f), y(x.size(), 0.0f);
  const gatun_layout vector = layout(GATUN_F32, {static_cast<int64_t>(x.size())});
  const gatun_elementwise_desc desc{sizeof desc, GATUN_ELEMENTWISE_ADD, 0, 0, vector, vector, vector};
  run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, x.data(), x.data(), y.data(), e); });
  return y;
}

const std::vector<float> kThrees(100'003, 3.0f);

}  // namespace

TEST_CASE("each of a team's calls does the whole of its work") {
  constexpr int kTeam = 3;
  std::vector<std::vector<float>> results(kTeam);
  int team = 0;
#pragma omp parallel num_threads(kTeam)
  {
#pragma omp single
    team = omp_get_num_threads();
    results[static_cast<size_t>(omp_get_thread_num())] = doubled(1);
  }
  REQUIRE(team == kTeam);
  for (const std::vector<float>& y : results) CHECK(y == kThrees);
}

TEST_CASE("streams of one thread and of two take turns") {
  for (const int threads : {1, 2, 1, 2}) CHECK(doubled(threads) == kThrees);
}

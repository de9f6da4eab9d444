// SPDX-License-Identifier: Apache-2.0
#include "kernels/trial/selftest.h"

#include <algorithm>
#include <cmath>

namespace gatun::trial {

int64_t Selftest::extent(int64_t low, int64_t high) {
  if (device_.emulated()) high = std::max(low, std::min(high, std::max<int64_t>(40, high / 4)));
  const double draw = std::uniform_real_distribution<double>(std::log(static_cast<double>(low)), std::log(high + 1.0))(random_);
  return std::clamp(static_cast<int64_t>(std::exp(draw)), low, high);
}

}  // namespace gatun::trial

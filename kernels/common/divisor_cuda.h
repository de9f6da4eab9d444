// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/cuda.h"

namespace gatun {

// n / divisor for n < 2^31, without a division (Granlund and Montgomery 1994).
struct Divisor {
  uint32_t multiplier;
  int shift;
  int value;
  static Divisor of(int64_t divisor) {
    int shift = 0;
    while (int64_t{1} << shift < divisor) ++shift;
    return {static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - static_cast<uint64_t>(divisor))) / static_cast<uint64_t>(divisor) + 1), shift,
            static_cast<int>(divisor)};
  }
  __device__ __forceinline__ int quotient(int n) const {
    return static_cast<int>((__umulhi(static_cast<unsigned>(n), multiplier) + static_cast<unsigned>(n)) >> shift);
  }
};

}  // namespace gatun

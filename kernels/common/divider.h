// SPDX-License-Identifier: Apache-2.0
// Division of an index by a number that is known at launch: a multiplication and a shift (Granlund and Montgomery, 1994).
#pragma once

#include <bit>

#include "kernels/common/cuda.h"

namespace gatun {

// Exact for dividends below 2^31.
struct Divider {
  uint32_t divisor = 1;
  uint32_t multiplier = 1u << 31;
  uint32_t shift = 31;

  Divider() = default;
  // 1 to 2^31 - 1
  explicit Divider(int64_t by) : divisor(static_cast<uint32_t>(by)) {
    const int log = 32 - std::countl_zero(divisor - 1);  // the least power of two that is not below
    shift = 31 + static_cast<uint32_t>(log);
    multiplier = static_cast<uint32_t>(((uint64_t{1} << shift) + divisor - 1) / divisor);
  }

  __device__ __forceinline__ uint32_t divide(uint32_t n) const { return static_cast<uint32_t>((static_cast<uint64_t>(n) * multiplier) >> shift); }
  __device__ __forceinline__ uint32_t divide(uint32_t n, uint32_t& remainder) const {
    const uint32_t quotient = divide(n);
    remainder = n - quotient * divisor;
    return quotient;
  }
};

}  // namespace gatun

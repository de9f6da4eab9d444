// SPDX-License-Identifier: Apache-2.0
// The mathematics of elementwise, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>

#include "gatun/elementwise.h"

namespace gatun {

// y is the element's old value, which only ACCUMULATE reads.
template <class T>
T elementwise_reference(int operation, T alpha, T beta, T x, T z, T y) {
  switch (operation) {
    case GATUN_ELEMENTWISE_COPY: return x;
    case GATUN_ELEMENTWISE_FILL: return alpha;
    case GATUN_ELEMENTWISE_AFFINE: return alpha * x + beta;
    case GATUN_ELEMENTWISE_ACCUMULATE: return y + alpha * x;
    case GATUN_ELEMENTWISE_NEGATE: return -x;
    case GATUN_ELEMENTWISE_ABSOLUTE: return std::abs(x);
    case GATUN_ELEMENTWISE_EXP: return std::exp(x);
    case GATUN_ELEMENTWISE_LOG: return std::log(x);
    case GATUN_ELEMENTWISE_SQRT: return std::sqrt(x);
    case GATUN_ELEMENTWISE_SQUARE: return x * x;
    case GATUN_ELEMENTWISE_RECIPROCAL: return 1 / x;
    case GATUN_ELEMENTWISE_ADD: return x + z;
    case GATUN_ELEMENTWISE_SUBTRACT: return x - z;
    case GATUN_ELEMENTWISE_MULTIPLY: return x * z;
    case GATUN_ELEMENTWISE_DIVIDE: return x / z;
    case GATUN_ELEMENTWISE_MAXIMUM: return std::isnan(x) || x > z ? x : z;
    case GATUN_ELEMENTWISE_MINIMUM: return std::isnan(x) || x < z ? x : z;
    default: return std::nan("");
  }
}

// Offset of the n-th element (row-major) of `shape` in an operand that broadcasts to it.
inline int64_t elementwise_offset(const gatun_layout& shape, const gatun_layout& operand, int64_t n) {
  int64_t offset = 0;
  for (int i = shape.rank - 1, j = operand.rank - 1; i >= 0; --i, --j) {
    const int64_t index = n % shape.shape[i];
    n /= shape.shape[i];
    if (j >= 0 && operand.shape[j] != 1) offset += index * operand.stride[j];
  }
  return offset;
}

}  // namespace gatun

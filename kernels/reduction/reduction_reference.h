// SPDX-License-Identifier: Apache-2.0
// The mathematics of reduction, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "gatun/reduction.h"

namespace gatun {

// x and y as layouts describe them, all elements in row-major order of x.
template <class T>
void reduction_reference(int operation, const gatun_layout& x_layout, const T* x, const gatun_layout& y_layout, T* y) {
  int64_t count = 1, outputs = 1;
  for (int i = 0; i < x_layout.rank; ++i) count *= x_layout.shape[i];
  for (int i = 0; i < y_layout.rank; ++i) outputs *= y_layout.shape[i];
  const auto place = [](const gatun_layout& layout, int64_t n, const gatun_layout& shape) {
    int64_t offset = 0;
    for (int i = shape.rank - 1, j = layout.rank - 1; i >= 0; --i, --j) {
      if (j >= 0 && layout.shape[j] != 1) offset += n % shape.shape[i] * layout.stride[j];
      n /= shape.shape[i];
    }
    return offset;
  };
  const T start = operation == GATUN_REDUCTION_MAXIMUM ? -std::numeric_limits<T>::infinity() : T(0);
  for (int64_t o = 0; o < outputs; ++o) y[place(y_layout, o, y_layout)] = start;
  for (int64_t n = 0; n < count; ++n) {
    const T value = x[place(x_layout, n, x_layout)];
    T& total = y[place(y_layout, n, x_layout)];
    if (operation != GATUN_REDUCTION_MAXIMUM) {
      total += value;
    } else if (std::isnan(value) || value > total) {
      total = value;
    }
  }
  if (operation == GATUN_REDUCTION_MEAN) {
    for (int64_t o = 0; o < outputs; ++o) y[place(y_layout, o, y_layout)] /= static_cast<T>(count) / static_cast<T>(outputs);
  }
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// The mathematics of l2_normalize, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>
#include <cstdint>

namespace gatun {

// x, y: (rows, columns) contiguous; norm: (rows)
template <class T>
void l2_normalize_reference(const T* x, T* y, T* norm, int64_t rows, int64_t columns, T epsilon) {
  for (int64_t r = 0; r < rows; ++r) {
    T sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += x[r * columns + c] * x[r * columns + c];
    norm[r] = std::sqrt(sum);
    const T length = norm[r] < epsilon ? epsilon : norm[r];
    for (int64_t c = 0; c < columns; ++c) y[r * columns + c] = x[r * columns + c] / length;
  }
}

template <class T>
void l2_normalize_backward_reference(const T* y, const T* norm, const T* dy, T* dx, int64_t rows, int64_t columns, T epsilon) {
  for (int64_t r = 0; r < rows; ++r) {
    const bool clamped = norm[r] < epsilon;
    T projection = 0;
    for (int64_t c = 0; c < columns && !clamped; ++c) projection += y[r * columns + c] * dy[r * columns + c];
    const T length = clamped ? epsilon : norm[r];
    for (int64_t c = 0; c < columns; ++c) dx[r * columns + c] = (dy[r * columns + c] - y[r * columns + c] * projection) / length;
  }
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// The mathematics of softmax, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace gatun {

// x: (rows, columns) contiguous
template <class T>
std::vector<T> softmax_reference(const std::vector<T>& x, size_t columns, T temperature) {
  std::vector<T> y(x.size());
  for (size_t row = 0; row < x.size(); row += columns) {
    const T largest = *std::max_element(x.begin() + row, x.begin() + row + columns);
    T sum = 0;
    for (size_t i = row; i < row + columns; ++i) sum += y[i] = std::isinf(largest) ? T(0) : std::exp((x[i] - largest) / temperature);
    for (size_t i = row; i < row + columns; ++i) y[i] = std::isinf(largest) ? T(0) : y[i] / sum;
  }
  return y;
}

template <class T>
std::vector<T> softmax_backward_reference(const std::vector<T>& y, const std::vector<T>& dy, size_t columns, T temperature) {
  std::vector<T> dx(y.size());
  for (size_t row = 0; row < y.size(); row += columns) {
    T dot = 0;
    for (size_t i = row; i < row + columns; ++i) dot += y[i] * dy[i];
    for (size_t i = row; i < row + columns; ++i) dx[i] = y[i] * (dy[i] - dot) / temperature;
  }
  return dx;
}

}  // namespace gatun

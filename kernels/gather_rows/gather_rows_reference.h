// SPDX-License-Identifier: Apache-2.0
// Rows by index, as plainly as it can be written.
#pragma once

#include <cstdint>

namespace gatun {

// x: (.., columns), y: (count, columns)
template <class T>
void gather_rows_reference(const T* x, const int32_t* indices, T* y, int64_t count, int64_t columns) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < columns; ++c) y[i * columns + c] = x[indices[i] * columns + c];
  }
}

// dy: (count, columns), dx: (rows, columns)
template <class T>
void gather_rows_backward_reference(const T* dy, const int32_t* indices, T* dx, int64_t rows, int64_t count, int64_t columns) {
  for (int64_t i = 0; i < rows * columns; ++i) dx[i] = 0;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < columns; ++c) dx[indices[i] * columns + c] += dy[i * columns + c];
  }
}

}  // namespace gatun

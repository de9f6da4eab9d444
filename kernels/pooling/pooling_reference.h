// SPDX-License-Identifier: Apache-2.0
// The mathematics of pooling on contiguous operands, as plainly as it can be written, forward and backward by scattering.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/pooling/pooling.h"

namespace gatun {

// visit(input index, input pixel, output index) for every element of every window, in row order.
template <class Visit>
void pooling_visit(const PoolingShape& s, Visit&& visit) {
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t i = 0; i < s.y.height; ++i)
      for (int64_t j = 0; j < s.y.width; ++j)
        for (int64_t u = 0; u < s.rows.window; ++u)
          for (int64_t v = 0; v < s.columns.window; ++v) {
            const int64_t row = i * s.rows.stride + u - s.rows.padding;
            const int64_t column = j * s.columns.stride + v - s.columns.padding;
            if (row < 0 || row >= s.x.height || column < 0 || column >= s.x.width) continue;
            for (int64_t c = 0; c < s.channels; ++c) {
              visit(((b * s.x.height + row) * s.x.width + column) * s.channels + c, row * s.x.width + column,
                    ((b * s.y.height + i) * s.y.width + j) * s.channels + c);
            }
          }
}

inline int64_t pooling_outputs(const PoolingShape& s) { return s.batch * s.y.height * s.y.width * s.channels; }
inline int64_t pooling_inputs(const PoolingShape& s) { return s.batch * s.x.height * s.x.width * s.channels; }

template <class T>
void pooling_max_reference(const PoolingShape& s, const T* x, T* y, int32_t* argmax) {
  std::fill_n(argmax, pooling_outputs(s), -1);
  pooling_visit(s, [&](int64_t in, int64_t pixel, int64_t out) {
    if (argmax[out] < 0 || x[in] > y[out] || (std::isnan(x[in]) && !std::isnan(y[out]))) {
      y[out] = x[in];
      argmax[out] = static_cast<int32_t>(pixel);
    }
  });
}

template <class T>
void pooling_max_backward_reference(const PoolingShape& s, const T* dy, const int32_t* argmax, T* dx) {
  std::fill_n(dx, pooling_inputs(s), T(0));
  pooling_visit(s, [&](int64_t in, int64_t pixel, int64_t out) {
    if (argmax[out] == pixel) dx[in] += dy[out];
  });
}

// What each output of an average is divided by.
template <class T>
void pooling_divisors(const PoolingShape& s, T* divisor) {
  std::fill_n(divisor, pooling_outputs(s), T(s.count_include_pad ? s.rows.window * s.columns.window : 0));
  if (!s.count_include_pad) pooling_visit(s, [&](int64_t, int64_t, int64_t out) { divisor[out] += 1; });
}

// divisor: of pooling_divisors
template <class T>
void pooling_average_reference(const PoolingShape& s, const T* x, const T* divisor, T* y) {
  std::fill_n(y, pooling_outputs(s), T(0));
  pooling_visit(s, [&](int64_t in, int64_t, int64_t out) { y[out] += x[in]; });
  for (int64_t i = 0; i < pooling_outputs(s); ++i) y[i] /= divisor[i];
}

template <class T>
void pooling_average_backward_reference(const PoolingShape& s, const T* dy, const T* divisor, T* dx) {
  std::fill_n(dx, pooling_inputs(s), T(0));
  pooling_visit(s, [&](int64_t in, int64_t, int64_t out) { dx[in] += dy[out] / divisor[out]; });
}

}  // namespace gatun

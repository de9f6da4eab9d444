// SPDX-License-Identifier: Apache-2.0
// The mathematics of convolution, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/convolution/convolution.h"

namespace gatun {

// Calls visit(input index, weight index, output index) for every product of the convolution of contiguous operands.
template <class Visit>
void convolution_visit(const ConvolutionShape& s, Visit&& visit) {
  const int64_t group_channels = s.channels / s.groups;
  const int64_t group_outputs = s.out_channels / s.groups;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t i = 0; i < s.y.height; ++i)
      for (int64_t j = 0; j < s.y.width; ++j)
        for (int64_t o = 0; o < s.out_channels; ++o)
          for (int64_t u = 0; u < s.kernel_height; ++u)
            for (int64_t v = 0; v < s.kernel_width; ++v) {
              const int64_t row = i * s.stride_height + u * s.dilation_height - s.padding_top;
              const int64_t column = j * s.stride_width + v * s.dilation_width - s.padding_left;
              if (row < 0 || row >= s.x.height || column < 0 || column >= s.x.width) continue;
              for (int64_t c = 0; c < group_channels; ++c) {
                const int64_t x = ((b * s.x.height + row) * s.x.width + column) * s.channels + o / group_outputs * group_channels + c;
                const int64_t w = ((o * s.kernel_height + u) * s.kernel_width + v) * group_channels + c;
                visit(x, w, ((b * s.y.height + i) * s.y.width + j) * s.out_channels + o);
              }
            }
}

// bias may be null
template <class T>
void convolution_reference(const ConvolutionShape& s, const T* x, const T* weights, const T* bias, T* y) {
  for (int64_t m = 0; m < s.positions(); ++m) {
    for (int64_t o = 0; o < s.out_channels; ++o) y[m * s.out_channels + o] = bias == nullptr ? T(0) : bias[o];
  }
  convolution_visit(s, [&](int64_t i, int64_t w, int64_t o) { y[o] += x[i] * weights[w]; });
}

template <class T>
void convolution_backward_data_reference(const ConvolutionShape& s, const T* dy, const T* weights, T* dx) {
  std::fill_n(dx, s.batch * s.x.height * s.x.width * s.channels, T(0));
  convolution_visit(s, [&](int64_t i, int64_t w, int64_t o) { dx[i] += dy[o] * weights[w]; });
}

template <class T>
void convolution_backward_weights_reference(const ConvolutionShape& s, const T* x, const T* dy, T* dweights, T* dbias) {
  std::fill_n(dweights, s.out_channels * s.kernel_height * s.kernel_width * s.channels / s.groups, T(0));
  std::fill_n(dbias, s.out_channels, T(0));
  convolution_visit(s, [&](int64_t i, int64_t w, int64_t o) { dweights[w] += dy[o] * x[i]; });
  for (int64_t m = 0; m < s.positions(); ++m) {
    for (int64_t o = 0; o < s.out_channels; ++o) dbias[o] += dy[m * s.out_channels + o];
  }
}

}  // namespace gatun

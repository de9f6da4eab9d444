// SPDX-License-Identifier: Apache-2.0
// A residual joined to some samples, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cstdint>

namespace gatun {

// x, y: (samples, positions, channels); residual: (count, positions, channels); indices, mask, gamma may be null
template <class T>
void stochastic_depth_reference(const T* x, const T* residual, const int32_t* indices, const T* mask, const T* gamma, T scale, T* y,
                                int64_t samples, int64_t count, int64_t positions, int64_t channels) {
  const int64_t columns = positions * channels;
  for (int64_t i = 0; i < samples * columns; ++i) y[i] = x[i];
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = indices != nullptr ? indices[i] : i;
    for (int64_t c = 0; c < columns; ++c) {
      const T factor = scale * (mask != nullptr ? mask[i] : T(1)) * (gamma != nullptr ? gamma[c % channels] : T(1));
      y[b * columns + c] += factor * residual[i * columns + c];
    }
  }
}

template <class T>
void stochastic_depth_backward_reference(const T* dy, const T* residual, const int32_t* indices, const T* mask, const T* gamma, T scale,
                                         T* dresidual, T* dgamma, int64_t count, int64_t positions, int64_t channels) {
  const int64_t columns = positions * channels;
  for (int64_t c = 0; c < channels; ++c) dgamma[c] = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t b = indices != nullptr ? indices[i] : i;
    const T factor = scale * (mask != nullptr ? mask[i] : T(1));
    for (int64_t c = 0; c < columns; ++c) {
      dresidual[i * columns + c] = factor * (gamma != nullptr ? gamma[c % channels] : T(1)) * dy[b * columns + c];
      dgamma[c % channels] += factor * residual[i * columns + c] * dy[b * columns + c];
    }
  }
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/pixels.h"
#include "kernels/common/stream.h"

namespace gatun {

// One axis of the windows.
struct PoolingAxis {
  int64_t window;
  int64_t stride;
  int64_t padding;  // in front
  int64_t size;     // pixels of x
  int64_t outputs;  // pixels of y

  // Pixels of x in window `output`: [begin, end), never empty
  int64_t begin(int64_t output) const { return std::max<int64_t>(0, output * stride - padding); }
  int64_t end(int64_t output) const { return std::min(size, output * stride - padding + window); }
  // Windows that contain pixel `input`: [first, last), empty where last is not above first
  int64_t first(int64_t input) const { return std::max<int64_t>(0, (input + padding - window + stride) / stride); }
  int64_t last(int64_t input) const { return std::min(outputs, (input + padding) / stride + 1); }
};

struct PoolingShape {
  int64_t batch;
  int64_t channels;
  PixelGrid x;
  PixelGrid y;
  PoolingAxis rows;
  PoolingAxis columns;
  bool count_include_pad;

  // What window (i, j) of an average is divided by.
  float divisor(int64_t i, int64_t j) const {
    return static_cast<float>(count_include_pad ? rows.window * columns.window
                                                : (rows.end(i) - rows.begin(i)) * (columns.end(j) - columns.begin(j)));
  }
  // Offset of (b, i, j) in the contiguous argmax.
  int64_t argmax(int64_t b, int64_t i, int64_t j) const { return ((b * y.height + i) * y.width + j) * channels; }
};

#if defined(GATUN_CUDA)
inline constexpr int64_t kMaxPoolingPixels = 0x7fff0000, kMaxPoolingExtent = int64_t{1} << 29;  // they are ints there
#endif

// T: what images are stored as
template <class T>
void pooling_max_forward(const Stream& stream, const PoolingShape& shape, const T* x, T* y, int32_t* argmax);
template <class T>
void pooling_max_backward(const Stream& stream, const PoolingShape& shape, const T* dy, const int32_t* argmax, T* dx);
template <class T>
void pooling_average_forward(const Stream& stream, const PoolingShape& shape, const T* x, T* y);
template <class T>
void pooling_average_backward(const Stream& stream, const PoolingShape& shape, const T* dy, T* dx);

}  // namespace gatun

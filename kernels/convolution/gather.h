// SPDX-License-Identifier: Apache-2.0
// Forward and backward-data are one computation: every target pixel gathers channels of some source pixels ("taps"), multiplied by a
// matrix for each tap. Along each axis the taps are an arithmetic progression. The gradient of a strided convolution splits by the
// target's position modulo the stride into phases: within a phase all pixels have the same taps, so no zeros are multiplied.
#pragma once

#include <cstdint>
#include <numeric>

#include "kernels/convolution/convolution.h"

namespace gatun {

struct GatherAxis {
  int64_t count;        // taps
  int64_t kernel;       // kernel index of the first tap
  int64_t kernel_step;
  int64_t offset;       // of the first tap's source pixel from position * step
  int64_t offset_step;  // > 0
  int64_t step;         // source pixels from one target position to the next
  int64_t positions;    // targets
  int64_t target;       // first target pixel
  int64_t target_step;
};

struct Gather {
  GatherAxis rows;
  GatherAxis columns;
  int64_t batch;
  PixelGrid source;
  PixelGrid target;
  int64_t channels;       // gathered from each tap
  int64_t outputs;        // of each target pixel
  int64_t weight_output;  // weight strides: of an output channel, of a gathered channel, of a kernel row, of a kernel column
  int64_t weight_channel;
  int64_t weight_row;
  int64_t weight_column;

  int64_t depth() const { return rows.count * columns.count * channels; }
  int64_t positions() const { return batch * rows.positions * columns.positions; }
};

inline GatherAxis forward_axis(int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, int64_t positions) {
  return {kernel, 0, 1, -padding, dilation, stride, positions, 0, 1};
}

// Input pixels q, q + stride, ... of an axis of `size` pixels. Tap k reaches output (q + padding - k * dilation) / stride where that is
// whole; taken from the largest k down, so that source offsets ascend.
inline GatherAxis backward_axis(int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, int64_t size, int64_t q) {
  const int64_t common = std::gcd(stride, dilation);
  const int64_t period = stride / common;
  GatherAxis axis{0, 0, -period, 0, dilation / common, 1, q < size ? (size - q + stride - 1) / stride : 0, q, stride};
  for (int64_t k = kernel - 1; k >= 0 && k >= kernel - period; --k) {
    const int64_t reach = q + padding - k * dilation;
    if (reach % stride != 0) continue;
    axis.kernel = k;
    axis.offset = reach / stride;
    axis.count = k / period + 1;
    break;
  }
  return axis;
}

inline Gather forward_gather(const ConvolutionShape& s) {
  return {forward_axis(s.kernel_height, s.stride_height, s.padding_top, s.dilation_height, s.y.height),
          forward_axis(s.kernel_width, s.stride_width, s.padding_left, s.dilation_width, s.y.width),
          s.batch, s.x, s.y, s.group_channels(), s.group_outputs(),
          s.patch(), 1, s.kernel_width * s.group_channels(), s.group_channels()};
}

inline Gather backward_gather(const ConvolutionShape& s, int64_t row_phase, int64_t column_phase) {
  return {backward_axis(s.kernel_height, s.stride_height, s.padding_top, s.dilation_height, s.x.height, row_phase),
          backward_axis(s.kernel_width, s.stride_width, s.padding_left, s.dilation_width, s.x.width, column_phase),
          s.batch, s.y, s.x, s.group_outputs(), s.group_channels(),
          1, s.patch(), s.kernel_width * s.group_channels(), s.group_channels()};
}

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// What the CUDA sources of convolution share.
#pragma once

#include <algorithm>

#include "kernels/common/cuda.h"
#include "kernels/common/divisor_cuda.h"
#include "kernels/common/storage.h"
#include "kernels/convolution/convolution.h"
#include "kernels/convolution/gather.h"

namespace gatun {

// Blocks that fill an H200 twice. A constant, not the device's own number: how a sum is cut up must not depend on where it runs.
inline constexpr int kTargetBlocks = 264;

// An axis of a gather (gather.h) in the numbers of a kernel.
struct PhaseAxis {
  int count, kernel, kernel_step, offset, offset_step, step, positions, target, target_step;
};

inline PhaseAxis phase_axis(const GatherAxis& a) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {narrow(a.count), narrow(a.kernel), narrow(a.kernel_step), narrow(a.offset), narrow(a.offset_step),
          narrow(a.step), narrow(a.positions), narrow(a.target), narrow(a.target_step)};
}

// Target pixels with the same taps. first_tile: where its blocks begin in the grid.
struct Phase {
  PhaseAxis rows, columns;
  int positions;
  int first_tile;
};

// The gradient of a convolution of stride 2 has four phases, all in one launch; further ones take another launch.
inline constexpr int kPhases = 4;

struct GatherArguments {
  Phase phases[kPhases];
  int phase_count;
  PixelGrid source, target;
  int channels;      // of a group, gathered from each tap
  int outputs;       // of a group
  int groups;
  int taps, kernel_width;
  int tiles;         // of outputs, of all groups
  int block;         // channels gathered from all taps before the next channels: near in time, the same pixels are in the L1
  bool wide_store;   // 16 bytes of outputs at a time
};

// weights: (outputs of all groups, taps, channels of a group). bias may be null.
template <class T>
void gather_gemm(const Stream& stream, const GatherArguments& arguments, const T* source, const T* weights, const float* bias, T* target,
                 ConvolutionTile tile);

// The gather of forward or of backward-data, with all its phases: calls launch(arguments) for each launch that it takes.
template <class Launch>
void for_phases(const ConvolutionShape& s, bool backward, Launch&& launch) {
  GatherArguments a{};
  a.source = backward ? s.y : s.x;
  a.target = backward ? s.x : s.y;
  a.channels = static_cast<int>(backward ? s.group_outputs() : s.group_channels());
  a.outputs = static_cast<int>(backward ? s.group_channels() : s.group_outputs());
  a.groups = static_cast<int>(s.groups);
  a.taps = static_cast<int>(s.taps());
  a.kernel_width = static_cast<int>(s.kernel_width);
  const int64_t rows = backward ? std::min(s.stride_height, s.x.height) : 1, columns = backward ? std::min(s.stride_width, s.x.width) : 1;
  for (int64_t i = 0; i < rows * columns; ++i) {
    const Gather gather = backward ? backward_gather(s, i / columns, i % columns) : forward_gather(s);
    a.phases[a.phase_count++] = {phase_axis(gather.rows), phase_axis(gather.columns), static_cast<int>(gather.positions()), 0};
    if (a.phase_count == kPhases || i + 1 == rows * columns) {
      launch(a);
      a.phase_count = 0;
    }
  }
}

// dbias[o] = sum of dy over all pixels; partial: bias_floats(shape) floats
size_t bias_floats(const ConvolutionShape& shape);
template <class T>
void bias_gradient(const Stream& stream, const ConvolutionShape& shape, const T* dy, float* dbias, float* partial);

// Whether every run of `run` elements from a pixel on can be read or written 16 bytes at a time.
inline bool wide(const void* pointer, const PixelGrid& grid, int64_t run, size_t element) {
  const int64_t each = static_cast<int64_t>(16 / element);
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && run % each == 0 && grid.batch_stride % each == 0 && grid.row_stride % each == 0 &&
         grid.pixel_stride % each == 0;
}

// dweights as a matrix product over pixels, cut into splits that are added in order.
struct WeightsPlan {
  int splits;
  int pixels;  // of a split
  ConvolutionTile tile;
};
WeightsPlan weights_plan(const ConvolutionShape& shape, size_t element, ConvolutionTile tile);
template <class T>
void weights_gemm(const Stream& stream, const ConvolutionShape& shape, const WeightsPlan& plan, const T* x, const T* dy, float* dweights,
                  float* partial);

// result[i] = sum over splits of partial[split * count + i], in order
void add_splits(const Stream& stream, const float* partial, int splits, int64_t count, float* result);

// One channel of x for one output, as far as a channel's weights fit in shared memory.
bool depthwise_fits(const ConvolutionShape& shape);
template <class T>
void depthwise_gather(const Stream& stream, const ConvolutionShape& shape, bool backward, const T* source, const T* weights, const float* bias, T* target);
// partial: depthwise_floats(shape) floats
size_t depthwise_floats(const ConvolutionShape& shape);
template <class T>
void depthwise_weights(const Stream& stream, const ConvolutionShape& shape, const T* x, const T* dy, float* dweights, float* partial);

// Few channels of 16 bits.
bool stem_fits(const ConvolutionShape& shape);
template <class T>
void stem_forward(const Stream& stream, const ConvolutionShape& shape, const T* x, const T* weights, const float* bias, T* y);
// partial: stem_splits(shape) times dweights
int stem_splits(const ConvolutionShape& shape);
template <class T>
void stem_weights(const Stream& stream, const ConvolutionShape& shape, const T* x, const T* dy, float* dweights, float* partial);

}  // namespace gatun

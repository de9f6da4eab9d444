// SPDX-License-Identifier: Apache-2.0
// Forward and backward-data of grouped convolutions: an implicit matrix product over tiles of patches (gather.h).
#include "kernels/convolution/convolution.h"

#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/convolution/depthwise.h"
#include "kernels/convolution/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/convolution.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/patches-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Longest stretch of the depth that one tile holds: rows and a panel of weights stay in the second-level cache together.
constexpr int64_t kGatherDepth = 512;

static int64_t gather_depth_block(int64_t depth) {
  const int64_t blocks = std::max<int64_t>(1, (depth + kGatherDepth - 1) / kGatherDepth);
  return (depth + blocks - 1) / blocks;
}

static int64_t padded_outputs(int64_t outputs) { return round_up(outputs, static_cast<int64_t>(hn::Lanes(F32()))); }

// Weights as panels of whole vectors of output channels: panel[k][n], k over (kernel row, kernel column, channel), zeros behind the last.
static void pack_weights(int threads, const Gather& g, const float* weights, float* packed) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t depth = g.depth();
  const int64_t taps = g.rows.count * g.columns.count;
  const int64_t vectors = padded_outputs(g.outputs) / lanes;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
  for (int64_t vector = 0; vector < vectors; ++vector) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      // The panel that this vector of columns belongs to.
      int64_t panel = 0;
      int width = gemm_panel_vectors(g.outputs);
      while (panel + width * lanes <= vector * lanes) {
        panel += width * lanes;
        width = gemm_panel_vectors(g.outputs - panel);
      }
      const int64_t n = vector * lanes;
      const int64_t live = std::min(lanes, g.outputs - n);
      const int64_t u = g.rows.kernel + tap / g.columns.count * g.rows.kernel_step;
      const int64_t v = g.columns.kernel + tap % g.columns.count * g.columns.kernel_step;
      const float* from = weights + u * g.weight_row + v * g.weight_column + n * g.weight_output;
      float* to = packed + panel * depth + tap * g.channels * width * lanes + (n - panel);
      for (int64_t c = 0; c < g.channels; ++c, to += width * lanes, from += g.weight_channel) {
        for (int64_t lane = 0; lane < live; ++lane) to[lane] = from[lane * g.weight_output];
        for (int64_t lane = live; lane < lanes; ++lane) to[lane] = 0.0f;
      }
    }
  }
}

static void gather_product(int threads, const Gather& g, const float* source, const float* weights, const float* bias, float* target,
                           float* workspace) {
  const int64_t depth = g.depth();
  const int64_t positions = g.positions();
  if (positions == 0) return;
  float* packed = workspace;
  float* tiles = packed + round_up(depth * padded_outputs(g.outputs), 16);
  pack_weights(threads, g, weights, packed);
  const int64_t block = gather_depth_block(depth);
  const int64_t stride = tile_stride(block);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t first = 0; first < positions; first += kGemmTileRows) {
    float* tile = tiles + omp_get_thread_num() * kGemmTileRows * stride;
    const int64_t count = std::min<int64_t>(kGemmTileRows, positions - first);
    int64_t offset[kGemmTileRows];
    TargetCursor at(g, first);
    for (int64_t r = 0; r < count; ++r, at.advance(g)) {
      offset[r] = g.target.offset(at.b, g.rows.target + at.i * g.rows.target_step, g.columns.target + at.j * g.columns.target_step);
    }
    // A depth of 0 (a phase that no output reads) still writes its bias or zeros.
    for (int64_t begin = 0; begin == 0 || begin < depth; begin += block) {
      const int64_t end = std::min(depth, begin + block);
      copy_patches(g, source, first, count, begin, end, tile, stride);
      gemm_tile(tile, stride, packed, depth, begin, end - begin, target, offset, count, g.outputs, bias, begin > 0);
      if (block == 0) break;
    }
  }
}

static size_t gather_workspace(int threads, const Gather& g) {
  const int64_t packed = round_up(g.depth() * padded_outputs(g.outputs), 16);
  const int64_t tile = kGemmTileRows * tile_stride(gather_depth_block(g.depth()));
  return static_cast<size_t>(packed + threads * tile) * sizeof(float);
}

size_t dense_forward_workspace(int threads, const ConvolutionShape& s) { return gather_workspace(threads, forward_gather(s)); }

size_t dense_backward_data_workspace(int threads, const ConvolutionShape& s) {
  size_t bytes = 0;
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      bytes = std::max(bytes, gather_workspace(threads, backward_gather(s, i, j)));
    }
  }
  return bytes;
}

void dense_forward(int threads, const ConvolutionShape& s, const float* x, const float* weights, const float* bias, float* y,
                   float* workspace) {
  const Gather gather = forward_gather(s);
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t output = group * s.group_outputs();
    gather_product(threads, gather, x + group * s.group_channels(), weights + output * s.patch(),
                   bias == nullptr ? nullptr : bias + output, y + output, workspace);
  }
}

void dense_backward_data(int threads, const ConvolutionShape& s, const float* dy, const float* weights, float* dx, float* workspace) {
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      const Gather gather = backward_gather(s, i, j);
      for (int64_t group = 0; group < s.groups; ++group) {
        const int64_t output = group * s.group_outputs();
        gather_product(threads, gather, dy + output, weights + output * s.patch(), nullptr, dx + group * s.group_channels(), workspace);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

size_t convolution_forward_workspace(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_gather_workspace(shape);
  return GATUN_DISPATCH(dense_forward_workspace)(stream.threads(), shape);
}

size_t convolution_backward_data_workspace(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_gather_workspace(shape);
  return GATUN_DISPATCH(dense_backward_data_workspace)(stream.threads(), shape);
}

void convolution_forward(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias,
                         float* y, float* workspace) {
  if (shape.depthwise()) return depthwise_forward(stream, shape, x, weights, bias, y, workspace);
  GATUN_DISPATCH(dense_forward)(stream.threads(), shape, x, weights, bias, y, workspace);
}

void convolution_backward_data(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                               float* workspace) {
  if (shape.depthwise()) return depthwise_backward_data(stream, shape, dy, weights, dx, workspace);
  GATUN_DISPATCH(dense_backward_data)(stream.threads(), shape, dy, weights, dx, workspace);
}

}  // namespace gatun
#endif

// SPDX-License-Identifier: Apache-2.0
// Forward and backward-data of grouped convolutions: an implicit matrix product over tiles of patches (gather.h).
#include "kernels/convolution/convolution.h"

#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/convolution/depthwise.h"
#include "kernels/convolution/gather.h"
#include "kernels/convolution/winograd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/convolution.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/band-inl.h"
#include "kernels/convolution/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Longest stretch of the depth in one pass over a band: a panel of weights of that depth stays in the cache.
constexpr int64_t kGatherDepth = 768;

static BandPlan gather_plan(const Gather& g) { return BandPlan(g, gemm_block_rows(gemm_panel_vectors(g.outputs)), product_cycles(g)); }

static void gather_band(const Gather& g, const BandPlan& plan, const Band& band, const float* source, const float* packed, const float* bias,
                        bool accumulate, float* target, float* copy) {
  copy_band(g, plan, band, source, copy);
  const GemmRuns runs = patch_runs(g, plan);
  const int64_t row_depth = runs.columns * runs.length;
  const int64_t kernel_rows = std::max<int64_t>(1, row_depth == 0 ? 1 : kGatherDepth / row_depth);
  const int64_t positions = band.lines() * g.columns.positions;
  int64_t n = 0;
  int64_t i = 0;
  int64_t j = 0;
  for (int64_t first = 0; first < positions; first += kSegmentPositions) {
    const int64_t count = std::min(kSegmentPositions, positions - first);
    int64_t from[kSegmentPositions];
    int64_t to[kSegmentPositions];
    for (int64_t p = 0; p < count; ++p) {
      from[p] = n * plan.image_stride + i * g.rows.step * plan.row_stride + j * g.columns.step * plan.pixel_stride;
      to[p] = g.target.offset(band.image + n, g.rows.target + (band.row + i) * g.rows.target_step, g.columns.target + j * g.columns.target_step);
      if (++j < g.columns.positions) continue;
      j = 0;
      if (++i < band.rows) continue;
      i = 0;
      ++n;
    }
    // A depth of 0 (a phase that no output reads) still writes its bias or zeros.
    int64_t u = 0;
    do {
      GemmRuns part = runs;
      part.rows = std::min(kernel_rows, runs.rows - u);
      gemm_panels(copy + u * runs.row_step, from, part, packed, runs.depth(), u * row_depth, target, to, count, g.outputs, bias, accumulate || u > 0);
      u += kernel_rows;
    } while (u < runs.rows);
  }
}

static int64_t packed_floats(const Gather& g) { return round_up(g.depth() * padded_outputs(g.outputs), 16); }

// accumulate: the targets have values that the products are added to; without a bias
static void gather_product(int threads, const Gather& g, double allowed_error, const float* source, const float* weights, const float* bias,
                           bool accumulate, float* target, float* workspace) {
  if (g.positions() == 0) return;
  if (const int tile = winograd_tile(g, allowed_error)) return winograd_gather(threads, g, tile, source, weights, bias, accumulate, target, workspace);
  float* packed = workspace;
  float* copies = packed + packed_floats(g);
  pack_weights(threads, g, weights, packed);
  const BandPlan plan = gather_plan(g);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t index = 0; index < plan.count; ++index) {
    gather_band(g, plan, Band(plan, g, index), source, packed, bias, accumulate, target, copies + omp_get_thread_num() * plan.floats());
  }
}

static size_t gather_workspace(int threads, const Gather& g, double allowed_error) {
  if (const int tile = winograd_tile(g, allowed_error)) return winograd_workspace(threads, g, tile);
  return static_cast<size_t>(packed_floats(g) + threads * gather_plan(g).floats()) * sizeof(float);
}

size_t dense_forward_workspace(int threads, const ConvolutionShape& s) { return gather_workspace(threads, forward_gather(s), s.allowed_error); }

size_t dense_backward_data_workspace(int threads, const ConvolutionShape& s) {
  size_t bytes = 0;
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      bytes = std::max(bytes, gather_workspace(threads, backward_gather(s, i, j), s.allowed_error));
    }
  }
  return bytes;
}

void dense_forward(int threads, const ConvolutionShape& s, const float* x, const float* weights, const float* bias, float* y,
                   float* workspace) {
  const Gather gather = forward_gather(s);
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t output = group * s.group_outputs();
    gather_product(threads, gather, s.allowed_error, x + group * s.group_channels(), weights + output * s.patch(),
                   bias == nullptr ? nullptr : bias + output, false, y + output, workspace);
  }
}

void dense_backward_data(int threads, const ConvolutionShape& s, const float* dy, const float* weights, float* dx, float* workspace) {
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      const Gather gather = backward_gather(s, i, j);
      for (int64_t group = 0; group < s.groups; ++group) {
        const int64_t output = group * s.group_outputs();
        gather_product(threads, gather, s.allowed_error, dy + output, weights + output * s.patch(), nullptr, s.accumulate,
                       dx + group * s.group_channels(), workspace);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
size_t convolution_forward_workspace<float>(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_forward_workspace(stream, shape);
  return GATUN_DISPATCH(dense_forward_workspace)(stream.threads(), shape);
}

template <>
size_t convolution_backward_data_workspace<float>(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_backward_data_workspace(stream, shape);
  return GATUN_DISPATCH(dense_backward_data_workspace)(stream.threads(), shape);
}

template <>
void convolution_forward<float>(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias,
                                float* y, float* workspace, ConvolutionTile) {
  if (shape.depthwise()) return depthwise_forward(stream, shape, x, weights, bias, y, workspace);
  GATUN_DISPATCH(dense_forward)(stream.threads(), shape, x, weights, bias, y, workspace);
}

template <>
void convolution_backward_data<float>(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                                      float* workspace, ConvolutionTile) {
  if (shape.depthwise()) return depthwise_backward_data(stream, shape, dy, weights, dx, workspace);
  GATUN_DISPATCH(dense_backward_data)(stream.threads(), shape, dy, weights, dx, workspace);
}

}  // namespace gatun
#endif

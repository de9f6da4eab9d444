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
#include "kernels/convolution/band-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Longest stretch of the depth in one pass over a band: a panel of weights of that depth stays in the cache.
constexpr int64_t kGatherDepth = 768;

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

static BandPlan gather_plan(const Gather& g) { return BandPlan(g, gemm_block_rows(gemm_panel_vectors(g.outputs)), product_cycles(g)); }

static void gather_band(const Gather& g, const BandPlan& plan, const Band& band, const float* source, const float* packed, const float* bias,
                        float* target, float* copy) {
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
      gemm_panels(copy + u * runs.row_step, from, part, packed, runs.depth(), u * row_depth, target, to, count, g.outputs, bias, u > 0);
      u += kernel_rows;
    } while (u < runs.rows);
  }
}

static int64_t packed_floats(const Gather& g) { return round_up(g.depth() * padded_outputs(g.outputs), 16); }

static void gather_product(int threads, const Gather& g, const float* source, const float* weights, const float* bias, float* target,
                           float* workspace) {
  if (g.positions() == 0) return;
  float* packed = workspace;
  float* copies = packed + packed_floats(g);
  pack_weights(threads, g, weights, packed);
  const BandPlan plan = gather_plan(g);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t index = 0; index < plan.count; ++index) {
    gather_band(g, plan, Band(plan, g, index), source, packed, bias, target, copies + omp_get_thread_num() * plan.floats());
  }
}

static size_t gather_workspace(int threads, const Gather& g) {
  return static_cast<size_t>(packed_floats(g) + threads * gather_plan(g).floats()) * sizeof(float);
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

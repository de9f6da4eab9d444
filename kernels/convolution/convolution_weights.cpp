// SPDX-License-Identifier: Apache-2.0
// Backward-weights: dweights[o][k] = Σ over output positions m of dy[m][o] · patch[m][k], a product whose depth is B·OH·OW. The depth is
// cut into chunks by the shape alone; partial sums are added in the order of the chunks.
#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/convolution/convolution.h"
#include "kernels/convolution/depthwise.h"
#include "kernels/convolution/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/convolution_weights.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/band-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kWeightsChunkRows = 512;     // fewest positions a chunk is worth
constexpr int64_t kWeightsChunks = 32;         // most chunks
constexpr int64_t kWeightsOutputs = 64;        // output channels of a work item: so much work that copying its band again costs little
constexpr int64_t kWeightsPartials = 8 << 20;  // most floats of partial sums, but for one chunk

struct WeightsPlan {
  BandPlan bands;
  GemmRuns runs;
  int64_t run_columns;  // of a partial: a run in whole vectors
  int64_t columns;      // of a partial: all runs
  int64_t chunks;
  int64_t chunk_bands;
  int64_t partial;  // floats of a chunk's partial: outputs x columns, then the bias

  WeightsPlan(const ConvolutionShape& s, const Gather& g) : bands(g, 1, product_cycles(g)), runs(patch_runs(g, bands)) {
    run_columns = round_up(runs.length, 16);
    columns = runs.rows * runs.columns * run_columns;
    partial = s.group_outputs() * columns + round_up(s.group_outputs(), 16);
    const int64_t most = std::clamp<int64_t>(kWeightsPartials / partial, 1, kWeightsChunks);
    chunks = std::clamp<int64_t>(std::min(s.positions() / kWeightsChunkRows, bands.count), 1, most);
    chunk_bands = (bands.count + chunks - 1) / chunks;
  }
};

size_t dense_backward_weights_workspace(int threads, const ConvolutionShape& s) {
  const WeightsPlan plan(s, forward_gather(s));
  return static_cast<size_t>(plan.chunks * plan.partial + threads * plan.bands.floats()) * sizeof(float);
}

// sum[o] += dy of `count` positions
HWY_INLINE void add_rows(const float* dy, int64_t stride, int64_t count, int64_t outputs, float* sum) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t o = 0; o < outputs; o += lanes) {
    VF total = hn::LoadU(d, sum + o);
    for (int64_t r = 0; r < count; ++r) total = hn::Add(total, gemm_load(d, dy + r * stride + o, outputs - o, lanes));
    hn::StoreU(total, d, sum + o);
  }
}

// The partial sums of one chunk of bands for `outputs` output channels. sums, bias_sums (nullptr: none) and dy begin at the first of them.
static void weights_item(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, int64_t chunk, int64_t outputs, const float* x,
                         const float* dy, float* sums, float* bias_sums, float* copy) {
  if (bias_sums != nullptr) std::fill_n(bias_sums, round_up(outputs, 16), 0.0f);
  const int64_t last = std::min(plan.bands.count, (chunk + 1) * plan.chunk_bands);
  if (chunk * plan.chunk_bands >= last) std::fill_n(sums, outputs * plan.columns, 0.0f);
  for (int64_t index = chunk * plan.chunk_bands; index < last; ++index) {
    const Band band(plan.bands, g, index);
    copy_band(g, plan.bands, band, x, copy);
    const bool clear = index == chunk * plan.chunk_bands;
    for (int64_t first = 0; first < band.lines(); first += kSegmentPositions) {
      const int64_t count = std::min(kSegmentPositions, band.lines() - first);
      int64_t dy_line[kSegmentPositions];
      int64_t copy_line[kSegmentPositions];
      for (int64_t line = 0; line < count; ++line) {
        const int64_t n = (first + line) / band.rows;
        const int64_t i = (first + line) % band.rows;
        dy_line[line] = s.y.offset(band.image + n, band.row + i, 0);
        copy_line[line] = n * plan.bands.image_stride + i * g.rows.step * plan.bands.row_stride;
        if (bias_sums != nullptr) add_rows(dy + dy_line[line], s.y.pixel_stride, s.y.width, outputs, bias_sums);
      }
      const GemmLines lines{count, s.y.width, s.y.pixel_stride, g.columns.step * plan.bands.pixel_stride, dy_line, copy_line};
      for (int64_t u = 0; u < plan.runs.rows; ++u) {
        for (int64_t v = 0; v < plan.runs.columns; ++v) {
          gemm_outer(dy, copy + u * plan.runs.row_step + v * plan.runs.column_step, lines, sums + (u * plan.runs.columns + v) * plan.run_columns,
                     plan.columns, outputs, plan.runs.length, clear && first == 0);
        }
      }
    }
  }
}

// to[i] = sum over the chunks, in their order
HWY_INLINE void combine(const float* partials, int64_t chunks, int64_t chunk_stride, int64_t n, float* to) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) {
    VF total = hn::LoadU(d, partials + i);
    for (int64_t chunk = 1; chunk < chunks; ++chunk) total = hn::Add(total, hn::LoadU(d, partials + chunk * chunk_stride + i));
    if (i + lanes <= n) {
      hn::StoreU(total, d, to + i);
    } else {
      store_tail(total, d, to + i, n - i);
    }
  }
}

void dense_backward_weights(int threads, const ConvolutionShape& s, const float* x, const float* dy, float* dweights, float* dbias,
                            float* workspace) {
  const Gather g = forward_gather(s);
  const WeightsPlan plan(s, g);
  const int64_t runs = plan.runs.rows * plan.runs.columns;
  const int64_t blocks = (s.group_outputs() + kWeightsOutputs - 1) / kWeightsOutputs;
  float* copies = workspace + plan.chunks * plan.partial;
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t output = group * s.group_outputs();
    const float* group_x = x + group * s.group_channels();
#pragma omp parallel num_threads(threads)
    {
      float* copy = copies + omp_get_thread_num() * plan.bands.floats();
#pragma omp for schedule(dynamic)
      for (int64_t item = 0; item < plan.chunks * blocks; ++item) {
        const int64_t chunk = item / blocks;
        const int64_t first = item % blocks * kWeightsOutputs;
        float* partial = workspace + chunk * plan.partial;
        weights_item(s, g, plan, chunk, std::min(kWeightsOutputs, s.group_outputs() - first), group_x, dy + output + first,
                     partial + first * plan.columns, dbias == nullptr ? nullptr : partial + s.group_outputs() * plan.columns + first, copy);
      }
#pragma omp for schedule(static)
      for (int64_t o = 0; o < s.group_outputs(); ++o) {
        for (int64_t run = 0; run < runs; ++run) {
          combine(workspace + o * plan.columns + run * plan.run_columns, plan.chunks, plan.partial, plan.runs.length,
                  dweights + (output + o) * s.patch() + run * plan.runs.length);
        }
      }
#pragma omp single
      if (dbias != nullptr) {
        combine(workspace + s.group_outputs() * plan.columns, plan.chunks, plan.partial, s.group_outputs(), dbias + output);
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
size_t convolution_backward_weights_workspace<float>(const Stream& stream, const ConvolutionShape& shape, ConvolutionTile) {
  if (shape.depthwise()) return depthwise_backward_weights_workspace(stream, shape);
  return GATUN_DISPATCH(dense_backward_weights_workspace)(stream.threads(), shape);
}

template <>
void convolution_backward_weights<float>(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                         float* dbias, float* workspace, ConvolutionTile) {
  if (shape.positions() == 0) {
    std::fill_n(dweights, shape.out_channels * shape.patch(), 0.0f);
    if (dbias != nullptr) std::fill_n(dbias, shape.out_channels, 0.0f);
    return;
  }
  if (shape.depthwise()) return depthwise_backward_weights(stream, shape, x, dy, dweights, dbias, workspace);
  GATUN_DISPATCH(dense_backward_weights)(stream.threads(), shape, x, dy, dweights, dbias, workspace);
}

}  // namespace gatun
#endif

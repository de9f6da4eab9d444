// SPDX-License-Identifier: Apache-2.0
// Backward-weights: dweights[o][k] = Σ over output positions m of dy[m][o] · patch[m][k], a product whose depth is B·OH·OW. The depth is
// cut into chunks and the columns into blocks, both by the shape alone; partial sums are added in the order of the chunks.
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
#include "kernels/convolution/patches-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kWeightsTileRows = 128;
constexpr int64_t kWeightsBlock = 384;       // columns of a work item, whole panels on every level
constexpr int64_t kWeightsChunkRows = 512;   // fewest positions a chunk is worth
constexpr int64_t kWeightsChunks = 32;       // most chunks
constexpr int64_t kWeightsPartials = 8 << 20;  // most floats of partial sums, but for one chunk

struct WeightsPlan {
  int64_t columns;  // of a partial: the patch, whole vectors
  int64_t chunks;
  int64_t chunk_rows;
  int64_t blocks;
  int64_t partial;  // floats of a chunk's partial: outputs x columns, then the bias
  int64_t dy_stride;
  int64_t tile_stride;

  explicit WeightsPlan(const ConvolutionShape& s) {
    const int64_t positions = s.positions();
    columns = round_up(s.patch(), 16);
    partial = s.group_outputs() * columns + round_up(s.group_outputs(), 16);
    const int64_t most = std::clamp<int64_t>(kWeightsPartials / partial, 1, kWeightsChunks);
    chunks = std::clamp<int64_t>(positions / kWeightsChunkRows, 1, most);
    chunk_rows = (positions + chunks - 1) / chunks;
    blocks = (s.patch() + kWeightsBlock - 1) / kWeightsBlock;
    dy_stride = gatun::tile_stride(s.group_outputs());
    tile_stride = gatun::tile_stride(std::min(s.patch(), kWeightsBlock));
  }
  int64_t thread_floats() const { return kWeightsTileRows * (dy_stride + tile_stride); }
};

size_t dense_backward_weights_workspace(int threads, const ConvolutionShape& s) {
  const WeightsPlan plan(s);
  return static_cast<size_t>(plan.chunks * plan.partial + threads * plan.thread_floats()) * sizeof(float);
}

// sum[o] += dy[r][o]
HWY_INLINE void add_rows(const float* dy, int64_t stride, int64_t rows, int64_t outputs, float* sum) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t o = 0; o < outputs; o += lanes) {
    VF total = hn::LoadU(d, sum + o);
    for (int64_t r = 0; r < rows; ++r) total = hn::Add(total, hn::LoadU(d, dy + r * stride + o));
    hn::StoreU(total, d, sum + o);
  }
}

// One chunk of positions, one block of columns.
static void weights_item(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, int64_t chunk, int64_t block, const float* x,
                         const float* dy, bool bias, float* partial, float* dy_tile, float* tile) {
  const int64_t begin = block * kWeightsBlock;
  const int64_t end = std::min(s.patch(), begin + kWeightsBlock);
  const int64_t last = std::min(s.positions(), (chunk + 1) * plan.chunk_rows);
  float* bias_sum = partial + s.group_outputs() * plan.columns;
  if (bias) std::fill_n(bias_sum, round_up(s.group_outputs(), 16), 0.0f);
  bool clear = true;
  for (int64_t first = chunk * plan.chunk_rows; first < last; first += kWeightsTileRows) {
    const int64_t count = std::min(kWeightsTileRows, last - first);
    TargetCursor at(g, first);
    for (int64_t r = 0; r < count; ++r, at.advance(g)) {
      copy_run(dy + s.y.offset(at.b, at.i, at.j), dy_tile + r * plan.dy_stride, s.group_outputs());
    }
    copy_patches(g, x, first, count, begin, end, tile, plan.tile_stride);
    gemm_outer(dy_tile, plan.dy_stride, tile, plan.tile_stride, count, partial + begin, plan.columns, s.group_outputs(), end - begin, clear);
    if (bias) add_rows(dy_tile, plan.dy_stride, count, s.group_outputs(), bias_sum);
    clear = false;
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
  const WeightsPlan plan(s);
  float* tiles = workspace + plan.chunks * plan.partial;
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t output = group * s.group_outputs();
    const float* group_x = x + group * s.group_channels();
#pragma omp parallel num_threads(threads)
    {
      float* dy_tile = tiles + omp_get_thread_num() * plan.thread_floats();
      float* tile = dy_tile + kWeightsTileRows * plan.dy_stride;
#pragma omp for schedule(dynamic)
      for (int64_t item = 0; item < plan.chunks * plan.blocks; ++item) {
        const int64_t chunk = item / plan.blocks;
        const int64_t block = item % plan.blocks;
        weights_item(s, g, plan, chunk, block, group_x, dy + output, dbias != nullptr && block == 0, workspace + chunk * plan.partial, dy_tile,
                     tile);
      }
#pragma omp for schedule(static)
      for (int64_t o = 0; o < s.group_outputs(); ++o) {
        combine(workspace + o * plan.columns, plan.chunks, plan.partial, s.patch(), dweights + (output + o) * s.patch());
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

size_t convolution_backward_weights_workspace(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_backward_weights_workspace(shape);
  return GATUN_DISPATCH(dense_backward_weights_workspace)(stream.threads(), shape);
}

void convolution_backward_weights(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                  float* dbias, float* workspace) {
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

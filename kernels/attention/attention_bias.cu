// SPDX-License-Identifier: Apache-2.0
// The gradient of the bias: a block takes one tile of it and adds up, in ascending order, the score gradients of all batch entries, heads
// and tiles of queries that the bias was broadcast to. They are recomputed, in slices of 32 of the head dimension: one kernel for all depths.
#include "kernels/attention/attention_backward.h"

namespace gatun::attention {
namespace {

template <class Policy>
struct BiasTiles {
  using T = typename Policy::T;
  T *q, *dout, *k, *v;
  float* partial;  // of a row of columns, one for each warp
  __host__ __device__ explicit BiasTiles(Carve& carve)
      : q(carve.take<T>(Policy::kRows * Policy::kPitch)), dout(carve.take<T>(Policy::kRows * Policy::kPitch)),
        k(carve.take<T>(Policy::kColumns * Policy::kPitch)), v(carve.take<T>(Policy::kColumns * Policy::kPitch)),
        partial(carve.take<float>(Policy::kWarps * Policy::kColumns)) {}
};

template <class T>
__device__ __forceinline__ HeadRows<T> slice(const HeadView<const T>& view, const Work& w, int count, int64_t depth, int start, bool vector) {
  HeadRows<T> rows = head_rows(view, w, 0, count, depth - start, vector);
  rows.data += start;
  return rows;
}

// Adds the score gradients of one tile of queries of one head.
template <class Policy>
__device__ __forceinline__ void add_scores(const BackwardArguments<typename Policy::T>& a, const BiasTiles<Policy>& tiles, const Work& w, int key0,
                                           Scores<Policy>& sum) {
  const AttentionProblem<typename Policy::T>& p = a.p;
  Scores<Policy> s = {}, dp = {};
  for (int c = 0; c < p.depth; c += Policy::kDepth) {
    Policy::template load_tile<Policy::kRows>(tiles.q, slice(p.q, w, w.queries, p.depth, c, a.vector), w.first);
    Policy::template load_tile<Policy::kRows>(tiles.dout, slice(a.g.dout, w, w.queries, p.depth, c, a.vector), w.first);
    Policy::template load_tile<Policy::kColumns>(tiles.k, slice(p.k, w, w.keys, p.depth, c, a.vector), key0);
    Policy::template load_tile<Policy::kColumns>(tiles.v, slice(p.v, w, w.keys, p.depth, c, a.vector), key0);
    Policy::commit_tiles();
    Policy::template wait_tile<0>();
    __syncthreads();
    typename Policy::Left q(tiles.q), dout(tiles.dout);
    Policy::load_left(q);
    Policy::load_left(dout);
    Policy::template mma_qk<true>(s, q, tiles.k, Policy::kColumns);
    Policy::template mma_qk<true>(dp, dout, tiles.v, Policy::kColumns);
    __syncthreads();  // before the next slice replaces this one
  }
  float log_sum_exp[Policy::kRowBlocks][2], delta[Policy::kRowBlocks][2];
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
      const QueryStatistics* statistics = a.statistics.data + w.batch * a.statistics.batch_stride + w.head * a.statistics.head_stride;
      log_sum_exp[i][h] = row < w.queries ? statistics[row].log_sum_exp : kInfinity;
      delta[i][h] = row < w.queries ? statistics[row].delta : 0.0f;
    }
  }
  query_probabilities<Policy>(s, p, w, key0, true, log_sum_exp);
  score_gradients<Policy>(s, dp, delta);
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int j = 0; j < Policy::kColumns / 8; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) sum[i][j][e] += s[i][j][e];
    }
  }
}

template <class Policy>
__global__ void __launch_bounds__(Policy::kThreads) bias_gradient_kernel(const BackwardArguments<typename Policy::T> a, int64_t items) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const BiasTiles<Policy> tiles(carve);
  const AttentionProblem<typename Policy::T>& p = a.p;
  const BiasView<float>& dbias = a.g.dbias;
  const int queries = static_cast<int>(p.queries), keys = static_cast<int>(p.keys);
  const int64_t key_tiles = (p.keys + Policy::kColumns - 1) / Policy::kColumns;
  const int64_t query_tiles = (p.queries + Policy::kRows - 1) / Policy::kRows, tiles_of_rows = dbias.queries == 1 ? 1 : query_tiles;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const int key0 = static_cast<int>(item % key_tiles) * Policy::kColumns;
    const int64_t row_tile = item / key_tiles % tiles_of_rows;
    const int64_t head = item / key_tiles / tiles_of_rows % dbias.heads, batch = item / key_tiles / tiles_of_rows / dbias.heads;
    Scores<Policy> sum = {};
    for (int64_t b = dbias.batches == 1 ? 0 : batch; b < (dbias.batches == 1 ? p.batch : batch + 1); ++b) {
      for (int64_t h = dbias.heads == 1 ? 0 : head; h < (dbias.heads == 1 ? p.heads : head + 1); ++h) {
        for (int64_t t = dbias.queries == 1 ? 0 : row_tile; t < (dbias.queries == 1 ? query_tiles : row_tile + 1); ++t) {
          const Work w{static_cast<int>(b), static_cast<int>(h), 0, 0, queries, keys, static_cast<int>(t) * Policy::kRows, p.causal ? keys - queries : keys, false};
          add_scores<Policy>(a, tiles, w, key0, sum);
        }
      }
    }
    float* out = dbias.data + batch * dbias.batch_stride + head * dbias.head_stride;
    const int lane = lane_index();
    if (dbias.queries == 1) {
      GATUN_UNROLL
      for (int j = 0; j < Policy::kColumns / 8; ++j) {
        GATUN_UNROLL
        for (int e = 0; e < 2; ++e) {
          float column = 0;
          GATUN_UNROLL
          for (int i = 0; i < Policy::kRowBlocks; ++i) column += sum[i][j][e] + sum[i][j][2 + e];
          for (int offset = 4; offset < 32; offset *= 2) column += __shfl_xor_sync(kFullMask, column, offset);
          if (lane < 4) tiles.partial[warp_index() * Policy::kColumns + 8 * j + 2 * lane + e] = column;
        }
      }
      __syncthreads();
      const int column = static_cast<int>(threadIdx.x);
      if (column < Policy::kColumns && column < keys - key0) {
        float total = 0;
        for (int warp = 0; warp < Policy::kWarps; ++warp) total += tiles.partial[warp * Policy::kColumns + column];
        out[key0 + column] = total;
      }
      __syncthreads();  // before the partial sums of the next item
    } else {
      GATUN_UNROLL
      for (int i = 0; i < Policy::kRowBlocks; ++i) {
        GATUN_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int row = static_cast<int>(row_tile) * Policy::kRows + Policy::row_of(i) + lane / 4 + e / 2 * 8;
          GATUN_UNROLL
          for (int j = 0; j < Policy::kColumns / 8; ++j) {
            const int column = key0 + 8 * j + lane % 4 * 2 + e % 2;
            if (row < queries && column < keys) out[row * dbias.query_stride + column] = sum[i][j][e];
          }
        }
      }
    }
  }
}

}  // namespace

template <class T>
void launch_bias_gradient(const Stream& stream, const BackwardArguments<T>& arguments) {
  using Policy = typename Sm80<T, 32, false>::Queries;
  const BiasView<float>& dbias = arguments.g.dbias;
  const int64_t rows = dbias.queries == 1 ? 1 : chunk_count(dbias.queries, Policy::kRows);
  const int64_t items = dbias.batches * dbias.heads * rows * chunk_count(arguments.p.keys, Policy::kColumns);
  if (items == 0) return;
  Carve carve(nullptr);
  const BiasTiles<Policy> tiles(carve);
  enqueue(stream, bias_gradient_kernel<Policy>, grid_for(items, 1), Policy::kThreads, carve.bytes(), arguments, items);
}

#define INSTANTIATE(T) template void launch_bias_gradient(const Stream&, const BackwardArguments<T>&);
GATUN_FOR_EACH_STORAGE(INSTANTIATE)

}  // namespace gatun::attention

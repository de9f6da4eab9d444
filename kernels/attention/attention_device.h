// SPDX-License-Identifier: Apache-2.0
// What all kernels of attention share on CUDA: which rows a block works on, which scores a thread holds and which of them exist.
#pragma once

#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_policy.h"

namespace gatun::attention {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

// Ragged batches: which sequence a tile of rows belongs to. The lengths are known to the device only, so a kernel of its own writes
// the table (attention.cu). Rows before the first and behind the last offset are two more sequences, 0 and S + 1, which see nothing.
struct TileOrigin {
  int sequence;  // or kNothing, or kPoison: the offsets leave the operands, so all results are NaN
  int first;     // row of the sequence
};
constexpr int kNothing = -1, kPoison = -2;

// Tile t of sequence s has index floor(start of s / rows of a tile) + s + t: no two tiles share an index.
__host__ __device__ constexpr int64_t ragged_tiles(int64_t rows, int64_t sequences, int64_t tile_rows) { return rows / tile_rows + sequences + 2; }

struct Plan {
  const TileOrigin* origins;  // ragged only
  int64_t tiles;              // of a head (batched), of all sequences (ragged)
  int64_t items;              // tiles times heads (times batch)
};

// The tile of a block.
struct Work {
  int batch, head;             // for the views
  int query_start, key_start;  // rows of the views
  int queries, keys;           // of the sequence
  int first;                   // row of the tile in the sequence
  int diagonal;                // query i sees keys j <= i + diagonal; `keys` where it sees all
  bool poisoned;
};

enum class Side { kQueries, kKeys };

// False: there is nothing to do.
template <Side side, class T>
__device__ __forceinline__ bool find_work(const AttentionProblem<T>& p, const Plan& plan, int tile_rows, int64_t item, Work& w) {
  const int64_t tile = item % plan.tiles;
  w.head = static_cast<int>(item / plan.tiles % p.heads);
  w.batch = static_cast<int>(item / plan.tiles / p.heads);
  w.query_start = w.key_start = 0;
  w.queries = static_cast<int>(p.queries);
  w.keys = static_cast<int>(p.keys);
  w.poisoned = false;
  if (p.ragged) {
    const TileOrigin origin = plan.origins[tile];
    w.batch = 0;
    w.poisoned = origin.sequence == kPoison;
    if (origin.sequence == kNothing || (w.poisoned && tile * tile_rows >= (side == Side::kQueries ? p.queries : p.keys))) return false;
    if (w.poisoned) {
      w.first = static_cast<int>(tile * tile_rows);
    } else {
      const int s = origin.sequence;
      const bool outside = s == 0 || s == p.batch + 1;
      const int query_end = s == p.batch + 1 ? w.queries : p.query_offsets[s], key_end = s == p.batch + 1 ? w.keys : p.key_offsets[s];
      w.query_start = s == 0 ? 0 : p.query_offsets[s - 1];
      w.key_start = s == 0 ? 0 : p.key_offsets[s - 1];
      w.queries = outside && side == Side::kKeys ? 0 : query_end - w.query_start;
      w.keys = outside && side == Side::kQueries ? 0 : key_end - w.key_start;
      w.first = origin.first;
    }
  } else {
    // The longest rows of a causal problem first: what is left at the end is short.
    w.first = static_cast<int>(p.causal && side == Side::kQueries ? plan.tiles - 1 - tile : tile) * tile_rows;
  }
  w.diagonal = p.causal ? w.keys - w.queries : w.keys;
  return true;
}

template <class T>
__device__ __forceinline__ T* rows_at(const HeadView<T>& view, int64_t batch, int64_t row, int64_t head) {
  return view.data + batch * view.batch_stride + row * view.row_stride + head * view.head_stride;
}

template <class T>
__device__ __forceinline__ HeadRows<T> head_rows(const HeadView<const T>& view, const Work& w, int64_t start, int count, int64_t depth, bool vector) {
  return {rows_at(view, w.batch, start, w.head), view.row_stride, count, static_cast<int>(depth), vector};
}

__device__ __forceinline__ const float* bias_row(const BiasView<const float>& bias, const Work& w, int query) {
  return bias.data + w.batch * bias.batch_stride + w.head * bias.head_stride + query * bias.query_stride;
}

template <class Policy>
using Scores = float[Policy::kRowBlocks][Policy::kColumns / 8][4];
template <class Policy>
using Outputs = float[Policy::kRowBlocks][Policy::kDepth / 8][4];

// Whole tiles get products of their own without branches. What lies between the products is common: it would spill in two versions.
template <class Policy>
__device__ __forceinline__ void score_product(Scores<Policy>& s, typename Policy::Left& left, const typename Policy::T* tile, int columns) {
  if (Policy::kStraight && columns == Policy::kColumns) Policy::template mma_qk<true>(s, left, tile, columns);
  else Policy::template mma_qk<false>(s, left, tile, columns);
}
template <class Policy>
__device__ __forceinline__ void output_product(Outputs<Policy>& o, const Scores<Policy>& p, const typename Policy::T* tile, int columns, float* scratch) {
  if (columns == Policy::kColumns) Policy::template mma_pv<true>(o, p, tile, columns, scratch);
  else Policy::template mma_pv<false>(o, p, tile, columns, scratch);
}

// s = scale s + unit * bias of a tile whose rows are queries. What lies outside the bias is masked later.
template <class Policy>
__device__ __forceinline__ void add_bias(Scores<Policy>& s, const BiasView<const float>& bias, const Work& w,
                                         int key0, float scale, float unit) {
  const int column0 = key0 + lane_index() % 4 * 2;
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
      const float* at = bias_row(bias, w, min(row, w.queries - 1)) + column0;
      GATUN_UNROLL
      for (int j = 0; j < Policy::kColumns / 8; ++j) {
        GATUN_UNROLL
        for (int e = 0; e < 2; ++e) {
          if (8 * j + e < w.keys - column0) s[i][j][2 * h + e] = s[i][j][2 * h + e] * scale + at[8 * j + e] * unit;
        }
      }
    }
  }
}

__device__ __forceinline__ int clamped(int value, int low, int high) { return min(max(value, low), high); }

// Over the four lanes that share a row of accumulators.
__device__ __forceinline__ float quad_sum(float value) {
  value += __shfl_xor_sync(kFullMask, value, 1);
  return value + __shfl_xor_sync(kFullMask, value, 2);
}
__device__ __forceinline__ float quad_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(kFullMask, value, 1));
  return fmaxf(value, __shfl_xor_sync(kFullMask, value, 2));
}

// Writes the lane's part of one row, `factor` times elements h and h + 1 of each block. All lanes call it; `row` is null where there is none.
template <int Blocks>
__device__ __forceinline__ void store_row(float* row, const float (&o)[Blocks][4], int h, float factor, int depth, bool vector) {
  const int pair = lane_index() % 4 * 2;
  if (row == nullptr) return;
  GATUN_UNROLL
  for (int j = 0; j < Blocks; ++j) {
    const int column = 8 * j + pair;
    if (vector && column < depth) {
      *reinterpret_cast<float2*>(row + column) = make_float2(o[j][h] * factor, o[j][h + 1] * factor);
    } else {
      if (column < depth) row[column] = o[j][h] * factor;
      if (column + 1 < depth) row[column + 1] = o[j][h + 1] * factor;
    }
  }
}
template <class T, int Blocks>
__device__ __forceinline__ void store_row(T* row, const float (&o)[Blocks][4], int h, float factor, int depth, bool vector) {
  const int pair = lane_index() % 4 * 2, odd = lane_index() % 2;
  GATUN_UNROLL
  for (int j = 0; j < Blocks; j += 2) {
    // Even lanes take the first of two blocks, odd ones the second: 8 bytes a lane fill whole sectors of 32.
    const uint32_t first = packed<T>(o[j][h] * factor, o[j][h + 1] * factor), second = packed<T>(o[j + 1][h] * factor, o[j + 1][h + 1] * factor);
    const uint32_t other = __shfl_xor_sync(kFullMask, odd ? first : second, 1);
    const int column = 8 * (j + odd) + pair - 2 * odd;
    if (row == nullptr) continue;
    if (vector) {
      if (column < depth) *reinterpret_cast<uint2*>(row + column) = odd ? make_uint2(other, second) : make_uint2(first, other);
    } else {
      for (int e = 0; e < 2; ++e) {
        if (8 * j + pair + e < depth) row[8 * j + pair + e] = T(o[j][h + e] * factor);
        if (8 * j + 8 + pair + e < depth) row[8 * j + 8 + pair + e] = T(o[j + 1][h + e] * factor);
      }
    }
  }
}

// All of a tile is NaN: rows first to first + rows of the operand.
template <class T>
__device__ __forceinline__ void poison(const HeadView<T>& view, const Work& w, int64_t start, int rows, int count, int64_t depth) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * static_cast<int>(depth); i += static_cast<int>(blockDim.x)) {
    const int row = w.first + i / static_cast<int>(depth);
    if (row < count) rows_at(view, w.batch, start + row, w.head)[i % depth] = T(kNan);
  }
}

// Host: whether rows can be read and written 16 bytes at a time.
template <class T>
bool vector_view(const HeadView<T>& view, int64_t batch, int64_t rows, int64_t heads, int64_t depth) {
  constexpr int64_t kVector = 16 / static_cast<int64_t>(sizeof(T));
  const auto multiple = [](int64_t extent, int64_t stride) { return extent <= 1 || stride % kVector == 0; };
  return reinterpret_cast<uintptr_t>(view.data) % 16 == 0 && depth % kVector == 0 && multiple(batch, view.batch_stride) &&
         multiple(rows, view.row_stride) && multiple(heads, view.head_stride);
}

template <class T>
bool vector_inputs(const AttentionProblem<T>& p) {
  const int64_t batch = p.ragged ? 1 : p.batch;
  return vector_view(p.q, batch, p.queries, p.heads, p.depth) && vector_view(p.k, batch, p.keys, p.heads, p.depth) &&
         vector_view(p.v, batch, p.keys, p.heads, p.depth);
}

template <class T>
Plan plan_of(const AttentionProblem<T>& p, int64_t rows, int64_t tile_rows, const TileOrigin* origins) {
  const int64_t tiles = p.ragged ? ragged_tiles(rows, p.batch, tile_rows) : chunk_count(rows, tile_rows);
  return {origins, tiles, tiles * p.heads * (p.ragged ? 1 : p.batch)};
}

// Calls f with the policies of a problem: the head dimension padded, and whether sequences are long (on average, where they are ragged).
template <class T, class F>
void with_architecture(const AttentionProblem<T>& p, int64_t rows, F&& f) {
  const bool is_long = rows > (p.ragged ? 64 * (p.batch + 1) : 64);
  const auto choose = [&](auto depth) {
    if (is_long) f(Sm80<T, depth(), true>());
    else f(Sm80<T, depth(), false>());
  };
  if (p.depth <= 32) choose(std::integral_constant<int, 32>());
  else if (p.depth <= 64) choose(std::integral_constant<int, 64>());
  else if (p.depth <= 96) choose(std::integral_constant<int, 96>());
  else choose(std::integral_constant<int, 128>());
}

// Tables of tiles for both sides; `keys` may be null. See TileOrigin.
struct Tables {
  TileOrigin *queries, *keys;
  int query_rows, key_rows;  // of a tile
};

// Dispatch by storage type and depth happens in files of their own, so that no compilation is long.
template <class T>
struct ForwardArguments {
  AttentionProblem<T> p;
  HeadView<T> out;
  RowStatistic<float> log_sum_exp;
  Plan plan;
  bool vector;
};
template <class T>
int forward_tile_rows(const AttentionProblem<T>& p);
template <class T>
void launch_forward(const Stream& stream, const ForwardArguments<T>& arguments);

// The forward pass of sm_90a (attention_hopper.h), where a problem suits it and it is chosen (attention_hopper.cu).
constexpr int kHopperRows = 128;
template <class T>
void launch_hopper_forward(const Stream& stream, const ForwardArguments<T>& arguments);

// What the backward pass keeps of each query: the log-sum-exp (in powers of two unless the policy is exact; +inf where the query sees no key,
// so that its probabilities are 0) and rowsum(dout * out).
struct alignas(8) QueryStatistics {
  float log_sum_exp, delta;
};

template <class T>
struct BackwardArguments {
  AttentionProblem<T> p;
  AttentionGradients<T> g;
  RowStatistic<QueryStatistics> statistics;
  Plan queries, keys;
  bool vector;
};
template <class T>
int query_tile_rows(const AttentionProblem<T>& p);
template <class T>
int key_tile_rows(const AttentionProblem<T>& p);
template <class T>
void launch_backward(const Stream& stream, const BackwardArguments<T>& arguments);
template <class T>
void launch_bias_gradient(const Stream& stream, const BackwardArguments<T>& arguments);

}  // namespace gatun::attention

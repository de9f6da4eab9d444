// SPDX-License-Identifier: Apache-2.0
// A block takes a tile of queries of one head; keys and values stream past in double-buffered tiles, with one barrier a tile. Each warp has
// its own queries, so maxima and sums need shuffles within four lanes only. docs/kernels/attention.md has the reasoning.
#pragma once

#include "kernels/attention/attention_device.h"

namespace gatun::attention {

// Exponents by which a maximum may grow before sums and outputs are rescaled: exp2 of it is far from overflow, also in f16.
constexpr float kSlack = 8;

template <class Policy>
struct Tiles {
  using T = typename Policy::T;
  T *q, *k, *v;
  float* scratch;
  __host__ __device__ explicit Tiles(Carve& carve)
      : q(carve.take<T>(Policy::kRows * Policy::kPitch)), k(carve.take<T>(2 * Policy::kColumns * Policy::kPitch)),
        v(carve.take<T>(2 * Policy::kColumns * Policy::kPitch)), scratch(carve.take<float>(Policy::kWarps * Policy::kScratch)) {}
};

// The online softmax of the rows a thread shares. Scores are in units of which `unit` make a power of two.
template <class Policy>
struct Softmax {
  static constexpr int kBlocks = Policy::kRowBlocks;
  float maximum[kBlocks][2], sum[kBlocks][2], output[kBlocks][Policy::kDepth / 8][4];
};

template <class Policy>
__device__ __forceinline__ void begin(Softmax<Policy>& state) {
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      state.maximum[i][h] = -kInfinity;
      state.sum[i][h] = 0;
    }
    GATUN_UNROLL
    for (int d = 0; d < Policy::kDepth / 8; ++d) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) state.output[i][d][e] = 0;
    }
  }
}

// Scores become scale * s + bias in powers of two: where a bias is added, and where the scale does not keep the order of the scores.
template <class Policy>
__device__ __forceinline__ void transform(Scores<Policy>& s, const AttentionProblem<typename Policy::T>& p,
                                          const Work& w, int key0) {
  const float scale = p.scale * kLog2E;
  if (p.bias.data != nullptr) return add_bias<Policy>(s, p.bias, w, key0, scale, kLog2E);
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int j = 0; j < Policy::kColumns / 8; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) s[i][j][e] *= scale;
    }
  }
}

template <class Policy>
__device__ __forceinline__ void mask(Scores<Policy>& s, const Work& w, int key0) {
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
      const int count = min(row + w.diagonal + 1, w.keys) - key0 - lane_index() % 4 * 2;
      GATUN_UNROLL
      for (int j = 0; j < Policy::kColumns / 8; ++j) {
        GATUN_UNROLL
        for (int e = 0; e < 2; ++e) {
          if (8 * j + e >= count) s[i][j][2 * h + e] = -kInfinity;
        }
      }
    }
  }
}

template <class Policy>
__device__ __forceinline__ void rescale(Softmax<Policy>& state, const float (&largest)[Policy::kRowBlocks][2], float unit) {
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float next = fmaxf(state.maximum[i][h], largest[i][h]);
      const float alpha = next == -kInfinity ? 1.0f : exp2_approximate((state.maximum[i][h] - next) * unit);
      state.maximum[i][h] = next;
      state.sum[i][h] *= alpha;
      GATUN_UNROLL
      for (int d = 0; d < Policy::kDepth / 8; ++d) {
        state.output[i][d][2 * h] *= alpha;
        state.output[i][d][2 * h + 1] *= alpha;
      }
    }
  }
}

// One tile of keys: the first `columns` of it are seen by some of the rows; `masked`: not by all.
template <class Policy>
__device__ __forceinline__ void attend(const AttentionProblem<typename Policy::T>& p, const Work& w, typename Policy::Left& q,
                                       const typename Policy::T* k, const typename Policy::T* v, float* scratch, int key0, int columns,
                                       bool masked, bool transformed, float unit, Softmax<Policy>& state) {
  constexpr int kBlocks = Policy::kRowBlocks, kColumns = Policy::kColumns / 8;
  float s[kBlocks][kColumns][4] = {};
  score_product<Policy>(s, q, k, columns);
  if (transformed) transform<Policy>(s, p, w, key0);
  if (masked) mask<Policy>(s, w, key0);

  float largest[kBlocks][2];
  bool grown = false;
  GATUN_UNROLL
  for (int i = 0; i < kBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      float most = fmaxf(s[i][0][2 * h], s[i][0][2 * h + 1]);
      GATUN_UNROLL
      for (int j = 1; j < kColumns; ++j) most = fmaxf(most, fmaxf(s[i][j][2 * h], s[i][j][2 * h + 1]));
      largest[i][h] = quad_max(most);
      grown = grown || (largest[i][h] - state.maximum[i][h]) * unit > kSlack;
    }
  }
  if (__any_sync(kFullMask, grown)) rescale<Policy>(state, largest, unit);

  GATUN_UNROLL
  for (int i = 0; i < kBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const float shift = state.maximum[i][h] == -kInfinity ? 0.0f : state.maximum[i][h] * (Policy::kExact ? 1.0f : unit);
      GATUN_UNROLL
      for (int j = 0; j < kColumns; ++j) {
        GATUN_UNROLL
        for (int e = 2 * h; e < 2 * h + 2; ++e) {
          if constexpr (Policy::kExact) s[i][j][e] = exp2_approximate((s[i][j][e] - shift) * unit);
          else s[i][j][e] = exp2_approximate(s[i][j][e] * unit - shift);
          state.sum[i][h] += s[i][j][e];
        }
      }
    }
  }
  output_product<Policy>(state.output, s, v, columns, scratch);
}

// A tile of keys from key0 on, for the rows of the calling group that there are.
template <class Policy>
__device__ __forceinline__ void attend_tile(const AttentionProblem<typename Policy::T>& p, const Work& w, typename Policy::Left& q,
                                            const typename Policy::T* k, const typename Policy::T* v, float* scratch, int key0, bool transformed,
                                            float unit, Softmax<Policy>& state) {
  const int group = w.first + Policy::group_row(), group_end = min(w.queries, group + Policy::kGroupRows);
  const int columns = group < group_end ? clamped(min(group_end + w.diagonal, w.keys) - key0, 0, Policy::kColumns) : 0;
  const bool masked = columns < Policy::kColumns || key0 + Policy::kColumns - 1 > group + w.diagonal;
  if (columns > 0) attend<Policy>(p, w, q, k, v, scratch, key0, columns, masked, transformed, unit, state);
}

template <class Policy>
__device__ __forceinline__ void finish(const ForwardArguments<typename Policy::T>& a, const Work& w, bool transformed, const Softmax<Policy>& state) {
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
      const float sum = quad_sum(state.sum[i][h]);
      typename Policy::T* const out = row < w.queries ? rows_at(a.out, w.batch, w.query_start + row, w.head) : nullptr;
      store_row(out, state.output[i], 2 * h, sum == 0 ? 0.0f : 1.0f / sum, static_cast<int>(a.p.depth), a.vector);
      if (out != nullptr && lane_index() % 4 == 0 && a.log_sum_exp.data != nullptr) {
        a.log_sum_exp.data[w.batch * a.log_sum_exp.batch_stride + w.head * a.log_sum_exp.head_stride + w.query_start + row] =
            sum == 0 ? -kInfinity : state.maximum[i][h] * (transformed ? kLn2 : a.p.scale) + logf(sum);
      }
    }
  }
}

// Blocks of a multiprocessor at least: left to itself, ptxas spills for a third at a depth of 96.
template <class Policy>
constexpr int kForwardBlocks = Policy::kRowBlocks == 1 && Policy::kDepth <= 64 ? 3 : 2;

template <class Policy>
__global__ void __launch_bounds__(Policy::kThreads, kForwardBlocks<Policy>) forward_kernel(const ForwardArguments<typename Policy::T> a) {
  using T = typename Policy::T;
  constexpr int kTile = Policy::kColumns * Policy::kPitch;
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Tiles<Policy> tiles(carve);
  const AttentionProblem<T>& p = a.p;
  const bool transformed = p.bias.data != nullptr || !(p.scale > 0);
  const float unit = transformed ? 1.0f : p.scale * kLog2E;
  for (int64_t item = blockIdx.x; item < a.plan.items; item += gridDim.x) {
    Work w;
    if (!find_work<Side::kQueries>(p, a.plan, Policy::kRows, item, w)) continue;
    if (w.poisoned) {
      poison(a.out, w, 0, Policy::kRows, w.queries, p.depth);
      for (int i = static_cast<int>(threadIdx.x); i < min(Policy::kRows, w.queries - w.first) && a.log_sum_exp.data != nullptr; i += Policy::kThreads) {
        a.log_sum_exp.data[w.head * a.log_sum_exp.head_stride + w.first + i] = kNan;
      }
      continue;
    }
    const HeadRows<T> q = head_rows(p.q, w, w.query_start, w.queries, p.depth, a.vector);
    const HeadRows<T> k = head_rows(p.k, w, w.key_start, w.keys, p.depth, a.vector);
    const HeadRows<T> v = head_rows(p.v, w, w.key_start, w.keys, p.depth, a.vector);
    const int seen = clamped(min(w.queries, w.first + Policy::kRows) + w.diagonal, 0, w.keys);  // by the last row, and so by any
    const int steps = (seen + Policy::kColumns - 1) / Policy::kColumns;
    const auto load = [&](int step) {
      Policy::template load_tile<Policy::kColumns>(tiles.k + step % 2 * kTile, k, step * Policy::kColumns);
      Policy::template load_tile<Policy::kColumns>(tiles.v + step % 2 * kTile, v, step * Policy::kColumns);
      Policy::commit_tiles();
    };
    typename Policy::Left left(tiles.q);
    if (steps > 0) {
      Policy::template load_tile<Policy::kRows>(tiles.q, q, w.first);
      Policy::commit_tiles();
      load(0);
      Policy::template wait_tile<1>();
      __syncthreads();
      Policy::load_left(left);
    }

    Softmax<Policy> state;
    begin(state);
    for (int step = 0; step < steps; ++step) {
      Policy::template wait_tile<0>();
      __syncthreads();  // this tile has arrived for all, and all have read the one before, which the next replaces
      if (step + 1 < steps) load(step + 1);
      attend_tile<Policy>(p, w, left, tiles.k + step % 2 * kTile, tiles.v + step % 2 * kTile, tiles.scratch + warp_index() * Policy::kScratch,
                          step * Policy::kColumns, transformed, unit, state);
    }
    finish<Policy>(a, w, transformed, state);
    __syncthreads();  // before the tiles of the next item replace these
  }
}

template <class T>
int forward_tile_rows(const AttentionProblem<T>& p) {
  if (hopper_takes(p)) return kHopperRows;
  int rows = 0;
  with_architecture(p, p.queries, [&](auto architecture) { rows = decltype(architecture)::Forward::kRows; });
  return rows;
}

template <class T>
void launch_forward(const Stream& stream, const ForwardArguments<T>& arguments) {
  if (hopper_takes(arguments.p)) return launch_hopper_forward(stream, arguments);
  with_architecture(arguments.p, arguments.p.queries, [&](auto architecture) {
    using Policy = typename decltype(architecture)::Forward;
    Carve carve(nullptr);
    const Tiles<Policy> tiles(carve);
    enqueue(stream, forward_kernel<Policy>, grid_for(arguments.plan.items, 1), Policy::kThreads, carve.bytes(), arguments);
  });
}

}  // namespace gatun::attention

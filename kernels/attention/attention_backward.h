// SPDX-License-Identifier: Apache-2.0
// Two kernels that recompute the probabilities, so that nothing is summed across blocks: one keeps a tile of queries and streams the keys
// (dq, and the statistics of the queries), one keeps a tile of keys and streams the queries (dk, dv). In the second the scores are
// computed transposed, keys as rows: probabilities and their gradients are then left operands of dv and dk as they lie in registers.
#pragma once

#include "kernels/attention/attention_device.h"

namespace gatun::attention {

// exp(scale s - log-sum-exp), both times log2 e unless the policy is exact.
template <class Policy>
__device__ __forceinline__ float probability(float s, float scale, float log_sum_exp) {
  if constexpr (Policy::kExact) return exp2_approximate((s * scale - log_sum_exp) * kLog2E);
  else return exp2_approximate(s * scale - log_sum_exp);
}
template <class Policy>
__device__ constexpr float kUnit = Policy::kExact ? 1.0f : kLog2E;

// <a, b> of a row by the four lanes that share it.
template <class T>
__device__ __forceinline__ float row_dot(const T* a, const T* b, int depth, bool vector) {
  float sum = 0;
  if (vector) {
    constexpr int kVector = 16 / static_cast<int>(sizeof(T));
    for (int c = lane_index() % 4 * kVector; c < depth; c += 4 * kVector) {
      const uint4 x = *reinterpret_cast<const uint4*>(a + c), y = *reinterpret_cast<const uint4*>(b + c);
      GATUN_UNROLL
      for (int e = 0; e < kVector; ++e) sum += static_cast<float>(reinterpret_cast<const T*>(&x)[e]) * static_cast<float>(reinterpret_cast<const T*>(&y)[e]);
    }
  } else {
    for (int c = lane_index() % 4; c < depth; c += 4) sum += static_cast<float>(a[c]) * static_cast<float>(b[c]);
  }
  return quad_sum(sum);
}

template <int Blocks, int Columns>
__device__ __forceinline__ void clear(float (&x)[Blocks][Columns][4]) {
  GATUN_UNROLL
  for (int i = 0; i < Blocks; ++i) {
    GATUN_UNROLL
    for (int j = 0; j < Columns; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) x[i][j][e] = 0;
    }
  }
}

template <class Policy>
struct QueryTiles {
  using T = typename Policy::T;
  T *q, *dout, *k, *v;
  float* scratch;
  __host__ __device__ explicit QueryTiles(Carve& carve)
      : q(carve.take<T>(Policy::kRows * Policy::kPitch)), dout(carve.take<T>(Policy::kRows * Policy::kPitch)),
        k(carve.take<T>(2 * Policy::kColumns * Policy::kPitch)), v(carve.take<T>(2 * Policy::kColumns * Policy::kPitch)),
        scratch(carve.take<float>(Policy::kWarps * Policy::kScratch)) {}
};

// s becomes the probabilities of a tile whose rows are queries; 0 where a key is not seen.
template <class Policy>
__device__ __forceinline__ void query_probabilities(Scores<Policy>& s, const AttentionProblem<typename Policy::T>& p, const Work& w, int key0,
                                                    bool masked, const float (&log_sum_exp)[Policy::kRowBlocks][2]) {
  float scale = p.scale * kUnit<Policy>;
  if (p.bias.data != nullptr) {
    add_bias<Policy>(s, p.bias, w, key0, scale, kUnit<Policy>);
    scale = 1;
  }
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int j = 0; j < Policy::kColumns / 8; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) s[i][j][e] = probability<Policy>(s[i][j][e], scale, log_sum_exp[i][e / 2]);
    }
  }
  if (!masked) return;
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
          if (8 * j + e >= count) s[i][j][2 * h + e] = 0;
        }
      }
    }
  }
}

template <class Policy>
__device__ __forceinline__ void score_gradients(Scores<Policy>& s, const Scores<Policy>& dp, const float (&delta)[Policy::kRowBlocks][2]) {
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int j = 0; j < Policy::kColumns / 8; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) s[i][j][e] *= dp[i][j][e] - delta[i][e / 2];
    }
  }
}

template <class Policy>
__device__ __forceinline__ void add_dq(const AttentionProblem<typename Policy::T>& p, const Work& w, typename Policy::Left& q,
                                       typename Policy::Left& dout, const typename Policy::T* k, const typename Policy::T* v, float* scratch,
                                       int key0, int columns, bool masked, const float (&log_sum_exp)[Policy::kRowBlocks][2],
                                       const float (&delta)[Policy::kRowBlocks][2], Outputs<Policy>& dq) {
  Scores<Policy> s = {}, dp = {};
  score_product<Policy>(s, q, k, columns);
  score_product<Policy>(dp, dout, v, columns);
  query_probabilities<Policy>(s, p, w, key0, masked, log_sum_exp);
  score_gradients<Policy>(s, dp, delta);
  output_product<Policy>(dq, s, k, columns, scratch);
}

template <class Policy>
__global__ void __launch_bounds__(Policy::kThreads, 2) query_gradient_kernel(const BackwardArguments<typename Policy::T> a) {
  using T = typename Policy::T;
  constexpr int kTile = Policy::kColumns * Policy::kPitch;
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const QueryTiles<Policy> tiles(carve);
  const AttentionProblem<T>& p = a.p;
  for (int64_t item = blockIdx.x; item < a.queries.items; item += gridDim.x) {
    Work w;
    if (!find_work<Side::kQueries>(p, a.queries, Policy::kRows, item, w)) continue;
    if (w.poisoned) {
      poison(a.g.dq, w, 0, Policy::kRows, w.queries, p.depth);
      continue;
    }
    const HeadRows<T> q = head_rows(p.q, w, w.query_start, w.queries, p.depth, a.vector);
    const HeadRows<T> dout = head_rows(a.g.dout, w, w.query_start, w.queries, p.depth, a.vector);
    const HeadRows<T> k = head_rows(p.k, w, w.key_start, w.keys, p.depth, a.vector);
    const HeadRows<T> v = head_rows(p.v, w, w.key_start, w.keys, p.depth, a.vector);
    const int seen = clamped(min(w.queries, w.first + Policy::kRows) + w.diagonal, 0, w.keys);
    const int steps = (seen + Policy::kColumns - 1) / Policy::kColumns;
    const auto load = [&](int step) {
      Policy::template load_tile<Policy::kColumns>(tiles.k + step % 2 * kTile, k, step * Policy::kColumns);
      Policy::template load_tile<Policy::kColumns>(tiles.v + step % 2 * kTile, v, step * Policy::kColumns);
      Policy::commit_tiles();
    };
    typename Policy::Left q_rows(tiles.q), dout_rows(tiles.dout);
    if (steps > 0) {
      Policy::template load_tile<Policy::kRows>(tiles.q, q, w.first);
      Policy::template load_tile<Policy::kRows>(tiles.dout, dout, w.first);
      Policy::commit_tiles();
      load(0);
      Policy::template wait_tile<1>();
      __syncthreads();
      Policy::load_left(q_rows);
      Policy::load_left(dout_rows);
    }

    float log_sum_exp[Policy::kRowBlocks][2], delta[Policy::kRowBlocks][2];
    GATUN_UNROLL
    for (int i = 0; i < Policy::kRowBlocks; ++i) {
      GATUN_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
        const bool exists = row < w.queries;
        const int at = w.query_start + (exists ? row : w.first);
        delta[i][h] = row_dot(rows_at(a.g.out, w.batch, at, w.head), rows_at(a.g.dout, w.batch, at, w.head), static_cast<int>(p.depth), a.vector);
        const float given = a.g.log_sum_exp.data[w.batch * a.g.log_sum_exp.batch_stride + w.head * a.g.log_sum_exp.head_stride + at];
        log_sum_exp[i][h] = !exists || given == -kInfinity ? kInfinity : Policy::kExact ? given : given * kLog2E;
        if (exists && lane_index() % 4 == 0) {
          a.statistics.data[w.batch * a.statistics.batch_stride + w.head * a.statistics.head_stride + at] = {log_sum_exp[i][h], delta[i][h]};
        }
      }
    }

    const int group = w.first + Policy::group_row(), group_end = min(w.queries, group + Policy::kGroupRows);
    Outputs<Policy> dq;
    clear(dq);
    for (int step = 0; step < steps; ++step) {
      Policy::template wait_tile<0>();
      __syncthreads();  // this tile has arrived for all, and all have read the one before, which the next replaces
      if (step + 1 < steps) load(step + 1);
      const int key0 = step * Policy::kColumns;
      const int columns = group < group_end ? clamped(min(group_end + w.diagonal, w.keys) - key0, 0, Policy::kColumns) : 0;
      const T *k_tile = tiles.k + step % 2 * kTile, *v_tile = tiles.v + step % 2 * kTile;
      float* scratch = tiles.scratch + warp_index() * Policy::kScratch;
      const bool masked = columns < Policy::kColumns || key0 + Policy::kColumns - 1 > group + w.diagonal;
      if (columns > 0) add_dq<Policy>(p, w, q_rows, dout_rows, k_tile, v_tile, scratch, key0, columns, masked, log_sum_exp, delta, dq);
    }
    GATUN_UNROLL
    for (int i = 0; i < Policy::kRowBlocks; ++i) {
      GATUN_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
        store_row(row < w.queries ? rows_at(a.g.dq, w.batch, w.query_start + row, w.head) : nullptr, dq[i], 2 * h, p.scale,
                  static_cast<int>(p.depth), a.vector);
      }
    }
    __syncthreads();  // before the tiles of the next item replace these
  }
}

template <class Policy>
struct KeyTiles {
  using T = typename Policy::T;
  T *k, *v, *q, *dout;
  QueryStatistics* statistics;
  float* scratch;
  __host__ __device__ explicit KeyTiles(Carve& carve)
      : k(carve.take<T>(Policy::kRows * Policy::kPitch)), v(carve.take<T>(Policy::kRows * Policy::kPitch)),
        q(carve.take<T>(2 * Policy::kColumns * Policy::kPitch)), dout(carve.take<T>(2 * Policy::kColumns * Policy::kPitch)),
        statistics(carve.take<QueryStatistics>(2 * Policy::kColumns)), scratch(carve.take<float>(Policy::kWarps * Policy::kScratch)) {}
};

// s becomes the probabilities of a tile whose rows are keys and whose columns are queries.
template <class Policy>
__device__ __forceinline__ void key_probabilities(Scores<Policy>& s, const AttentionProblem<typename Policy::T>& p, const Work& w, int query0,
                                                  int columns, bool masked, const QueryStatistics* statistics) {
  float scale = p.scale * kUnit<Policy>;
  const int pair = lane_index() % 4 * 2, key0 = w.first + lane_index() / 4;
  if (p.bias.data != nullptr) {
    GATUN_UNROLL
    for (int j = 0; j < Policy::kColumns / 8; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 2; ++e) {
        const float* bias = bias_row(p.bias, w, min(query0 + 8 * j + pair + e, w.queries - 1));
        GATUN_UNROLL
        for (int i = 0; i < Policy::kRowBlocks; ++i) {
          GATUN_UNROLL
          for (int h = 0; h < 2; ++h) {
            float& score = s[i][j][2 * h + e];
            score = score * scale + bias[min(key0 + Policy::row_of(i) + 8 * h, w.keys - 1)] * kUnit<Policy>;
          }
        }
      }
    }
    scale = 1;
  }
  GATUN_UNROLL
  for (int j = 0; j < Policy::kColumns / 8; ++j) {
    GATUN_UNROLL
    for (int e = 0; e < 2; ++e) {
      const float log_sum_exp = statistics[8 * j + pair + e].log_sum_exp;
      GATUN_UNROLL
      for (int i = 0; i < Policy::kRowBlocks; ++i) {
        GATUN_UNROLL
        for (int h = 0; h < 2; ++h) {
          float& score = s[i][j][2 * h + e];
          score = probability<Policy>(score, scale, log_sum_exp);
        }
      }
    }
  }
  if (!masked) return;
  GATUN_UNROLL
  for (int i = 0; i < Policy::kRowBlocks; ++i) {
    GATUN_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int end = columns - pair, begin = key0 + Policy::row_of(i) + 8 * h - query0 - w.diagonal - pair;  // of the queries that see the key
      GATUN_UNROLL
      for (int j = 0; j < Policy::kColumns / 8; ++j) {
        GATUN_UNROLL
        for (int e = 0; e < 2; ++e) {
          if (8 * j + e >= end || 8 * j + e < begin) s[i][j][2 * h + e] = 0;
        }
      }
    }
  }
}

template <class Policy>
__device__ __forceinline__ void add_dk_dv(const AttentionProblem<typename Policy::T>& p, const Work& w, typename Policy::Left& k,
                                          typename Policy::Left& v, const typename Policy::T* q, const typename Policy::T* dout,
                                          const QueryStatistics* statistics, float* scratch, int query0, int columns, bool masked,
                                          Outputs<Policy>& dk, Outputs<Policy>& dv) {
  Scores<Policy> s = {};
  score_product<Policy>(s, k, q, columns);
  key_probabilities<Policy>(s, p, w, query0, columns, masked, statistics);
  output_product<Policy>(dv, s, dout, columns, scratch);
  Scores<Policy> dp = {};
  score_product<Policy>(dp, v, dout, columns);
  GATUN_UNROLL
  for (int j = 0; j < Policy::kColumns / 8; ++j) {
    GATUN_UNROLL
    for (int e = 0; e < 4; ++e) {
      const float delta = statistics[8 * j + lane_index() % 4 * 2 + e % 2].delta;
      GATUN_UNROLL
      for (int i = 0; i < Policy::kRowBlocks; ++i) s[i][j][e] *= dp[i][j][e] - delta;
    }
  }
  output_product<Policy>(dk, s, q, columns, scratch);
}

template <class Policy>
__global__ void __launch_bounds__(Policy::kThreads, 2) key_gradient_kernel(const BackwardArguments<typename Policy::T> a) {
  using T = typename Policy::T;
  constexpr int kTile = Policy::kColumns * Policy::kPitch;
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const KeyTiles<Policy> tiles(carve);
  const AttentionProblem<T>& p = a.p;
  for (int64_t item = blockIdx.x; item < a.keys.items; item += gridDim.x) {
    Work w;
    if (!find_work<Side::kKeys>(p, a.keys, Policy::kRows, item, w)) continue;
    if (w.poisoned) {
      poison(a.g.dk, w, 0, Policy::kRows, w.keys, p.depth);
      poison(a.g.dv, w, 0, Policy::kRows, w.keys, p.depth);
      continue;
    }
    const HeadRows<T> k = head_rows(p.k, w, w.key_start, w.keys, p.depth, a.vector);
    const HeadRows<T> v = head_rows(p.v, w, w.key_start, w.keys, p.depth, a.vector);
    const HeadRows<T> q = head_rows(p.q, w, w.query_start, w.queries, p.depth, a.vector);
    const HeadRows<T> dout = head_rows(a.g.dout, w, w.query_start, w.queries, p.depth, a.vector);
    const QueryStatistics* statistics = a.statistics.data + w.batch * a.statistics.batch_stride + w.head * a.statistics.head_stride + w.query_start;
    const int begin = clamped(w.first - w.diagonal, 0, w.queries) / Policy::kColumns;  // the first that sees any of these keys
    const int end = (w.queries + Policy::kColumns - 1) / Policy::kColumns;
    const auto load = [&](int step) {
      const int query0 = step * Policy::kColumns, thread = static_cast<int>(threadIdx.x);
      Policy::template load_tile<Policy::kColumns>(tiles.q + step % 2 * kTile, q, query0);
      Policy::template load_tile<Policy::kColumns>(tiles.dout + step % 2 * kTile, dout, query0);
      if (thread < Policy::kColumns) {
        const bool inside = thread < w.queries - query0;
        cp_async_zero_fill<8>(tiles.statistics + step % 2 * Policy::kColumns + thread, statistics + (inside ? query0 + thread : 0), inside ? 8 : 0);
      }
      Policy::commit_tiles();
    };
    typename Policy::Left k_rows(tiles.k), v_rows(tiles.v);
    if (begin < end) {
      Policy::template load_tile<Policy::kRows>(tiles.k, k, w.first);
      Policy::template load_tile<Policy::kRows>(tiles.v, v, w.first);
      Policy::commit_tiles();
      load(begin);
      Policy::template wait_tile<1>();
      __syncthreads();
      Policy::load_left(k_rows);
      Policy::load_left(v_rows);
    }

    const int group = w.first + Policy::group_row();
    Outputs<Policy> dk, dv;
    clear(dk);
    clear(dv);
    for (int step = begin; step < end; ++step) {
      Policy::template wait_tile<0>();
      __syncthreads();  // as above
      if (step + 1 < end) load(step + 1);
      const int query0 = step * Policy::kColumns;
      const int columns = group < w.keys && query0 + Policy::kColumns - 1 + w.diagonal >= group ? min(w.queries - query0, Policy::kColumns) : 0;
      const T *q_tile = tiles.q + step % 2 * kTile, *dout_tile = tiles.dout + step % 2 * kTile;
      const QueryStatistics* tile_statistics = tiles.statistics + step % 2 * Policy::kColumns;
      float* scratch = tiles.scratch + warp_index() * Policy::kScratch;
      const bool masked = columns < Policy::kColumns || group + Policy::kGroupRows - 1 > query0 + w.diagonal;
      if (columns > 0) {
        add_dk_dv<Policy>(p, w, k_rows, v_rows, q_tile, dout_tile, tile_statistics, scratch, query0, columns, masked, dk, dv);
      }
    }
    GATUN_UNROLL
    for (int i = 0; i < Policy::kRowBlocks; ++i) {
      GATUN_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int row = w.first + Policy::row_of(i) + lane_index() / 4 + 8 * h;
        const bool exists = row < w.keys;
        store_row(exists ? rows_at(a.g.dk, w.batch, w.key_start + row, w.head) : nullptr, dk[i], 2 * h, p.scale, static_cast<int>(p.depth), a.vector);
        store_row(exists ? rows_at(a.g.dv, w.batch, w.key_start + row, w.head) : nullptr, dv[i], 2 * h, 1.0f, static_cast<int>(p.depth), a.vector);
      }
    }
    __syncthreads();  // before the tiles of the next item replace these
  }
}

template <class T>
int query_tile_rows(const AttentionProblem<T>& p) {
  int rows = 0;
  with_architecture(p, p.queries, [&](auto architecture) { rows = decltype(architecture)::Queries::kRows; });
  return rows;
}
template <class T>
int key_tile_rows(const AttentionProblem<T>& p) {
  int rows = 0;
  with_architecture(p, p.keys, [&](auto architecture) { rows = decltype(architecture)::Keys::kRows; });
  return rows;
}

template <class T>
void launch_backward(const Stream& stream, const BackwardArguments<T>& arguments) {
  if (arguments.queries.items > 0) {
    with_architecture(arguments.p, arguments.p.queries, [&](auto architecture) {
      using Policy = typename decltype(architecture)::Queries;
      Carve carve(nullptr);
      const QueryTiles<Policy> tiles(carve);
      enqueue(stream, query_gradient_kernel<Policy>, grid_for(arguments.queries.items, 1), Policy::kThreads, carve.bytes(), arguments);
    });
  }
  if (arguments.keys.items > 0) {
    with_architecture(arguments.p, arguments.p.keys, [&](auto architecture) {
      using Policy = typename decltype(architecture)::Keys;
      Carve carve(nullptr);
      const KeyTiles<Policy> tiles(carve);
      enqueue(stream, key_gradient_kernel<Policy>, grid_for(arguments.keys.items, 1), Policy::kThreads, carve.bytes(), arguments);
    });
  }
}

}  // namespace gatun::attention

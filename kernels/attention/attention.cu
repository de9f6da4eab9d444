// SPDX-License-Identifier: Apache-2.0
// Entry points, workspaces, and the tables of tiles of ragged batches.
#include "kernels/attention/attention_device.h"

namespace gatun {
namespace attention {
namespace {

constexpr int kPlanThreads = 256;

// The start of sequence s of S + 2 (see TileOrigin), s = 0 ... S + 2.
__device__ __forceinline__ int start_of(const int32_t* offsets, int rows, int sequences, int s) {
  return s == 0 ? 0 : s > sequences + 1 ? rows : offsets[s - 1];
}

__device__ __forceinline__ bool leaves(const int32_t* offsets, int rows, int sequences) {
  bool bad = false;
  for (int s = static_cast<int>(threadIdx.x); s <= sequences; s += kPlanThreads) {
    bad = bad || offsets[s] < (s == 0 ? 0 : offsets[s - 1]) || offsets[s] > rows;
  }
  return bad;
}

__device__ __forceinline__ void fill(TileOrigin* origins, const int32_t* offsets, int rows, int sequences, int tile_rows, bool bad) {
  const int tiles = static_cast<int>(ragged_tiles(rows, sequences, tile_rows));
  for (int tile = static_cast<int>(threadIdx.x); tile < tiles; tile += kPlanThreads) {
    TileOrigin origin{kPoison, 0};
    if (!bad) {
      int low = 0, high = sequences + 1;  // the last sequence whose first index is at most `tile`
      while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (start_of(offsets, rows, sequences, middle) / tile_rows + middle <= tile) low = middle;
        else high = middle - 1;
      }
      const int start = start_of(offsets, rows, sequences, low), length = start_of(offsets, rows, sequences, low + 1) - start;
      origin.first = (tile - start / tile_rows - low) * tile_rows;
      origin.sequence = origin.first < length ? low : kNothing;
    }
    origins[tile] = origin;
  }
}

// One block: whether any offset is bad decides about all tiles.
__global__ void __launch_bounds__(kPlanThreads) plan_kernel(const int32_t* query_offsets, int queries, const int32_t* key_offsets, int keys,
                                                            int sequences, Tables tables) {
  const bool mine = leaves(query_offsets, queries, sequences) || leaves(key_offsets, keys, sequences);
  const bool bad = __syncthreads_or(mine) != 0;
  fill(tables.queries, query_offsets, queries, sequences, tables.query_rows, bad);
  if (tables.keys != nullptr) fill(tables.keys, key_offsets, keys, sequences, tables.key_rows, bad);
}

template <class T>
void make_tables(const Stream& stream, const AttentionProblem<T>& p, const Tables& tables) {
  enqueue(stream, plan_kernel, 1, kPlanThreads, 0, p.query_offsets, static_cast<int>(p.queries), p.key_offsets, static_cast<int>(p.keys),
          static_cast<int>(p.batch), tables);
}

template <class T>
int64_t table_tiles(const AttentionProblem<T>& p, int64_t rows, int tile_rows) {
  return p.ragged ? ragged_tiles(rows, p.batch, tile_rows) : 0;
}

template <class T>
int64_t query_rows(const AttentionProblem<T>& p) {
  return (p.ragged ? 1 : p.batch) * p.heads * p.queries;
}

struct BackwardWorkspace {
  QueryStatistics* statistics;
  TileOrigin *queries, *keys;
  template <class T>
  BackwardWorkspace(Carve& carve, const AttentionProblem<T>& p)
      : statistics(carve.take<QueryStatistics>(static_cast<size_t>(query_rows(p)))),
        queries(carve.take<TileOrigin>(static_cast<size_t>(table_tiles(p, p.queries, query_tile_rows(p))))),
        keys(carve.take<TileOrigin>(static_cast<size_t>(table_tiles(p, p.keys, key_tile_rows(p))))) {}
};

}  // namespace
}  // namespace attention

using namespace attention;

template <class T>
size_t attention_forward_workspace(const Stream&, const AttentionProblem<T>& problem) {
  return static_cast<size_t>(table_tiles(problem, problem.queries, forward_tile_rows(problem))) * sizeof(TileOrigin);
}

template <class T>
void attention_forward(const Stream& stream, const AttentionProblem<T>& p, HeadView<T> out, RowStatistic<float> log_sum_exp, void* workspace) {
  const int rows = forward_tile_rows(p);
  auto* origins = static_cast<TileOrigin*>(workspace);
  const Plan plan = plan_of(p, p.queries, rows, origins);
  if (p.queries == 0 || plan.items == 0) return;
  if (p.ragged) {
    make_tables(stream, p, Tables{origins, nullptr, rows, rows});
  }
  const bool vector = vector_inputs(p) && vector_view(out, p.ragged ? 1 : p.batch, p.queries, p.heads, p.depth);
  launch_forward(stream, ForwardArguments<T>{p, out, log_sum_exp, plan, vector});
}

template <class T>
size_t attention_backward_workspace(const Stream&, const AttentionProblem<T>& problem, bool) {
  Carve carve(nullptr);
  const BackwardWorkspace workspace(carve, problem);
  return carve.bytes();
}

template <class T>
void attention_backward(const Stream& stream, const AttentionProblem<T>& p, const AttentionGradients<T>& g, void* workspace) {
  Carve carve(static_cast<unsigned char*>(workspace));
  const BackwardWorkspace memory(carve, p);
  if (p.ragged && p.heads > 0) {
    make_tables(stream, p, Tables{memory.queries, memory.keys, query_tile_rows(p), key_tile_rows(p)});
  }
  const int64_t batch = p.ragged ? 1 : p.batch;
  const bool vector = vector_inputs(p) && vector_view(g.out, batch, p.queries, p.heads, p.depth) &&
                      vector_view(g.dout, batch, p.queries, p.heads, p.depth) && vector_view(g.dq, batch, p.queries, p.heads, p.depth) &&
                      vector_view(g.dk, batch, p.keys, p.heads, p.depth) && vector_view(g.dv, batch, p.keys, p.heads, p.depth);
  const RowStatistic<QueryStatistics> statistics{memory.statistics, p.ragged ? 0 : p.heads * p.queries, p.queries};
  const BackwardArguments<T> arguments{p, g, statistics, plan_of(p, p.queries, query_tile_rows(p), memory.queries),
                                       plan_of(p, p.keys, key_tile_rows(p), memory.keys), vector};
  launch_backward(stream, arguments);
  if (g.dbias.data != nullptr) launch_bias_gradient(stream, arguments);
}

#define INSTANTIATE(T)                                                                                                           \
  template size_t attention_forward_workspace(const Stream&, const AttentionProblem<T>&);                                        \
  template void attention_forward(const Stream&, const AttentionProblem<T>&, HeadView<T>, RowStatistic<float>, void*);            \
  template size_t attention_backward_workspace(const Stream&, const AttentionProblem<T>&, bool);                                 \
  template void attention_backward(const Stream&, const AttentionProblem<T>&, const AttentionGradients<T>&, void*);
GATUN_FOR_EACH_STORAGE(INSTANTIATE)

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// As in flash attention: tiles of scores are computed, reduced while they are in registers, and computed again for the gradient. A block
// owns 128 rows of one side, and where those are few blocks also only a part of the other side; parts are joined in order.
#include "kernels/info_nce/info_nce.h"

#include <algorithm>

#include "kernels/common/pairs.h"

namespace gatun {
namespace {

using namespace pairs;

// Of rows without a group: neither side's meets the other's.
constexpr int32_t kNoOwnGroup = -1, kNoOtherGroup = -2;

// What has been seen of a query's scores.
struct Seen {
  PowerSum powers;
  float positive = 0;  // sum of positive scores
  int32_t count = 0;   // of positives
  __device__ __forceinline__ void join(const Seen& other) {
    powers.join(other.powers);
    positive += other.positive;
    count += other.count;
  }
};

template <class T>
Operand<T> operand(const InfoNceRows<const T>& rows) { return {rows.data, rows.rows, rows.stride}; }

template <class T>
struct ForwardMemory {
  typename Tile<T>::Memory tile;
  Seen* seen;
  int32_t *groups, *columns;
  __host__ __device__ explicit ForwardMemory(Carve& carve)
      : tile(carve), seen(carve.take<Seen>(kTile * kSharedPitch)), groups(carve.take<int32_t>(kTile)), columns(carve.take<int32_t>(2 * kTile)) {}
};

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks<T>) forward_kernel(Operand<T> queries, Operand<T> keys, int depth, float scale, bool self,
                                                              const int32_t* query_groups, const int32_t* key_groups, Cut cut, Seen* seen) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const ForwardMemory<T> shared(carve);
  Tile<T> tile(shared.tile, queries, keys, depth);
  Columns<int32_t> groups(shared.columns);
  for (int item = static_cast<int>(blockIdx.x); item < cut.own_tiles * cut.parts; item += static_cast<int>(gridDim.x)) {
    const int part = item % cut.parts, own_tile = item / cut.parts;
    const int begin = part * cut.part_tiles, end = min(begin + cut.part_tiles, cut.other_tiles);
    for (int r = 0; r < kPairs; ++r) kept(shared.seen, tile, r) = Seen();
    for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kThreads) {
      const int32_t group = i < queries.left(own_tile) ? query_groups[int64_t{own_tile} * kTile + i] : kNoOwnGroup;
      shared.groups[i] = group < 0 ? kNoOwnGroup : group;
    }
    if (begin < end) tile.begin(own_tile, begin);
    for (int t = begin; t < end; ++t) {
      const int columns = count(keys.left(t)), diagonal = self && own_tile == t ? 0 : kTile;  // the row of a column that is itself
      groups.load(columns, kNoOtherGroup, [&](int c) {
        const int32_t group = key_groups[int64_t{t} * kTile + c];
        return group < 0 ? kNoOtherGroup : group;
      });
      tile.product();
      if (t + 1 < end) tile.begin(own_tile, t + 1);
      GATUN_UNROLL
      for (int r = 0; r < kPairs; ++r) {
        const int32_t group = shared.groups[tile.row(r)];
        Seen own = kept(shared.seen, tile, r);
        float next = -INFINITY;
        GATUN_UNROLL
        for (int c = 0; c < kPairs; ++c) {
          const bool compared = tile.column(c) < columns && tile.row(r) != tile.column(c) + diagonal;
          const float score = compared ? tile.at(r, c) * scale : -INFINITY;
          if (compared && groups[tile.column(c)] == group) {
            own.positive += score;
            ++own.count;
          }
          tile.at(r, c) = score;
          next = fmaxf(next, score);
        }
        own.powers.raise(next);
        const float shift = own.powers.shift();
        GATUN_UNROLL
        for (int c = 0; c < kPairs; ++c) own.powers.sum += power(tile.at(r, c) - shift);
        kept(shared.seen, tile, r) = own;
      }
    }
    __syncthreads();
    if (threadIdx.x < kTile && threadIdx.x < queries.left(own_tile)) {
      Seen all = shared.seen[threadIdx.x * kSharedPitch];
      for (int i = 1; i < kSharers; ++i) all.join(shared.seen[threadIdx.x * kSharedPitch + i]);
      seen[part * queries.rows + int64_t{own_tile} * kTile + threadIdx.x] = all;
    }
    __syncthreads();
  }
}

constexpr int kRowThreads = 256;

__global__ void __launch_bounds__(kRowThreads) finish_kernel(const Seen* seen, int64_t parts, int64_t rows, float* loss, float* lse,
                                                             int32_t* positives) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x; i < rows; i += static_cast<int64_t>(gridDim.x) * kRowThreads) {
    Seen all = seen[i];
    for (int64_t part = 1; part < parts; ++part) all.join(seen[part * rows + i]);
    const float rest = logf(all.powers.sum);
    // Not lse - mean: where the positives are the largest scores, the loss is far smaller than both.
    loss[i] = all.count == 0 ? 0.0f : all.powers.largest - all.positive / static_cast<float>(all.count) + rest;
    if (lse != nullptr) lse[i] = all.powers.sum == 0 ? -INFINITY : all.powers.largest + rest;
    if (positives != nullptr) positives[i] = all.count;
  }
}

// What a row's scores contribute to the gradient: as a query; zeros as a key.
struct Terms {
  float lse;
  float factor;  // dloss / temperature; 0 without positives
  float share;   // factor / |P|
  int32_t group;
};

// lse: null for keys that are no queries
__global__ void __launch_bounds__(kRowThreads) terms_kernel(const int32_t* groups, const float* lse, const int32_t* positives, const float* dloss,
                                                            int64_t dloss_stride, float scale, int64_t rows, Terms* terms) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x; i < rows; i += static_cast<int64_t>(gridDim.x) * kRowThreads) {
    Terms t{INFINITY, 0.0f, 0.0f, groups[i]};
    if (lse != nullptr && positives[i] > 0) {
      t.factor = dloss[i * dloss_stride] * scale;
      t.share = t.factor * __frcp_rn(static_cast<float>(positives[i]));
    }
    // A query that was compared with nothing gets weights e^-inf = 0.
    if (lse != nullptr && lse[i] != -INFINITY) t.lse = lse[i];
    terms[i] = t;
  }
}

// A power of two that brings the weights of 16-bit rows into the middle of f16's range; their sums are divided by it.
constexpr int kUnitThreads = 1024;

__global__ void __launch_bounds__(kUnitThreads) unit_kernel(const Terms* terms, int64_t rows, float* unit) {
  __shared__ float largest[kUnitThreads];
  float own = 0;
  for (int64_t i = threadIdx.x; i < rows; i += kUnitThreads) own = fmaxf(own, fabsf(terms[i].factor));
  largest[threadIdx.x] = own;
  __syncthreads();
  for (int step = kUnitThreads / 2; step > 0; step /= 2) {
    if (static_cast<int>(threadIdx.x) < step) largest[threadIdx.x] = fmaxf(largest[threadIdx.x], largest[threadIdx.x + step]);
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    const int exponent = static_cast<int>(__float_as_uint(largest[0]) >> 23) - 127;
    const int wanted = 10 - exponent;
    *unit = __uint_as_float(static_cast<unsigned>((wanted < -100 ? -100 : wanted > 100 ? 100 : wanted) + 127) << 23);
  }
}

template <class T>
struct BackwardMemory {
  typename Tile<T>::Memory tile;
  typename Weighted<T>::Memory weighted;
  Terms* terms;
  __host__ __device__ explicit BackwardMemory(Carve& carve) : tile(carve), weighted(carve), terms(carve.take<Terms>(kTile)) {}
};

// Of 128 rows of `own` and 128 columns: the sum of the rows of `other`, weighted by the gradient of the scores. Either side, or in the self
// form both, are queries.
template <class T>
__global__ void __launch_bounds__(kThreads, 1) backward_kernel(Operand<T> own, Operand<T> other, int depth, float scale, bool self,
                                                               bool own_queries, bool other_queries, const Terms* own_terms,
                                                               const Terms* other_terms, const float* unit, Cut cut, float* gradient) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const BackwardMemory<T> shared(carve);
  Tile<T> tile(shared.tile, own, other, depth);
  const int chunks = (depth - 1) / kTile + 1;
  const float up = unit == nullptr ? 1.0f : *unit, down = 1.0f / up;
  for (int item = static_cast<int>(blockIdx.x); item < cut.own_tiles * cut.parts * chunks; item += static_cast<int>(gridDim.x)) {
    const int part = item / chunks % cut.parts, own_tile = item / chunks / cut.parts, column = item % chunks * kTile;
    const int begin = part * cut.part_tiles, end = min(begin + cut.part_tiles, cut.other_tiles);
    const int64_t first_row = int64_t{own_tile} * kTile;
    for (int i = static_cast<int>(threadIdx.x); i < kTile; i += kThreads) {
      shared.terms[i] = first_row + i < own.rows ? own_terms[first_row + i] : Terms{INFINITY, 0.0f, 0.0f, kNoOwnGroup};
      if (shared.terms[i].group < 0) shared.terms[i].group = kNoOwnGroup;
    }
    Weighted<T> sum(shared.weighted, other, depth, column);
    sum.clear();
    for (int t = begin; t < end; ++t) {
      tile.begin(own_tile, t);
      tile.product();
      sum.begin(t);
      const int columns = count(other.left(t)), diagonal = self && own_tile == t ? 0 : kTile;
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) {
        Terms there{INFINITY, 0.0f, 0.0f, kNoOtherGroup};
        if (tile.column(c) < columns) there = other_terms[int64_t{t} * kTile + tile.column(c)];
        if (there.group < 0) there.group = kNoOtherGroup;
        GATUN_UNROLL
        for (int r = 0; r < kPairs; ++r) {
          const Terms here = shared.terms[tile.row(r)];
          const float score = tile.at(r, c) * scale;
          float weight = 0;
          if (own_queries) weight += here.factor * power(score - here.lse);
          if (other_queries) weight += there.factor * power(score - there.lse);
          if (here.group == there.group) weight -= here.share + there.share;
          tile.at(r, c) = tile.column(c) < columns && tile.row(r) != tile.column(c) + diagonal ? weight * up : 0.0f;
        }
      }
      sum.add(tile);
    }
    GATUN_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      const int64_t row = first_row + sum.row(r);
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) {
        if (row < own.rows && column + sum.column(c) < depth) gradient[(part * own.rows + row) * depth + column + sum.column(c)] = sum.at(r, c) * down;
      }
    }
    __syncthreads();  // the next item's terms
  }
}

// The parts of a gradient, added in order.
template <class T>
__global__ void __launch_bounds__(kRowThreads) join_kernel(const float* parts, int64_t count, int64_t rows, int64_t depth, T* gradient, int64_t stride) {
  const int64_t size = rows * depth;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x; i < size; i += static_cast<int64_t>(gridDim.x) * kRowThreads) {
    float sum = 0;
    for (int64_t part = 0; part < count; ++part) sum += parts[part * size + i];
    gradient[i / depth * stride + i % depth] = T(sum);
  }
}

struct BackwardWorkspace {
  Terms *queries, *keys;
  float *unit, *parts;
  size_t bytes;
  template <class T>
  BackwardWorkspace(void* memory, const InfoNceProblemOf<T>& p) {
    Carve carve(static_cast<unsigned char*>(memory));
    queries = carve.take<Terms>(static_cast<size_t>(p.queries.rows));
    keys = p.self ? queries : carve.take<Terms>(static_cast<size_t>(p.keys.rows));
    unit = std::is_same_v<T, float> ? nullptr : carve.take<float>(1);
    const int64_t chunks = chunk_count(p.depth, kTile);
    const int64_t rows = std::max(p.queries.rows * Cut(p.queries.rows, p.keys.rows, chunks).parts, p.keys.rows * Cut(p.keys.rows, p.queries.rows, chunks).parts);
    parts = carve.take<float>(static_cast<size_t>(rows * p.depth));
    bytes = carve.bytes();
  }
};

template <class M>
size_t memory_bytes() {
  Carve carve(nullptr);
  const M memory(carve);
  return carve.bytes();
}

template <class T>
void gradient_of(const Stream& stream, const InfoNceProblemOf<T>& p, const InfoNceRows<const T>& own, const InfoNceRows<const T>& other, bool queries,
                 const BackwardWorkspace& w, const InfoNceRows<T>& gradient) {
  if (own.rows == 0) return;
  const int64_t chunks = chunk_count(p.depth, kTile);
  const Cut cut(own.rows, other.rows, chunks);
  enqueue(stream, backward_kernel<T>, grid_for(cut.own_tiles * cut.parts * chunks, 1), kThreads, memory_bytes<BackwardMemory<T>>(), operand(own),
          operand(other), narrow(p.depth), 1 / p.temperature, p.self, queries, p.self || !queries, queries ? w.queries : w.keys, queries ? w.keys : w.queries,
          w.unit, cut, w.parts);
  enqueue(stream, join_kernel<T>, grid_for(own.rows * p.depth, kRowThreads), kRowThreads, 0, w.parts, cut.parts, own.rows, p.depth, gradient.data,
          gradient.stride);
}

}  // namespace

template <class T>
size_t info_nce_forward_workspace(const Stream&, const InfoNceProblemOf<T>& p) {
  return static_cast<size_t>(p.queries.rows * Cut(p.queries.rows, p.keys.rows).parts) * sizeof(Seen);
}

template <class T>
void info_nce_forward(const Stream& stream, const InfoNceProblemOf<T>& p, const InfoNceResult& result, void* workspace) {
  if (p.queries.rows == 0) return;
  const Cut cut(p.queries.rows, p.keys.rows);
  Seen* const seen = static_cast<Seen*>(workspace);
  enqueue(stream, forward_kernel<T>, grid_for(int64_t{cut.own_tiles} * cut.parts, 1), kThreads, memory_bytes<ForwardMemory<T>>(), operand(p.queries),
          operand(p.keys), narrow(p.depth), 1 / p.temperature, p.self, p.query_groups, p.key_groups, cut, seen);
  enqueue(stream, finish_kernel, grid_for(p.queries.rows, kRowThreads), kRowThreads, 0, seen, cut.parts, p.queries.rows, result.loss, result.lse,
          result.positives);
}

template <class T>
size_t info_nce_backward_workspace(const Stream&, const InfoNceProblemOf<T>& p) {
  return BackwardWorkspace(nullptr, p).bytes;
}

template <class T>
void info_nce_backward(const Stream& stream, const InfoNceProblemOf<T>& p, const InfoNceGradientsOf<T>& g, void* workspace) {
  const BackwardWorkspace w(workspace, p);
  if (p.queries.rows > 0) {
    enqueue(stream, terms_kernel, grid_for(p.queries.rows, kRowThreads), kRowThreads, 0, p.query_groups, g.lse, g.positives, g.dloss, g.dloss_stride,
            1 / p.temperature, p.queries.rows, w.queries);
  }
  if (w.unit != nullptr) enqueue(stream, unit_kernel, 1, kUnitThreads, 0, w.queries, p.queries.rows, w.unit);
  if (!p.self && p.keys.rows > 0) {
    enqueue(stream, terms_kernel, grid_for(p.keys.rows, kRowThreads), kRowThreads, 0, p.key_groups, nullptr, nullptr, nullptr, 0, 1 / p.temperature,
            p.keys.rows, w.keys);
  }
  gradient_of(stream, p, p.queries, p.keys, true, w, g.dq);
  if (g.dk.data != nullptr) gradient_of(stream, p, p.keys, p.queries, false, w, g.dk);
}

#define GATUN_INSTANTIATE(T)                                                                                                          \
  template size_t info_nce_forward_workspace(const Stream&, const InfoNceProblemOf<T>&);                                              \
  template void info_nce_forward(const Stream&, const InfoNceProblemOf<T>&, const InfoNceResult&, void*);                             \
  template size_t info_nce_backward_workspace(const Stream&, const InfoNceProblemOf<T>&);                                             \
  template void info_nce_backward(const Stream&, const InfoNceProblemOf<T>&, const InfoNceGradientsOf<T>&, void*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// A sweep of one side is a log-sum-exp over the other, as in flash attention: tiles of scores are reduced while they are in registers. With
// logarithms throughout no range of the scores need be known, and f32 is enough.
#include "kernels/sinkhorn/sinkhorn_streaming.h"

#include "kernels/common/pairs.h"

namespace gatun {
namespace {

using namespace pairs;

template <class T>
struct SweepMemory {
  typename Tile<T>::Memory tile;
  PowerSum* sums;
  float* columns;
  __host__ __device__ explicit SweepMemory(Carve& carve)
      : tile(carve), sums(carve.take<PowerSum>(kTile * kSharedPitch)), columns(carve.take<float>(2 * kTile)) {}
};

// Of each own row, what a part of the other rows sums to: e^(<own, other> scale + potential). potentials: null for zeros.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks<T>) sweep_kernel(Operand<T> own, Operand<T> other, int depth, float scale, const float* potentials,
                                                            Cut cut, PowerSum* sums) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const SweepMemory<T> shared(carve);
  Tile<T> tile(shared.tile, own, other, depth);
  Columns<float> added(shared.columns);
  for (int item = static_cast<int>(blockIdx.x); item < cut.own_tiles * cut.parts; item += static_cast<int>(gridDim.x)) {
    const int part = item % cut.parts, own_tile = item / cut.parts;
    const int begin = part * cut.part_tiles, end = min(begin + cut.part_tiles, cut.other_tiles);
    for (int r = 0; r < kPairs; ++r) kept(shared.sums, tile, r) = PowerSum();
    if (begin < end) tile.begin(own_tile, begin);
    for (int t = begin; t < end; ++t) {
      added.load(count(other.left(t)), -INFINITY, [&](int c) { return potentials == nullptr ? 0.0f : potentials[int64_t{t} * kTile + c]; });
      tile.product();
      if (t + 1 < end) tile.begin(own_tile, t + 1);
      GATUN_UNROLL
      for (int r = 0; r < kPairs; ++r) {
        PowerSum powers = kept(shared.sums, tile, r);
        float next = -INFINITY;
        GATUN_UNROLL
        for (int c = 0; c < kPairs; ++c) {
          tile.at(r, c) = __fmaf_rn(tile.at(r, c), scale, added[tile.column(c)]);
          next = fmaxf(next, tile.at(r, c));
        }
        powers.raise(next);
        const float shift = powers.shift();
        GATUN_UNROLL
        for (int c = 0; c < kPairs; ++c) powers.sum += power(tile.at(r, c) - shift);
        kept(shared.sums, tile, r) = powers;
      }
    }
    __syncthreads();
    if (threadIdx.x < kTile && threadIdx.x < own.left(own_tile)) {
      PowerSum all = shared.sums[threadIdx.x * kSharedPitch];
      for (int i = 1; i < kSharers; ++i) all.join(shared.sums[threadIdx.x * kSharedPitch + i]);
      sums[part * own.rows + int64_t{own_tile} * kTile + threadIdx.x] = all;
    }
    __syncthreads();
  }
}

constexpr int kJoinThreads = 256;

// The parts in order.
__global__ void __launch_bounds__(kJoinThreads) join_kernel(const PowerSum* sums, int64_t parts, int64_t rows, float* potentials) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kJoinThreads + threadIdx.x; i < rows; i += static_cast<int64_t>(gridDim.x) * kJoinThreads) {
    PowerSum all = sums[i];
    for (int64_t part = 1; part < parts; ++part) all.join(sums[part * rows + i]);
    potentials[i] = -(all.largest + logf(all.sum));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks<T>) codes_kernel(Operand<T> features, Operand<T> prototypes, int depth, float scale,
                                                            const float* sample_potentials, const float* prototype_potentials, int columns,
                                                            int tiles, float* codes, int64_t stride) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const SweepMemory<T> shared(carve);
  Tile<T> tile(shared.tile, features, prototypes, depth);
  Columns<float> potentials(shared.columns);
  for (int item = static_cast<int>(blockIdx.x); item < tiles; item += static_cast<int>(gridDim.x)) {
    const int height = count(features.left(item / columns)), width = count(prototypes.left(item % columns));
    const int64_t first_row = int64_t{item / columns} * kTile, first_column = int64_t{item % columns} * kTile;
    tile.begin(item / columns, item % columns);
    potentials.load(width, 0.0f, [&](int c) { return prototype_potentials[first_column + c]; });
    tile.product();
    GATUN_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      if (tile.row(r) >= height) continue;
      const float sample = sample_potentials[first_row + tile.row(r)];
      float* out = codes + (first_row + tile.row(r)) * stride + first_column;
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) {
        // In this order: what is added last is small, its rounding too.
        const float code = power(__fmaf_rn(tile.at(r, c), scale, potentials[tile.column(c)]) + sample);
        if (tile.column(c) < width) out[tile.column(c)] = code;
      }
    }
  }
}

template <class T>
size_t tile_bytes() {
  Carve carve(nullptr);
  const SweepMemory<T> memory(carve);
  return carve.bytes();
}

template <class T>
Operand<T> operand(Rows<const T> rows) { return {rows.data, rows.rows, rows.stride}; }

template <class T>
void sweep(const Stream& stream, Rows<const T> own, Rows<const T> other, float epsilon, const float* potentials, float* result, PowerSum* sums) {
  if (own.rows == 0) return;
  const Cut cut(own.rows, other.rows);
  enqueue(stream, sweep_kernel<T>, grid_for(int64_t{cut.own_tiles} * cut.parts, 1), kThreads, tile_bytes<T>(), operand(own), operand(other), narrow(own.columns),
          1 / epsilon, potentials, cut, sums);
  enqueue(stream, join_kernel, grid_for(own.rows, kJoinThreads), kJoinThreads, 0, sums, cut.parts, own.rows, result);
}

}  // namespace

template <class T>
size_t sinkhorn_streaming_workspace(Rows<const T> features, Rows<const T> prototypes) {
  const int64_t samples = features.rows * Cut(features.rows, prototypes.rows).parts, others = prototypes.rows * Cut(prototypes.rows, features.rows).parts;
  return static_cast<size_t>(std::max(samples, others)) * sizeof(PowerSum);
}

template <class T>
void sinkhorn_streaming(const Stream& stream, Rows<const T> features, Rows<const T> prototypes, float epsilon, int iterations,
                        float* sample_potentials, float* prototype_potentials, void* workspace) {
  PowerSum* const sums = static_cast<PowerSum*>(workspace);
  for (int iteration = 0; iteration < iterations; ++iteration) {
    sweep(stream, prototypes, features, epsilon, iteration == 0 ? nullptr : sample_potentials, prototype_potentials, sums);
    sweep(stream, features, prototypes, epsilon, prototype_potentials, sample_potentials, sums);
  }
}

template <class T>
void sinkhorn_streaming_codes(const Stream& stream, Rows<const T> features, Rows<const T> prototypes, float epsilon,
                              const float* sample_potentials, const float* prototype_potentials, Rows<float> codes, void*) {
  if (features.rows == 0 || prototypes.rows == 0) return;
  const int64_t columns = Cut::tiles(prototypes.rows), tiles = Cut::tiles(features.rows) * columns;
  enqueue(stream, codes_kernel<T>, grid_for(tiles, 1), kThreads, tile_bytes<T>(), operand(features), operand(prototypes), narrow(features.columns), 1 / epsilon,
          sample_potentials, prototype_potentials, narrow(columns), narrow(tiles), codes.data, codes.stride);
}

#define GATUN_INSTANTIATE(T)                                                                                                           \
  template size_t sinkhorn_streaming_workspace(Rows<const T>, Rows<const T>);                                                          \
  template void sinkhorn_streaming(const Stream&, Rows<const T>, Rows<const T>, float, int, float*, float*, void*);                    \
  template void sinkhorn_streaming_codes(const Stream&, Rows<const T>, Rows<const T>, float, const float*, const float*, Rows<float>, void*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Assignment is bound by arithmetic: tiles of rows against all centroids, the best so far in registers. Sums are bound by memory: a block
// owns some centroids, looks through all assignments and adds the rows that it finds, in their order.
#include "kernels/kmeans/kmeans.h"

#include <algorithm>

#include "kernels/common/pairs.h"

namespace gatun {
namespace {

// The best score that has been seen, greater is better; the lowest index of equal ones.
struct Best {
  float value;
  int32_t index;
  // In the order of indices.
  __device__ __forceinline__ void see(float score, int32_t k) {
    if (score > value) value = score, index = k;
  }
  __device__ __forceinline__ void join(const Best& other) {
    if (other.index >= 0 && (index < 0 || other.value > value || (other.value == value && other.index < index))) *this = other;
  }
};

template <class Combine>
struct AssignMemory {
  typename pairs::Tile<float, Combine>::Memory tile;
  Best* best;
  __host__ __device__ explicit AssignMemory(Carve& carve) : tile(carve), best(carve.take<Best>(pairs::kTile * pairs::kSharedPitch)) {}
};

template <class Combine>
__global__ void __launch_bounds__(pairs::kThreads, pairs::kBlocks<float>) assign_kernel(pairs::Operand<float> rows, pairs::Operand<float> centroids, int dimension,
                                                                    int tiles, bool spherical, int32_t* assignment, float* score) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const AssignMemory<Combine> shared(carve);
  pairs::Tile<float, Combine> tile(shared.tile, rows, centroids, dimension);
  const int count = static_cast<int>(centroids.rows);
  for (int own = static_cast<int>(blockIdx.x); own < tiles; own += static_cast<int>(gridDim.x)) {
    for (int r = 0; r < pairs::kPairs; ++r) pairs::kept(shared.best, tile, r) = {-INFINITY, -1};
    tile.begin(own, 0);
    for (int k = 0; k < count; k += pairs::kTile) {
      tile.product();
      if (count - k > pairs::kTile) tile.begin(own, k / pairs::kTile + 1);
      const int columns = count - k;
      GATUN_UNROLL
      for (int r = 0; r < pairs::kPairs; ++r) {
        Best best = pairs::kept(shared.best, tile, r);
        GATUN_UNROLL
        for (int c = 0; c < pairs::kPairs; ++c) {
          if (tile.column(c) < columns) best.see(tile.at(r, c), k + tile.column(c));
        }
        pairs::kept(shared.best, tile, r) = best;
      }
    }
    __syncthreads();
    if (threadIdx.x < pairs::kTile && threadIdx.x < rows.left(own)) {
      const int64_t row = int64_t{own} * pairs::kTile + threadIdx.x;
      Best all = shared.best[threadIdx.x * pairs::kSharedPitch];
      for (int i = 1; i < pairs::kSharers; ++i) all.join(shared.best[threadIdx.x * pairs::kSharedPitch + i]);
      assignment[row] = all.index;
      score[row] = all.index < 0 ? NAN : spherical ? all.value : -all.value;
    }
    __syncthreads();  // before the next rows' best
  }
}

template <class Combine>
void assign(const Stream& stream, Rows<const float> rows, Rows<const float> centroids, bool spherical, int32_t* assignment, float* score) {
  Carve carve(nullptr);
  const AssignMemory<Combine> memory(carve);
  const int tiles = pairs::narrow(pairs::Cut::tiles(rows.rows));
  enqueue(stream, assign_kernel<Combine>, grid_for(tiles, 1), pairs::kThreads, carve.bytes(),
          pairs::Operand<float>{rows.data, rows.rows, rows.stride}, pairs::Operand<float>{centroids.data, centroids.rows, centroids.stride},
          pairs::narrow(rows.columns), tiles, spherical, assignment, score);
}

constexpr int kSumThreads = 128;  // also the columns of a block
constexpr int kSumCentroids = 16;  // of a block: its sums in f64 fill 16 KiB
constexpr int kScanned = 4;       // assignments that a thread looks at in a turn
constexpr int kTurn = kSumThreads * kScanned, kWarps = kSumThreads / 32;
constexpr int kAhead = 8;         // rows under way

struct Found {
  int row;     // counted from the turn's first
  int centroid;  // counted from the block's first
};

// Which of a turn's rows belong to the block's centroids, in the order of the rows. Returns their number.
__device__ __forceinline__ int find(const int32_t* assignment, int64_t begin, int64_t count, int64_t first, int64_t centroids, bool& invalid,
                                    Found* found, int (&counts)[kWarps]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  unsigned ballots[kScanned];
  int own[kScanned], total = 0;
  GATUN_UNROLL
  for (int i = 0; i < kScanned; ++i) {
    const int64_t row = begin + warp * 32 * kScanned + i * 32 + lane;
    const int32_t k = row < count ? assignment[row] : -1;
    invalid |= k >= centroids;
    own[i] = static_cast<int>(k >= first && k < first + kSumCentroids ? k - first : -1);
    ballots[i] = __ballot_sync(kFullMask, own[i] >= 0);
    total += __popc(ballots[i]);
  }
  if (lane == 0) counts[warp] = total;
  __syncthreads();
  int at = 0, all = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) at += counts[w];
    all += counts[w];
  }
  GATUN_UNROLL
  for (int i = 0; i < kScanned; ++i) {
    if (own[i] >= 0) found[at + __popc(ballots[i] & ((1u << lane) - 1))] = {(warp * kScanned + i) * 32 + lane, own[i]};
    at += __popc(ballots[i]);
  }
  __syncthreads();
  return all;
}

__global__ void __launch_bounds__(kSumThreads) sums_kernel(const float* rows, int64_t stride, int64_t count, int64_t dimension,
                                                           const int32_t* assignment, int64_t centroids, float* sums, int64_t* numbers) {
  __shared__ double totals[kSumCentroids][kSumThreads];
  __shared__ int64_t members[kSumCentroids];
  __shared__ Found found[kTurn];
  __shared__ int counts[kWarps];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t groups = (centroids + kSumCentroids - 1) / kSumCentroids, parts = dimension == 0 ? 1 : (dimension + kSumThreads - 1) / kSumThreads;
  for (int64_t item = blockIdx.x; item < groups * parts; item += gridDim.x) {
    const int64_t first = item / parts * kSumCentroids, column = item % parts * kSumThreads + thread;
    for (int k = 0; k < kSumCentroids; ++k) totals[k][thread] = 0;
    if (thread < kSumCentroids) members[thread] = 0;
    bool invalid = false;
    for (int64_t begin = 0; begin < count; begin += kTurn) {
      const int matches = find(assignment, begin, count, first, centroids, invalid, found, counts);
      for (int i = 0; i < matches; i += kAhead) {
        float values[kAhead];
        GATUN_UNROLL
        for (int j = 0; j < kAhead; ++j) {
          values[j] = i + j < matches && column < dimension ? rows[(begin + found[i + j].row) * stride + column] : 0.0f;
        }
        GATUN_UNROLL
        for (int j = 0; j < kAhead; ++j) {
          if (i + j < matches) totals[found[i + j].centroid][thread] += static_cast<double>(values[j]);
        }
      }
      if (thread < kSumCentroids) {
        for (int i = 0; i < matches; ++i) members[thread] += found[i].centroid == thread;
      }
      __syncthreads();  // before the next turn's finds
    }
    const bool bad = __syncthreads_or(invalid);
    for (int k = 0; k < kSumCentroids && first + k < centroids; ++k) {
      if (column < dimension) sums[(first + k) * dimension + column] = bad ? NAN : static_cast<float>(totals[k][thread]);
    }
    if (item % parts == 0 && thread < kSumCentroids && first + thread < centroids) numbers[first + thread] = members[thread];
    __syncthreads();
  }
}

constexpr int kUpdateThreads = 256;

__device__ __forceinline__ double block_sum(double value, double (&partial)[kUpdateThreads / 32]) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullMask, value, offset);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  for (int i = 0; i < kUpdateThreads / 32; ++i) total += partial[i];
  __syncthreads();
  return total;
}

__global__ void __launch_bounds__(kUpdateThreads) mean_kernel(const float* sums, int64_t sums_stride, const int64_t* counts, float* centroids,
                                                              int64_t stride, int64_t rows, int64_t columns) {
  for (int64_t k = blockIdx.x; k < rows; k += gridDim.x) {
    if (counts[k] <= 0) continue;
    const double inverse = 1.0 / static_cast<double>(counts[k]);
    for (int64_t c = threadIdx.x; c < columns; c += kUpdateThreads) {
      centroids[k * stride + c] = static_cast<float>(static_cast<double>(sums[k * sums_stride + c]) * inverse);
    }
  }
}

// Empty centroids one after the other, as each changes what the next finds: one block, for what is rare.
__global__ void __launch_bounds__(kUpdateThreads) split_kernel(int64_t* counts, float* centroids, int64_t stride, int64_t rows, int64_t columns) {
  __shared__ int64_t sizes[kUpdateThreads], indices[kUpdateThreads];
  for (int64_t empty = 0; empty < rows; ++empty) {
    if (counts[empty] > 0) continue;
    int64_t size = counts[empty], index = empty;
    for (int64_t k = threadIdx.x; k < rows; k += kUpdateThreads) {
      if (counts[k] > size) size = counts[k], index = k;
    }
    sizes[threadIdx.x] = size;
    indices[threadIdx.x] = index;
    __syncthreads();
    for (int i = 0; i < kUpdateThreads; ++i) {
      if (sizes[i] > size || (sizes[i] == size && indices[i] < index)) size = sizes[i], index = indices[i];
    }
    if (size < 2) break;
    constexpr float kEpsilon = 1.0f / 1024;
    for (int64_t c = threadIdx.x; c < columns; c += kUpdateThreads) {
      const float value = centroids[index * stride + c], sign = c % 2 == 0 ? kEpsilon : -kEpsilon;
      centroids[empty * stride + c] = value * (1.0f + sign);
      centroids[index * stride + c] = value * (1.0f - sign);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      counts[empty] = size / 2;
      counts[index] = size - size / 2;
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kUpdateThreads) unit_kernel(float* centroids, int64_t stride, int64_t rows, int64_t columns) {
  __shared__ double partial[kUpdateThreads / 32];
  for (int64_t k = blockIdx.x; k < rows; k += gridDim.x) {
    float* row = centroids + k * stride;
    double squares = 0;
    for (int64_t c = threadIdx.x; c < columns; c += kUpdateThreads) squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    squares = block_sum(squares, partial);
    const double inverse = squares == 0 ? 1.0 : 1.0 / sqrt(squares);
    for (int64_t c = threadIdx.x; c < columns; c += kUpdateThreads) row[c] = static_cast<float>(static_cast<double>(row[c]) * inverse);
  }
}

}  // namespace

size_t kmeans_assign_workspace(int64_t, int64_t) { return 0; }

void kmeans_assign(const Stream& stream, Rows<const float> rows, Rows<const float> centroids, bool spherical, int32_t* assignment, float* score,
                   float*) {
  if (rows.rows == 0) return;
  if (spherical) assign<pairs::MultiplyAdd>(stream, rows, centroids, spherical, assignment, score);
  else assign<pairs::MinusSquare>(stream, rows, centroids, spherical, assignment, score);
}

size_t kmeans_sums_workspace(int64_t, int64_t) { return 0; }

void kmeans_sums(const Stream& stream, Rows<const float> rows, const int32_t* assignment, int64_t centroids, float* sums, int64_t* counts,
                 double*) {
  if (centroids == 0) return;
  const int64_t parts = std::max<int64_t>(chunk_count(rows.columns, kSumThreads), 1);
  enqueue(stream, sums_kernel, grid_for(chunk_count(centroids, kSumCentroids) * parts, 1), kSumThreads, 0, rows.data, rows.stride, rows.rows,
          rows.columns, assignment, centroids, sums, counts);
}

void kmeans_update(const Stream& stream, Rows<const float> sums, int64_t* counts, Rows<float> centroids, bool spherical, bool split) {
  if (centroids.rows == 0) return;
  const unsigned blocks = grid_for(centroids.rows, 1);
  enqueue(stream, mean_kernel, blocks, kUpdateThreads, 0, sums.data, sums.stride, counts, centroids.data, centroids.stride, centroids.rows,
          centroids.columns);
  if (split) enqueue(stream, split_kernel, 1, kUpdateThreads, 0, counts, centroids.data, centroids.stride, centroids.rows, centroids.columns);
  if (spherical) enqueue(stream, unit_kernel, blocks, kUpdateThreads, 0, centroids.data, centroids.stride, centroids.rows, centroids.columns);
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// A thread evaluates Philox and writes its four numbers with one store: some 70 integer instructions for 16 bytes, which is about what
// the memory takes. A permutation sorts 64-bit keys that are uniform by construction, so buckets by their highest bits are even.
#include "kernels/random/random_fill.h"

#include <algorithm>

#include "kernels/common/cuda.h"

namespace gatun {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnsEach = 16;  // numbers a thread makes before more blocks are launched: the key costs a Philox evaluation a block

// Every thread of a block calls it. One evaluation a block instead of one a thread.
__device__ __forceinline__ RandomSource ready(const gatun_random_key* key, RandomSource& shared) {
  if (threadIdx.x == 0 && threadIdx.y == 0) shared = random_source(*key);
  __syncthreads();
  return shared;
}

struct MakeBits {
  __device__ __forceinline__ uint4 operator()(const RandomWords& drawn) const {
    return make_uint4(drawn.word[0], drawn.word[1], drawn.word[2], drawn.word[3]);
  }
};

struct MakeUniform {
  float low, high;
  __device__ __forceinline__ uint32_t one(uint32_t bits) const { return random_bits_of(random_uniform_of(bits, low, high)); }
  __device__ __forceinline__ uint4 operator()(const RandomWords& drawn) const {
    return make_uint4(one(drawn.word[0]), one(drawn.word[1]), one(drawn.word[2]), one(drawn.word[3]));
  }
};

struct MakeNormal {
  float mean, deviation;
  __device__ __forceinline__ uint32_t one(float z) const { return random_bits_of(random_fma(z, deviation, mean)); }
  __device__ __forceinline__ uint4 operator()(const RandomWords& drawn) const {
    float z0, z1, z2, z3;
    random_normal_of(drawn.word[0], drawn.word[1], &z0, &z1);
    random_normal_of(drawn.word[2], drawn.word[3], &z2, &z3);
    return make_uint4(one(z0), one(z1), one(z2), one(z3));
  }
};

// Numbers are written as their bits. x runs along a row in steps of four columns, y over the rows.
template <class Make>
__global__ void __launch_bounds__(kThreads) fill_kernel(const gatun_random_key* key, RandomIds ids, uint32_t* out, int64_t stride,
                                                        int64_t rows, int64_t columns, bool vector, Make make) {
  __shared__ RandomSource shared;
  const RandomSource source = ready(key, shared);
  const int64_t row_step = static_cast<int64_t>(gridDim.y) * blockDim.y, step = static_cast<int64_t>(gridDim.x) * blockDim.x * 4;
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += row_step) {
    const uint64_t id = ids.of(row);
    uint32_t* const to = out + row * stride;
    for (int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4; column < columns; column += step) {
      const uint4 made = make(random_block(source, id, static_cast<uint64_t>(column) / 4));
      if (vector && column + 4 <= columns) {
        *reinterpret_cast<uint4*>(to + column) = made;
      } else {
        to[column] = made.x;
        if (column + 1 < columns) to[column + 1] = made.y;
        if (column + 2 < columns) to[column + 2] = made.z;
        if (column + 3 < columns) to[column + 3] = made.w;
      }
    }
  }
}

template <class Make, class T>
void fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<T> out, Make make) {
  if (out.rows == 0 || out.columns == 0) return;
  unsigned along = 1;  // threads of a block along a row; the rest of a block takes further rows
  while (along < kThreads && along * 4 < out.columns) along *= 2;
  const dim3 block(along, kThreads / along);
  const dim3 grid(grid_for(out.columns, along * kColumnsEach), std::min(grid_for(out.rows, block.y), 65535u));
  const bool vector = reinterpret_cast<uintptr_t>(out.data) % 16 == 0 && (out.rows == 1 || out.stride % 4 == 0);
  enqueue(stream, fill_kernel<Make>, grid, block, 0, key, ids, reinterpret_cast<uint32_t*>(out.data), out.stride, out.rows, out.columns,
          vector, make);
}

// Up to this many rows every key is compared with every other, by one kernel without a workspace.
constexpr int64_t kRanked = 4096;
constexpr int kSharers = 8;  // threads that share a row's comparisons
constexpr int kTile = 512;

__device__ __forceinline__ bool before(uint64_t a, int64_t row_a, uint64_t b, int64_t row_b) { return a != b ? a < b : row_a < row_b; }

__global__ void __launch_bounds__(kThreads) rank_kernel(const gatun_random_key* key, RandomIds ids, int64_t count, int64_t wanted,
                                                        int32_t* out) {
  __shared__ RandomSource shared;
  __shared__ uint64_t orders[kTile];
  constexpr int64_t kRows = kThreads / kSharers;
  const RandomSource source = ready(key, shared);
  const int sharer = static_cast<int>(threadIdx.x % kSharers);
  for (int64_t first = blockIdx.x * kRows; first < count; first += gridDim.x * kRows) {
    const int64_t row = first + threadIdx.x / kSharers;
    const uint64_t order = row < count ? random_order(source, ids.of(row)) : 0;
    int rank = 0;
    for (int64_t tile = 0; tile < count; tile += kTile) {
      const int size = static_cast<int>(min(static_cast<int64_t>(kTile), count - tile));
      for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) orders[i] = random_order(source, ids.of(tile + i));
      __syncthreads();
      for (int i = sharer; i < size; i += kSharers) rank += before(orders[i], tile + i, order, row) ? 1 : 0;
      __syncthreads();
    }
    for (int lanes = kSharers / 2; lanes > 0; lanes /= 2) rank += __shfl_xor_sync(kFullMask, rank, lanes);
    if (sharer == 0 && row < count && rank < wanted) out[rank] = static_cast<int32_t>(row);
  }
}

// More rows: counted into buckets, dealt to them in any order, and ranked within each. The result is that of a total order and does
// not depend on who came first.
constexpr int kBucketRows = 32;
constexpr int kMostBucketBits = 20;
constexpr int kScanThreads = 1024;

int bucket_bits(int64_t count) {
  int bits = 1;
  while (bits < kMostBucketBits && (count >> bits) > kBucketRows) ++bits;
  return bits;
}

__global__ void __launch_bounds__(kThreads) count_kernel(const gatun_random_key* key, RandomIds ids, int64_t count, int shift,
                                                         uint32_t* buckets) {
  __shared__ RandomSource shared;
  const RandomSource source = ready(key, shared);
  for (int64_t row = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; row < count; row += gridDim.x * static_cast<int64_t>(kThreads)) {
    atomicAdd(&buckets[random_order(source, ids.of(row)) >> shift], 1u);
  }
}

// Counts become the first place of each bucket. One block.
__global__ void __launch_bounds__(kScanThreads) scan_kernel(uint32_t* buckets, int64_t count) {
  __shared__ uint32_t sums[kScanThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t each = (count + kScanThreads - 1) / kScanThreads;
  const int64_t begin = min(thread * each, count), end = min(begin + each, count);
  uint32_t sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += buckets[i];
  sums[thread] = sum;
  __syncthreads();
  for (int distance = 1; distance < kScanThreads; distance *= 2) {
    const uint32_t added = thread >= distance ? sums[thread - distance] : 0;
    __syncthreads();
    sums[thread] += added;
    __syncthreads();
  }
  uint32_t place = sums[thread] - sum;
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t size = buckets[i];
    buckets[i] = place;
    place += size;
  }
}

// Afterwards a bucket's entry is the place behind its last row.
__global__ void __launch_bounds__(kThreads) deal_kernel(const gatun_random_key* key, RandomIds ids, int64_t count, int shift,
                                                        uint32_t* buckets, RandomRank* ranks) {
  __shared__ RandomSource shared;
  const RandomSource source = ready(key, shared);
  for (int64_t row = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; row < count; row += gridDim.x * static_cast<int64_t>(kThreads)) {
    const uint64_t order = random_order(source, ids.of(row));
    ranks[atomicAdd(&buckets[order >> shift], 1u)] = {order, row};
  }
}

// A warp a bucket.
__global__ void __launch_bounds__(kThreads, 4) order_kernel(const uint32_t* buckets, int64_t count, const RandomRank* ranks, int64_t wanted,
                                                         int32_t* out) {
  constexpr int64_t kWarps = kThreads / 32;
  for (int64_t bucket = blockIdx.x * kWarps + threadIdx.x / 32; bucket < count; bucket += gridDim.x * kWarps) {
    const uint32_t begin = bucket == 0 ? 0 : buckets[bucket - 1], end = buckets[bucket];
    if (begin >= wanted) continue;
    for (uint32_t i = begin + threadIdx.x % 32; i < end; i += 32) {
      const RandomRank mine = ranks[i];
      uint32_t place = begin;
      for (uint32_t j = begin; j < end; ++j) place += before(ranks[j].order, ranks[j].number, mine.order, mine.number) ? 1 : 0;
      if (place < wanted) out[place] = static_cast<int32_t>(mine.number);
    }
  }
}

}  // namespace

void random_bits_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<uint32_t> out) {
  fill(stream, key, ids, out, MakeBits());
}

void random_uniform_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<float> out, float low, float high) {
  fill(stream, key, ids, out, MakeUniform{low, high});
}

void random_normal_fill(const Stream& stream, const gatun_random_key* key, RandomIds ids, Rows<float> out, float mean, float deviation) {
  fill(stream, key, ids, out, MakeNormal{mean, deviation});
}

size_t random_order_bytes(int64_t count) {
  const size_t buckets = count > kRanked ? size_t{1} << bucket_bits(count) : 0;
  return static_cast<size_t>(count) * sizeof(RandomRank) + buckets * sizeof(uint32_t);
}

void random_order_rows(const Stream& stream, const gatun_random_key* key, RandomIds ids, int64_t count, int64_t wanted, void* workspace,
                       int32_t* out) {
  if (wanted == 0) return;
  if (count <= kRanked) {
    enqueue(stream, rank_kernel, grid_for(count, kThreads / kSharers), kThreads, 0, key, ids, count, wanted, out);
    return;
  }
  RandomRank* const ranks = static_cast<RandomRank*>(workspace);
  uint32_t* const buckets = reinterpret_cast<uint32_t*>(ranks + count);
  const int bits = bucket_bits(count), shift = 64 - bits;
  const int64_t bucket_count = int64_t{1} << bits;
  const unsigned grid = grid_for(count, kThreads * 4);
  check_cuda(cudaMemsetAsync(buckets, 0, static_cast<size_t>(bucket_count) * sizeof(uint32_t), static_cast<cudaStream_t>(stream.handle)));
  enqueue(stream, count_kernel, grid, kThreads, 0, key, ids, count, shift, buckets);
  enqueue(stream, scan_kernel, 1, kScanThreads, 0, buckets, bucket_count);
  enqueue(stream, deal_kernel, grid, kThreads, 0, key, ids, count, shift, buckets, ranks);
  enqueue(stream, order_kernel, grid_for(bucket_count, kThreads / 32), kThreads, 0, buckets, bucket_count, ranks, wanted, out);
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Tiles of 16-bit elements for tensor cores (mma.sync m16n8k16): from global to shared memory by cp.async, to fragments by ldmatrix, and
// accumulators back to memory. `kernels/gemm/gemm_half.cu` shows them all.
//
// A tile has no padding: chunks of 8 elements (16 bytes) change places within their row, so that the 8 rows of a column that ldmatrix reads,
// and 8 neighbours of a row, lie in different banks. Its address must be a multiple of 128 bytes for this, of 16 to be right.
#pragma once

#include <cstring>

#include "kernels/common/cuda.h"

namespace gatun {

// Offset of element (row, column) of a tile with Columns columns, a multiple of 16. Of 64 columns it is the 128-byte swizzle of bulk tensor copies.
template <int Columns>
__host__ __device__ __forceinline__ constexpr int tile_at(int row, int column) {
  static_assert(Columns % 16 == 0);
  // As many rows as fill 128 bytes share a permutation; the chunks that take part are a power of two that divides the row.
  constexpr int kChunks = Columns / 8;
  constexpr int kMask = kChunks % 8 == 0 ? 7 : kChunks % 4 == 0 ? 3 : 1;
  constexpr int kShift = kMask == 7 ? 0 : kMask == 3 ? 1 : 2;
  return row * Columns + ((column / 8) ^ ((row >> kShift) & kMask)) * 8 + column % 8;
}

// Starts copying a tile of Rows x Columns from rows `stride` apart. What lies beyond the first `rows` rows and `columns` columns (either may
// be negative) becomes zero and is not read. `from` and stride are multiples of 16 bytes, the last row's end need not be one.
// `thread` is 0 to Threads - 1. To be followed by cp_async_commit, cp_async_wait and a barrier.
template <int Rows, int Columns, int Threads, class T>
__device__ __forceinline__ void load_tile(T* tile, const T* from, int64_t stride, int rows, int columns, int thread) {
  constexpr int kChunks = Columns / 8;
  GATUN_UNROLL
  for (int first = 0; first < Rows * kChunks; first += Threads) {
    const int i = first + thread;
    if (Rows * kChunks % Threads != 0 && i >= Rows * kChunks) break;
    const int row = i / kChunks, column = i % kChunks * 8;
    const int count = row < rows ? max(min(columns - column, 8), 0) : 0;
    cp_async_zero_fill<16>(tile + tile_at<Columns>(row, column), count > 0 ? from + row * stride + column : from, count * 2);
  }
}

// The same element by element, for any alignment; done when it returns (before a barrier, as above).
template <int Rows, int Columns, int Threads, class T>
__device__ __forceinline__ void load_tile_unaligned(T* tile, const T* from, int64_t stride, int rows, int columns, int thread) {
  struct alignas(16) Chunk {
    T element[8];
  };
  constexpr int kChunks = Columns / 8;
  for (int i = thread; i < Rows * kChunks; i += Threads) {
    const int row = i / kChunks, column = i % kChunks * 8;
    Chunk chunk;
    GATUN_UNROLL
    for (int e = 0; e < 8; ++e) chunk.element[e] = row < rows && column + e < columns ? from[row * stride + column + e] : T(0.0f);
    *reinterpret_cast<Chunk*>(tile + tile_at<Columns>(row, column)) = chunk;
  }
}

// Fragments of the 16 x 16 (m x k) part at (row, column) of a tile whose rows are m.
template <int Columns, class T>
__device__ __forceinline__ void load_a(uint32_t (&a)[4], const T* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  ldmatrix(a, tile + tile_at<Columns>(row + lane % 16, column + lane / 16 * 8));
}

// The same of a tile whose rows are k: the 16 x 16 part has its first k in `row` and its first m in `column`.
template <int Columns, class T>
__device__ __forceinline__ void load_a_transposed(uint32_t (&a)[4], const T* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  ldmatrix_transposed(a, tile + tile_at<Columns>(row + lane / 16 * 8 + lane % 8, column + lane / 8 % 2 * 8));
}

// Two fragments of B, each k16 x n8, from the 16 x 16 (n x k) part at (row, column) of a tile whose rows are n: b[j] has n from row + 8 j on.
template <int Columns, class T>
__device__ __forceinline__ void load_b(uint32_t (&b)[2][2], const T* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  uint32_t loaded[4];
  ldmatrix(loaded, tile + tile_at<Columns>(row + lane / 16 * 8 + lane % 8, column + lane / 8 % 2 * 8));
  for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = loaded[i];
}

// The same of a tile whose rows are k: first k in `row`, n from column + 8 j on.
template <int Columns, class T>
__device__ __forceinline__ void load_b_transposed(uint32_t (&b)[2][2], const T* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  uint32_t loaded[4];
  ldmatrix_transposed(loaded, tile + tile_at<Columns>(row + lane % 16, column + lane / 16 * 8));
  for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = loaded[i];
}

// Element e (0 to 3) of an accumulator of m16n8k16 is at this row and column of its 16 x 8 part.
__device__ __forceinline__ int accumulator_row(int e) { return static_cast<int>(threadIdx.x % 32) / 4 + e / 2 * 8; }
__device__ __forceinline__ int accumulator_column(int e) { return static_cast<int>(threadIdx.x % 32) % 4 * 2 + e % 2; }

// Two floats rounded to T, the first in the low half.
template <class T>
__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>);
  uint32_t bits;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    memcpy(&bits, &pair, sizeof bits);
  } else {
    const __half2 pair = __floats2half2_rn(low, high);
    memcpy(&bits, &pair, sizeof bits);
  }
  return bits;
}

// Accumulators of two neighbouring 16 x 8 parts as the fragment of A of a next product (the 16 x 16 probabilities of attention).
template <class T>
__device__ __forceinline__ void accumulators_to_a(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = pack_pair<T>(left[0], left[1]);
  a[1] = pack_pair<T>(left[2], left[3]);
  a[2] = pack_pair<T>(right[0], right[1]);
  a[3] = pack_pair<T>(right[2], right[3]);
}

// Floats of shared memory that unload_accumulators needs for each warp.
template <int Columns>
inline constexpr int kUnloadFloats = 16 * (Columns + 8);

// Gives the accumulators of a warp's 16 x Columns part out in runs of Run neighbours (4 or 8), a row of which 32 lanes write together:
// calls store(row, column, values) with `const float (&values)[Run]`. A warp calls it as a whole; `stage` is its own and free again afterwards.
template <int Run, int Columns, class F>
__device__ __forceinline__ void unload_accumulators(float* stage, const float (&d)[Columns / 8][4], F&& store) {
  constexpr int kPitch = Columns + 8;  // 8 banks further each row: the pairs below meet no other
  GATUN_UNROLL
  for (int j = 0; j < Columns / 8; ++j) {
    GATUN_UNROLL
    for (int e = 0; e < 4; e += 2) {
      *reinterpret_cast<float2*>(stage + accumulator_row(e) * kPitch + j * 8 + accumulator_column(e)) = make_float2(d[j][e], d[j][e + 1]);
    }
  }
  __syncwarp();
  GATUN_ROLLED
  for (int i = static_cast<int>(threadIdx.x % 32); i < 16 * Columns / Run; i += 32) {
    const int row = i / (Columns / Run), column = i % (Columns / Run) * Run;
    float values[Run];
    GATUN_UNROLL
    for (int e = 0; e < Run; e += 4) {
      const float4 four = *reinterpret_cast<const float4*>(stage + row * kPitch + column + e);
      values[e] = four.x, values[e + 1] = four.y, values[e + 2] = four.z, values[e + 3] = four.w;
    }
    store(row, column, values);
  }
  __syncwarp();
}

}  // namespace gatun

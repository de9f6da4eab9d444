// SPDX-License-Identifier: Apache-2.0
// Tiles of the matrix products: what a block computes and how its threads share it. A tile of 16-bit operands runs on tensor cores, one
// of floats on FMAs; both read operands in chunks of 16 bytes from shared memory.
#pragma once

#include "kernels/common/cuda.h"

namespace gatun {

template <class T>
inline constexpr int kVector = static_cast<int>(16 / sizeof(T));  // elements of a chunk
inline constexpr int kStages = 4;

// Offset of a chunk in a tile whose rows hold four of them (64 bytes), turned by the row so that eight rows' equal chunks lie in
// different banks.
template <class T>
__device__ __forceinline__ int turned(int row, int chunk) {
  return (row * 4 + (chunk ^ (row >> 1 & 3))) * kVector<T>;
}

// The same for rows of Chunks chunks (128 bytes or more).
template <class T, int Chunks>
__device__ __forceinline__ int turned_wide(int row, int chunk) {
  return (row * Chunks + (chunk ^ (row & 7))) * kVector<T>;
}

template <class T>
__device__ __forceinline__ void copy_chunk(T* shared, const T* global, bool inside) {
  cp_async_zero_fill<16>(shared, global, inside ? 16 : 0);
}

// For the images: what a tap reads is read again by the next one.
template <class T>
__device__ __forceinline__ void copy_chunk_cached(T* shared, const T* global, bool inside) {
  cp_async_zero_fill_cached(shared, global, inside ? 16 : 0);
}

template <class T>
__device__ __forceinline__ void copy_element(T* shared, const T* global, bool inside) {
  if constexpr (sizeof(T) == 4) cp_async_zero_fill<4>(shared, global, inside ? 4 : 0);
  else *shared = inside ? *global : T(0.0f);
}

// M x N by warps of WarpM x WarpN; Depth, the step along the sum, is two products of 16.
template <class Element, int M, int N, int WarpM, int WarpN, int Blocks>
struct MmaTile {
  using T = Element;
  static constexpr int kM = M, kN = N, kDepth = 32, kThreads = M / WarpM * (N / WarpN) * 32, kBlocks = Blocks;
  static constexpr bool kPairs = true;
  float d[WarpM / 16][WarpN / 8][4] = {};

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  static __device__ __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / 32 / (N / WarpN) * WarpM; }
  static __device__ __forceinline__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % (N / WarpN) * WarpN; }

  __device__ __forceinline__ void multiply_fragments(const uint32_t (&a)[WarpM / 16][4], const uint32_t (&b)[WarpN / 16][4]) {
    for (int i = 0; i < WarpM / 16; ++i) {
      for (int j = 0; j < WarpN / 8; ++j) {
        const uint32_t pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma_m16n8k16<T>(d[i][j], a[i], pair);
      }
    }
  }

  // Rows of a and columns of b lie along the sum: a is M x Depth, b is N x Depth.
  __device__ __forceinline__ void multiply(const T* a, const T* b) {
    for (int k = 0; k < 2; ++k) {
      uint32_t fragment_a[WarpM / 16][4], fragment_b[WarpN / 16][4];
      for (int i = 0; i < WarpM / 16; ++i) ldmatrix(fragment_a[i], a + turned<T>(warp_row() + i * 16 + lane() % 16, k * 2 + lane() / 16));
      for (int j = 0; j < WarpN / 16; ++j) {
        ldmatrix(fragment_b[j], b + turned<T>(warp_column() + j * 16 + lane() / 16 * 8 + lane() % 8, k * 2 + lane() / 8 % 2));
      }
      multiply_fragments(fragment_a, fragment_b);
    }
  }

  // Both lie across the sum: a is Depth x M, b is Depth x N.
  __device__ __forceinline__ void multiply_across(const T* a, const T* b) {
    for (int k = 0; k < 2; ++k) {
      uint32_t fragment_a[WarpM / 16][4], fragment_b[WarpN / 16][4];
      const int matrix = lane() / 8, row = k * 16 + lane() % 8;
      for (int i = 0; i < WarpM / 16; ++i) {
        ldmatrix_transposed(fragment_a[i], a + turned_wide<T, M / 8>(row + matrix / 2 * 8, (warp_row() + i * 16) / 8 + matrix % 2));
      }
      for (int j = 0; j < WarpN / 16; ++j) {
        ldmatrix_transposed(fragment_b[j], b + turned_wide<T, N / 8>(row + matrix % 2 * 8, (warp_column() + j * 16) / 8 + matrix / 2));
      }
      multiply_fragments(fragment_a, fragment_b);
    }
  }

  // visit(row, column, value of the column, value of the next column) for what this thread has
  template <class Visit>
  __device__ __forceinline__ void pairs(Visit&& visit) const {
    GATUN_UNROLL
    for (int i = 0; i < WarpM / 16; ++i) {
      GATUN_UNROLL
      for (int j = 0; j < WarpN / 8; ++j) {
        GATUN_UNROLL
        for (int half = 0; half < 2; ++half) {
          visit(warp_row() + i * 16 + half * 8 + lane() / 4, warp_column() + j * 8 + lane() % 4 * 2, d[i][j][half * 2], d[i][j][half * 2 + 1]);
        }
      }
    }
  }
  template <class Visit>
  __device__ __forceinline__ void values(Visit&& visit) const {
    pairs([&](int row, int column, float first, float second) {
      visit(row, column, first);
      visit(row, column + 1, second);
    });
  }
};

// M x N, eight by eight a thread. Neighbouring threads have neighbouring rows and columns, so that they read different banks.
// Across: multiply_across is used, and rows and columns are two groups of four.
template <int M, int N, int Blocks, bool Across>
struct FmaTile {
  using T = float;
  static constexpr int kM = M, kN = N, kDepth = 16, kThreads = M / 8 * (N / 8), kBlocks = Blocks;
  static constexpr bool kPairs = false;
  float d[8][8] = {};

  static __device__ __forceinline__ int x() { return static_cast<int>(threadIdx.x) % (N / 8); }
  static __device__ __forceinline__ int y() { return static_cast<int>(threadIdx.x) / (N / 8); }

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    for (int k = 0; k < 4; ++k) {
      float4 column[8];
      for (int j = 0; j < 8; ++j) column[j] = *reinterpret_cast<const float4*>(b + turned<float>(x() + j * (N / 8), k));
      for (int i = 0; i < 8; ++i) {
        const float4 row = *reinterpret_cast<const float4*>(a + turned<float>(y() + i * (M / 8), k));
        for (int j = 0; j < 8; ++j) {
          d[i][j] += row.x * column[j].x;
          d[i][j] += row.y * column[j].y;
          d[i][j] += row.z * column[j].z;
          d[i][j] += row.w * column[j].w;
        }
      }
    }
  }

  __device__ __forceinline__ void multiply_across(const float* a, const float* b) {
    for (int k = 0; k < kDepth; ++k) {
      float row[8], column[8];
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<float4*>(row + half * 4) = *reinterpret_cast<const float4*>(a + turned_wide<float, M / 4>(k, y() + half * (M / 8)));
        *reinterpret_cast<float4*>(column + half * 4) = *reinterpret_cast<const float4*>(b + turned_wide<float, N / 4>(k, x() + half * (N / 8)));
      }
      for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) d[i][j] += row[i] * column[j];
      }
    }
  }

  template <class Visit>
  __device__ __forceinline__ void values(Visit&& visit) const {
    for (int i = 0; i < 8; ++i) {
      for (int j = 0; j < 8; ++j) {
        if constexpr (Across) visit((i / 4 * (M / 8) + y()) * 4 + i % 4, (j / 4 * (N / 8) + x()) * 4 + j % 4, d[i][j]);
        else visit(y() + i * (M / 8), x() + j * (N / 8), d[i][j]);
      }
    }
  }
};

}  // namespace gatun

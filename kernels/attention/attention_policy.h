// SPDX-License-Identifier: Apache-2.0
// What an architecture gives to the kernels of attention. Masks, softmax, indexing, tails and ragged batches are common code
// (attention_device.h and the .cu files) and know no instruction; a policy knows no attention. It has:
//   T, kDepth                 storage type; head dimension padded to 32, 64, 96 or 128
//   kThreads, kWarps          of a block
//   kRows, kColumns           of a tile of scores: kRows stay with the block, kColumns stream past it
//   kPitch                    elements between two rows of a tile in shared memory; kRows or kColumns rows
//   kScratch                  floats of shared memory that a warp needs for its products
//   kExact                    whether the caller wants float's accuracy: softmax arithmetic is then done in the reference's order
//   load_tile, commit_tiles   start copying rows of global memory to a tile; all threads call them. Rows and columns that do not exist are 0
//   wait_tile<Pending>        all tiles but those of the last Pending commits have arrived, for all after the barrier that follows
//   kStraight                 whether mma_qk has code without branches for whole tiles; where registers are full, branches keep loads from
//                             being moved ahead, which would spill
//   Left, load_left           a tile as left operand; load_left, once it has arrived, takes it to registers where they fit
//   mma_qk                    s += left tileᵀ: s[i][j] is the 16 x 8 block of the scores at rows row_of(i), columns 8 j
//   mma_pv                    o += p tile: o[i][j] is the 16 x 8 block at rows row_of(i), columns 8 j of the head dimension
//   row_of(i)                 first row in the tile of the warp's block i of 16 rows
//   group_row(), kGroupRows   the rows whose threads must take part in a product together (a warp's, a warp group's)
// Accumulators lie as those of mma m16n8, which are also wgmma's: thread `lane` holds of a 16 x 8 block the elements 0, 1 at row lane / 4,
// columns 2 (lane % 4) and + 1, and the elements 2, 3 eight rows below.
// Another way of streaming tiles, as of sm_90a, has a kernel of its own around the same functions (attention_hopper.h).
// With Full = false only the first `columns` columns count, in groups of 16: the others are left alone (mma_qk), are 0 (mma_pv).
#pragma once

#include "kernels/common/cuda.h"

namespace gatun::attention {

// Rows of one head in global memory. `vector`: they can be read 16 bytes at a time.
template <class T>
struct HeadRows {
  const T* data;
  int64_t stride;
  int count, depth;
  bool vector;
};

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % 32; }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x) / 32; }

// Two values as a pair of T in one register, the first in the lower half.
template <class T>
__device__ __forceinline__ uint32_t packed(float x, float y) {
  if constexpr (std::is_same_v<T, __half>) {
    __half2 pair = __floats2half2_rn(x, y);
    return *reinterpret_cast<uint32_t*>(&pair);
  } else {
    __nv_bfloat162 pair = __floats2bfloat162_rn(x, y);
    return *reinterpret_cast<uint32_t*>(&pair);
  }
}

template <int TileRows, int Depth, int Pitch, int Threads, class T>
__device__ __forceinline__ void copy_tile(T* tile, const HeadRows<T>& source, int first) {
  if (source.vector) {
    // Some threads stay idle where the vectors of a row are no power of two; a thread's column is then the same in all its rows.
    constexpr int kVector = 16 / static_cast<int>(sizeof(T)), kChunks = Depth / kVector, kLanes = kChunks <= 4 ? 4 : kChunks <= 8 ? 8 : kChunks <= 16 ? 16 : 32;
    constexpr int kStep = Threads / kLanes;
    const int row = static_cast<int>(threadIdx.x) / kLanes, column = static_cast<int>(threadIdx.x) % kLanes * kVector;
    const int count = column < source.depth ? source.count - first : 0;
    const T* from = source.data + (first + row) * source.stride + column;
    T* to = tile + row * Pitch + column;
    GATUN_ROLLED
    for (int i = 0; i < TileRows; i += kStep, from += kStep * source.stride) {
      const bool inside = row + i < count;
      if (column < Depth && row + i < TileRows) cp_async_zero_fill<16>(to + i * Pitch, inside ? from : source.data, inside ? 16 : 0);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < TileRows * Depth; i += Threads) {
      const int row = i / Depth, column = i % Depth;
      const bool inside = row < source.count - first && column < source.depth;
      tile[row * Pitch + column] = inside ? source.data[(first + row) * source.stride + column] : T(0.0f);
    }
  }
}

// What the policies without bulk copies share: four warps, each on 16 x RowBlocks rows of its own; copies by cp.async.
template <class Storage, int Depth, int RowBlocks, int Columns, int Padding>
struct WarpTiles {
  using T = Storage;
  static constexpr int kDepth = Depth, kRowBlocks = RowBlocks, kColumns = Columns;
  static constexpr int kWarps = 4, kThreads = 32 * kWarps, kGroupRows = 16 * RowBlocks, kRows = kWarps * kGroupRows;
  static constexpr int kPitch = Depth + Padding;  // an odd multiple of 16 bytes: eight rows touch each bank once

  __device__ static __forceinline__ int group_row() { return warp_index() * kGroupRows; }
  __device__ static __forceinline__ int row_of(int block) { return group_row() + 16 * block; }

  template <int TileRows>
  __device__ static __forceinline__ void load_tile(T* tile, const HeadRows<T>& source, int first) {
    copy_tile<TileRows, Depth, kPitch, kThreads>(tile, source, first);
  }
  __device__ static __forceinline__ void commit_tiles() { cp_async_commit(); }
  template <int Pending>
  __device__ static __forceinline__ void wait_tile() {
    cp_async_wait<Pending>();
  }
};

// sm_80 and later: mma.sync on bf16 or f16, fragments by ldmatrix. KeepLeft: the left operands stay in registers.
template <class Storage, int Depth, int RowBlocks, int Columns, bool KeepLeft>
struct TensorCores : WarpTiles<Storage, Depth, RowBlocks, Columns, 8> {
  using Base = WarpTiles<Storage, Depth, RowBlocks, Columns, 8>;
  using typename Base::T;
  using Base::kPitch;
  static constexpr int kScratch = 0;
  static constexpr bool kExact = false;
  static constexpr bool kStraight = KeepLeft || RowBlocks == 1;

  struct Left {
    __device__ __forceinline__ explicit Left(const T* tile) : rows(tile + Base::group_row() * kPitch) {}
    const T* rows;
    uint32_t fragment[KeepLeft ? Depth / 16 : 1][RowBlocks][4];
  };

  __device__ static __forceinline__ void load_fragments(uint32_t (&fragment)[RowBlocks][4], const T* rows, int step) {
    const int lane = lane_index();
    GATUN_UNROLL
    for (int i = 0; i < RowBlocks; ++i) ldmatrix(fragment[i], rows + (16 * i + lane % 16) * kPitch + step * 16 + lane / 16 * 8);
  }

  __device__ static __forceinline__ void load_left(Left& left) {
    if constexpr (KeepLeft) {
      GATUN_UNROLL
      for (int step = 0; step < Depth / 16; ++step) load_fragments(left.fragment[step], left.rows, step);
    }
  }

  template <bool Full>
  __device__ static __forceinline__ void mma_qk(float (&s)[RowBlocks][Columns / 8][4], Left& left, const T* tile, int columns) {
    const int lane = lane_index();
    GATUN_UNROLL
    for (int step = 0; step < Depth / 16; ++step) {
      uint32_t(&a)[RowBlocks][4] = left.fragment[KeepLeft ? step : 0];
      if constexpr (!KeepLeft) load_fragments(a, left.rows, step);
      GATUN_UNROLL
      for (int g = 0; g < Columns / 16; ++g) {
        if (Full || g * 16 < columns) {
          uint32_t b[4];  // rows of the tile are the columns of s: 16 of them, two halves of 16 along the depth
          ldmatrix(b, tile + (g * 16 + lane / 16 * 8 + lane % 8) * kPitch + step * 16 + lane / 8 % 2 * 8);
          const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
          GATUN_UNROLL
          for (int i = 0; i < RowBlocks; ++i) {
            mma_m16n8k16<T>(s[i][2 * g], a[i], first);
            mma_m16n8k16<T>(s[i][2 * g + 1], a[i], second);
          }
        }
      }
    }
  }

  // The accumulators of two neighbouring blocks are, rounded to T, a left operand: p never leaves the registers.
  template <bool Full>
  __device__ static __forceinline__ void mma_pv(float (&o)[RowBlocks][Depth / 8][4], const float (&p)[RowBlocks][Columns / 8][4], const T* tile,
                                                int columns, float*) {
    const int lane = lane_index();
    GATUN_UNROLL
    for (int g = 0; g < Columns / 16; ++g) {
      if (Full || g * 16 < columns) {
        uint32_t a[RowBlocks][4];
        GATUN_UNROLL
        for (int i = 0; i < RowBlocks; ++i) {
          GATUN_UNROLL
          for (int e = 0; e < 4; ++e) a[i][e] = packed<T>(p[i][2 * g + e / 2][e % 2 * 2], p[i][2 * g + e / 2][e % 2 * 2 + 1]);
        }
        GATUN_UNROLL
        for (int d = 0; d < Depth / 16; ++d) {
          uint32_t b[4];
          ldmatrix_transposed(b, tile + (g * 16 + lane % 16) * kPitch + d * 16 + lane / 16 * 8);
          const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
          GATUN_UNROLL
          for (int i = 0; i < RowBlocks; ++i) {
            mma_m16n8k16<T>(o[i][2 * d], a[i], first);
            mma_m16n8k16<T>(o[i][2 * d + 1], a[i], second);
          }
        }
      }
    }
  }
};

// f32 by fused multiply-adds, with the accumulators of the tensor cores. p goes through shared memory, each warp by itself.
template <int Depth, int RowBlocks, int Columns>
struct FusedMultiplyAdd : WarpTiles<float, Depth, RowBlocks, Columns, 4> {
  using Base = WarpTiles<float, Depth, RowBlocks, Columns, 4>;
  using Base::kPitch;
  static constexpr int kScratchPitch = Columns + 4, kScratch = 16 * RowBlocks * kScratchPitch;
  static constexpr bool kExact = true;
  static constexpr bool kStraight = true;

  struct Left {
    __device__ __forceinline__ explicit Left(const float* tile) : rows(tile + (Base::group_row() + lane_index() / 4) * kPitch) {}
    const float* rows;
  };
  __device__ static __forceinline__ void load_left(Left&) {}

  __device__ static __forceinline__ float4 vector_at(const float* p) { return *reinterpret_cast<const float4*>(p); }

  __device__ static __forceinline__ void add_dot(float& sum, const float4& a, const float4& b) {
    sum += a.x * b.x;
    sum += a.y * b.y;
    sum += a.z * b.z;
    sum += a.w * b.w;
  }

  template <bool Full>
  __device__ static __forceinline__ void mma_qk(float (&s)[RowBlocks][Columns / 8][4], const Left& left, const float* tile, int columns) {
    const float* right = tile + lane_index() % 4 * 2 * kPitch;
    for (int c = 0; c < Depth; c += 4) {
      float4 a[RowBlocks][2];
      GATUN_UNROLL
      for (int i = 0; i < RowBlocks; ++i) {
        a[i][0] = vector_at(left.rows + 16 * i * kPitch + c);
        a[i][1] = vector_at(left.rows + (16 * i + 8) * kPitch + c);
      }
      GATUN_UNROLL
      for (int j = 0; j < Columns / 8; ++j) {
        if (Full || j / 2 * 16 < columns) {
          GATUN_UNROLL
          for (int e = 0; e < 2; ++e) {
            const float4 b = vector_at(right + (8 * j + e) * kPitch + c);
            GATUN_UNROLL
            for (int i = 0; i < RowBlocks; ++i) {
              add_dot(s[i][j][e], a[i][0], b);
              add_dot(s[i][j][2 + e], a[i][1], b);
            }
          }
        }
      }
    }
  }

  template <bool Full>
  __device__ static __forceinline__ void mma_pv(float (&o)[RowBlocks][Depth / 8][4], const float (&p)[RowBlocks][Columns / 8][4], const float* tile,
                                                int columns, float* scratch) {
    const int pair = lane_index() % 4 * 2;
    float* rows = scratch + lane_index() / 4 * kScratchPitch;
    __syncwarp();  // the last product has read the scratch
    GATUN_UNROLL
    for (int i = 0; i < RowBlocks; ++i) {
      GATUN_UNROLL
      for (int j = 0; j < Columns / 8; ++j) {
        GATUN_UNROLL
        for (int h = 0; h < 2; ++h) {
          *reinterpret_cast<float2*>(rows + (16 * i + 8 * h) * kScratchPitch + 8 * j + pair) = make_float2(p[i][j][2 * h], p[i][j][2 * h + 1]);
        }
      }
    }
    __syncwarp();
    const int count = Full ? Columns : columns;
    for (int k = 0; k < count; ++k) {
      GATUN_UNROLL
      for (int i = 0; i < RowBlocks; ++i) {
        const float upper = rows[16 * i * kScratchPitch + k], lower = rows[(16 * i + 8) * kScratchPitch + k];
        GATUN_UNROLL
        for (int d = 0; d < Depth / 8; ++d) {
          const float2 b = *reinterpret_cast<const float2*>(tile + k * kPitch + 8 * d + pair);
          o[i][d][0] += upper * b.x;
          o[i][d][1] += upper * b.y;
          o[i][d][2] += lower * b.x;
          o[i][d][3] += lower * b.y;
        }
      }
    }
  }
};

// The policies of sm_80, and until another is chosen those of what comes after it. Long: a warp has 32 rows where the registers allow, so
// that a fragment of the streamed tile feeds two products; else shared memory is the limit. Short sequences (up to 64 rows) get 16 a warp,
// so that all warps have some. Keys is the kernel of dk and dv: it has two accumulators, and no registers left for its operands.
template <class Storage, int Depth, bool Long>
struct Sm80 {
  static constexpr int kBlocks = Depth <= 64 && Long ? 2 : 1, kColumns = Depth <= 64 && !Long ? 64 : 32;
  using Forward = TensorCores<Storage, Depth, kBlocks, 64, true>;
  using Queries = TensorCores<Storage, Depth, kBlocks, kColumns, Depth <= 64>;
  using Keys = TensorCores<Storage, Depth, kBlocks, kColumns, Depth <= 64 && !Long>;
};
template <int Depth, bool Long>
struct Sm80<float, Depth, Long> {
  using Forward = FusedMultiplyAdd<Depth, 1, 32>;
  using Queries = Forward;
  using Keys = Forward;
};

}  // namespace gatun::attention

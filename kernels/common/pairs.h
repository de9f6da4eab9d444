// SPDX-License-Identifier: Apache-2.0
// All pairs of rows of two operands, 128 x 128 at a time and never stored: the products that kmeans, info_nce and Sinkhorn's streaming form
// reduce while they are in registers. f32 rows by fused multiply-add, one chain a pair in the order of the depth, so that a pair has the
// same bits wherever it stands; bf16 and f16 rows on tensor cores.
#pragma once

#include <algorithm>
#include <climits>
#include <stdexcept>

#include "kernels/common/cuda.h"

namespace gatun::pairs {

constexpr int kTile = 128;     // rows of either side
constexpr int kThreads = 256;  // each holds 8 x 8 pairs
constexpr int kPairs = 8;      // rows, and columns, of pairs that a thread holds
constexpr int kSharers = 16;   // threads that hold pairs of the same row
constexpr int kSharedPitch = kSharers + 1;

// Blocks on a processor at once: for f32, 128 registers a thread do not quite do.
template <class T>
inline constexpr int kBlocks = sizeof(T) == 2 ? 2 : 1;

template <class T>
struct Operand {
  const T* data;
  int64_t rows, stride;
  // Rows behind a tile's first.
  __device__ __forceinline__ int64_t left(int tile) const { return rows - int64_t{tile} * kTile; }
};

// Kernels count elements of a row, and tiles, in 32 bits.
inline int narrow(int64_t count) {
  if (count > INT_MAX) throw std::length_error("more than 2147483647 elements of a row, or tiles of 128 rows");
  return static_cast<int>(count);
}

// How much of the other side's rows a block takes that owns 128 of one side's: all blocks of a launch run at once, two on each of an H200's
// 132 processors, but no more than sixteen parts, so that what they leave does not grow with the number of pairs.
struct Cut {
  int own_tiles, other_tiles;
  int parts, part_tiles;
  // blocks: for each part of each tile
  Cut(int64_t own, int64_t other, int64_t blocks = 1) {
    const int64_t owners = tiles(own), others = tiles(other);
    const int64_t wanted = std::clamp<int64_t>(264 / std::max<int64_t>(owners * blocks, 1), 1, 16), each = std::max<int64_t>(chunk_count(others, wanted), 1);
    own_tiles = narrow(owners);
    other_tiles = narrow(others);
    part_tiles = static_cast<int>(each);
    parts = static_cast<int>(std::max<int64_t>(chunk_count(others, each), 1));
  }
  static int64_t tiles(int64_t rows) { return chunk_count(rows, kTile); }
};

// How many of a tile's rows, or of eight elements, there are.
__device__ __forceinline__ int count(int64_t left) { return static_cast<int>(left < kTile ? left : kTile); }
__device__ __forceinline__ int eight(int left) { return left <= 0 ? 0 : left < 8 ? left : 8; }

// Where a thread keeps what it knows of a row between tiles: in shared memory, as the pairs leave no registers. Nobody else's until a barrier.
template <class V, class Pairs>
__device__ __forceinline__ V& kept(V* shared, const Pairs& pairs, int r) { return shared[pairs.row(r) * kSharedPitch + pairs.sharer()]; }

// What is known of a tile's columns lies in shared memory, in two halves by turns: what a warp still looks at is not written before the
// next tile's barriers.
template <class V>
struct Columns {
  V* values;  // 2 x kTile
  int turn = 0;
  __device__ explicit Columns(V* values) : values(values) {}
  // Before a tile's product; value(column) of those below `count`, `none` behind them.
  template <class F>
  __device__ __forceinline__ void load(int count, V none, F&& value) {
    turn ^= kTile;
    const int column = static_cast<int>(threadIdx.x);
    if (column < kTile) values[turn + column] = column < count ? value(column) : none;
  }
  __device__ __forceinline__ V operator[](int column) const { return values[turn + column]; }
};

struct MultiplyAdd {
  __device__ static __forceinline__ float add(float a, float b, float sum) { return __fmaf_rn(a, b, sum); }
};
// Minus the squared distance, so that greater is nearer.
struct MinusSquare {
  __device__ static __forceinline__ float add(float a, float b, float sum) {
    const float difference = __fsub_rn(a, b);
    return __fmaf_rn(-difference, difference, sum);
  }
};

// What a thread holds of a 128 x 128 product of f32: rows ty * 4 + 0..3 and 64 more, columns tx * 4 + 0..3 and 64 more.
struct FloatPairs {
  static constexpr int kPitch = kTile + 4;  // of operands in shared memory, [depth][row]
  float value[kPairs][kPairs];
  __device__ static int row(int r) { return static_cast<int>(threadIdx.x) / 16 * 4 + r % 4 + r / 4 * 64; }
  __device__ static int column(int c) { return static_cast<int>(threadIdx.x) % 16 * 4 + c % 4 + c / 4 * 64; }
  __device__ static int sharer() { return static_cast<int>(threadIdx.x) % 16; }
  __device__ __forceinline__ float& at(int r, int c) { return value[r][c]; }
  __device__ __forceinline__ void clear() {
    GATUN_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) value[r][c] = 0;
    }
  }
  template <class Combine>
  __device__ __forceinline__ void add(const float* a, const float* b) {
    const float4 a0 = *reinterpret_cast<const float4*>(a), a1 = *reinterpret_cast<const float4*>(a + 64);
    const float4 b0 = *reinterpret_cast<const float4*>(b), b1 = *reinterpret_cast<const float4*>(b + 64);
    const float left[kPairs] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
    const float right[kPairs] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
    GATUN_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) value[r][c] = Combine::add(left[r], right[c], value[r][c]);
    }
  }
};

// The same on tensor cores: eight warps, 2 x 4 of them, each 64 x 32.
struct TensorPairs {
  float value[4][4][4];
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static int row(int r) { return warp() / 4 * 64 + r / 2 * 16 + lane() / 4 + r % 2 * 8; }
  __device__ static int column(int c) { return warp() % 4 * 32 + c / 2 * 8 + lane() % 4 * 2 + c % 2; }
  __device__ static int sharer() { return warp() % 4 * 4 + lane() % 4; }
  __device__ __forceinline__ float& at(int r, int c) { return value[r / 2][c / 2][r % 2 * 2 + c % 2]; }
  __device__ __forceinline__ void clear() {
    GATUN_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) at(r, c) = 0;
    }
  }
  // right: of two neighbouring blocks of eight columns each.
  template <class T>
  __device__ __forceinline__ void add(const uint32_t (&left)[4][4], const uint32_t (&right)[2][4]) {
    GATUN_UNROLL
    for (int i = 0; i < 4; ++i) {
      GATUN_UNROLL
      for (int j = 0; j < 4; ++j) {
        const uint32_t pair[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
        mma_m16n8k16<T>(value[i][j], left[i], pair);
      }
    }
  }
};

// Use: begin(), then product(), which leaves the pairs in at(r, c), for as many tiles as there are. What the next tile needs first may be
// asked for by begin() before the pairs of this one are looked at. Combine says what becomes of two elements (of f32 rows).
template <class T, class Combine = MultiplyAdd>
class Tile;

template <class Combine>
class Tile<float, Combine> : public FloatPairs {
 public:
  static constexpr int kStep = 8, kStage = kStep * kPitch;
  struct Memory {
    float *a, *b;  // two stages, transposed
    __host__ __device__ explicit Memory(Carve& carve) : a(carve.take<float>(2 * kStage)), b(carve.take<float>(2 * kStage)) {}
  };

  __device__ Tile(const Memory& memory, const Operand<float>& a, const Operand<float>& b, int depth) : memory_(memory), a_(a), b_(b), depth_(depth) {}

  __device__ __forceinline__ void begin(int tile_a, int tile_b) {
    begin_side(a_, tile_a, source_a_, rows_a_);
    begin_side(b_, tile_b, source_b_, rows_b_);
    load(0, 0);
  }

  // All threads; ends with a barrier, after which the memory is free.
  __device__ __forceinline__ void product() {
    clear();
    int stage = 0;
    for (int k = 0; k < depth_; k += kStep, stage ^= 1) {
      load(stage ^ 1, k + kStep);
      cp_async_wait<1>();
      __syncthreads();
      const float* a = memory_.a + stage * kStage + row(0);
      const float* b = memory_.b + stage * kStage + column(0);
      GATUN_UNROLL
      for (int i = 0; i < kStep; ++i) add<Combine>(a + i * kPitch, b + i * kPitch);
      __syncthreads();
    }
  }

 private:
  static constexpr int kRows = kThreads / kStep;
  __device__ static int step() { return static_cast<int>(threadIdx.x) % kStep; }
  __device__ static int first() { return static_cast<int>(threadIdx.x) / kStep; }
  // Where this thread's copies of a tile start, and how many rows of its tile there are behind its first.
  __device__ __forceinline__ void begin_side(const Operand<float>& from, int tile, const float*& source, int& rows) {
    source = from.data + (int64_t{tile} * kTile + first()) * from.stride + step();
    rows = count(from.left(tile)) - first();
  }
  // One group of copies, empty behind the end, so that the wait is the same in every step.
  __device__ __forceinline__ void load(int stage, int k) {
    if (k < depth_) {
      const bool inside = k + step() < depth_;
      load_side(memory_.a + stage * kStage, source_a_ + k, a_.stride, inside ? rows_a_ : 0);
      load_side(memory_.b + stage * kStage, source_b_ + k, b_.stride, inside ? rows_b_ : 0);
    }
    cp_async_commit();
  }
  __device__ __forceinline__ void load_side(float* to, const float* source, int64_t stride, int rows) {
    float* target = to + step() * kPitch + first();
    GATUN_UNROLL
    for (int r = 0; r < kTile; r += kRows, source += kRows * stride) cp_async_zero_fill<4>(target + r, source, r < rows ? 4 : 0);
  }

  Memory memory_;
  Operand<float> a_, b_;
  int depth_;
  const float *source_a_ = nullptr, *source_b_ = nullptr;
  int rows_a_ = 0, rows_b_ = 0;
};

// Eight neighbouring elements to shared memory, zeros behind the first `count`.
template <class T>
__device__ __forceinline__ void load_eight(T* to, const T* from, int count, bool aligned) {
  if (aligned) {
    cp_async_zero_fill<16>(to, from, count * 2);
  } else {
    for (int i = 0; i < 8; ++i) to[i] = i < count ? from[i] : T(0.0f);
  }
}
template <class T>
__device__ __forceinline__ bool aligned(const Operand<T>& rows) {
  return reinterpret_cast<uintptr_t>(rows.data) % 16 == 0 && rows.stride % 8 == 0;
}

template <class T, class Combine>
class Tile : public TensorPairs {
 public:
  static constexpr int kStep = 32, kPitch = kStep + 8, kStage = kTile * kPitch;  // a pitch of 80 bytes: ldmatrix without conflicts
  struct Memory {
    T *a, *b;  // two stages
    __host__ __device__ explicit Memory(Carve& carve) : a(carve.take<T>(2 * kStage)), b(carve.take<T>(2 * kStage)) {}
  };

  __device__ Tile(const Memory& memory, const Operand<T>& a, const Operand<T>& b, int depth) : memory_(memory), a_(a), b_(b), depth_(depth) {}

  __device__ __forceinline__ void begin(int tile_a, int tile_b) {
    begin_side(a_, tile_a, source_a_, rows_a_);
    begin_side(b_, tile_b, source_b_, rows_b_);
    load(0, 0);
  }

  __device__ __forceinline__ void product() {
    clear();
    int stage = 0;
    for (int k = 0; k < depth_; k += kStep, stage ^= 1) {
      load(stage ^ 1, k + kStep);
      cp_async_wait<1>();
      __syncthreads();
      const T* a = memory_.a + stage * kStage + (warp() / 4 * 64 + lane() % 16) * kPitch + lane() / 16 * 8;
      const T* b = memory_.b + stage * kStage + (warp() % 4 * 32 + lane() / 16 * 8 + lane() % 8) * kPitch + lane() / 8 % 2 * 8;
      GATUN_UNROLL
      for (int i = 0; i < kStep; i += 16) {
        uint32_t left[4][4], right[2][4];
        GATUN_UNROLL
        for (int m = 0; m < 4; ++m) ldmatrix(left[m], a + m * 16 * kPitch + i);
        GATUN_UNROLL
        for (int n = 0; n < 2; ++n) ldmatrix(right[n], b + n * 16 * kPitch + i);
        add<T>(left, right);
      }
      __syncthreads();
    }
  }

 private:
  static constexpr int kVectors = kStep / 8, kRows = kThreads / kVectors;
  __device__ static int vector() { return static_cast<int>(threadIdx.x) % kVectors * 8; }
  __device__ static int first() { return static_cast<int>(threadIdx.x) / kVectors; }
  __device__ __forceinline__ void begin_side(const Operand<T>& from, int tile, const T*& source, int& rows) {
    source = from.data + (int64_t{tile} * kTile + first()) * from.stride + vector();
    rows = count(from.left(tile)) - first();
  }
  __device__ __forceinline__ void load(int stage, int k) {
    if (k < depth_) {
      const int wide = eight(depth_ - k - vector());
      load_side(memory_.a + stage * kStage, source_a_ + k, a_, rows_a_, wide);
      load_side(memory_.b + stage * kStage, source_b_ + k, b_, rows_b_, wide);
    }
    cp_async_commit();
  }
  __device__ __forceinline__ void load_side(T* to, const T* source, const Operand<T>& from, int rows, int wide) {
    const bool whole = aligned(from);
    T* target = to + first() * kPitch + vector();
    GATUN_UNROLL
    for (int r = 0; r < kTile; r += kRows, source += kRows * from.stride) load_eight(target + r * kPitch, source, r < rows ? wide : 0, whole);
  }

  Memory memory_;
  Operand<T> a_, b_;
  int depth_;
  const T *source_a_ = nullptr, *source_b_ = nullptr;
  int rows_a_ = 0, rows_b_ = 0;
};

// Sums of rows under the weights of the pairs: for 128 columns of b, result += pairs of a tile (128 x 128) times its rows of b.
// Use: begin() once the tile's product is done, then add() with the weights in the tile's registers.
template <class T>
class Weighted;

template <>
class Weighted<float> : public FloatPairs {
 public:
  static constexpr int kStep = 8, kStage = kStep * kPitch;
  struct Memory {
    float* weights;  // [row of b][row of a]
    float* rows;     // two stages
    __host__ __device__ explicit Memory(Carve& carve) : weights(carve.take<float>(kTile * kPitch)), rows(carve.take<float>(2 * kStage)) {}
  };

  __device__ Weighted(const Memory& memory, const Operand<float>& b, int depth, int column) : memory_(memory), b_(b), depth_(depth), first_column_(column) {}

  __device__ __forceinline__ void begin(int tile) {
    tile_ = tile;
    load(0, 0);
  }
  template <class Pairs>
  __device__ __forceinline__ void add(Pairs& pairs) {
    GATUN_UNROLL
    for (int c = 0; c < kPairs; ++c) {
      GATUN_UNROLL
      for (int r = 0; r < kPairs; r += 4) {
        *reinterpret_cast<float4*>(memory_.weights + column(c) * kPitch + row(r)) =
            make_float4(pairs.at(r, c), pairs.at(r + 1, c), pairs.at(r + 2, c), pairs.at(r + 3, c));
      }
    }
    int stage = 0;
    for (int k = 0; k < kTile; k += kStep, stage ^= 1) {
      load(stage ^ 1, k + kStep);
      cp_async_wait<1>();
      __syncthreads();
      const float* a = memory_.weights + k * kPitch + row(0);
      const float* b = memory_.rows + stage * kStage + column(0);
      GATUN_UNROLL
      for (int i = 0; i < kStep; ++i) FloatPairs::add<MultiplyAdd>(a + i * kPitch, b + i * kPitch);
      __syncthreads();
    }
  }

 private:
  __device__ __forceinline__ void load(int stage, int k) {
    if (k < kTile) {
      constexpr int kRows = kThreads / kTile;
      const int column = static_cast<int>(threadIdx.x) % kTile, r0 = static_cast<int>(threadIdx.x) / kTile;
      const int rows = first_column_ + column < depth_ ? count(b_.left(tile_) - k) : 0;
      const float* source = b_.data + (int64_t{tile_} * kTile + k + r0) * b_.stride + first_column_ + column;
      float* target = memory_.rows + stage * kStage + r0 * kPitch + column;
      GATUN_UNROLL
      for (int r = 0; r < kStep; r += kRows, source += kRows * b_.stride) {
        const bool inside = r0 + r < rows;
        cp_async_zero_fill<4>(target + r * kPitch, source, inside ? 4 : 0);
      }
    }
    cp_async_commit();
  }

  Memory memory_;
  Operand<float> b_;
  int depth_, tile_ = 0, first_column_;
};

// On tensor cores the weights are of the rows' type, in two parts, the second what the first was rounded by: one would be the largest error
// by far.
template <class T>
class Weighted : public TensorPairs {
 public:
  static constexpr int kPitch = kTile + 8;
  struct Memory {
    T *weights, *rest;  // [row of a][row of b]
    T* rows;
    __host__ __device__ explicit Memory(Carve& carve)
        : weights(carve.take<T>(kTile * kPitch)), rest(carve.take<T>(kTile * kPitch)), rows(carve.take<T>(kTile * kPitch)) {}
  };

  __device__ Weighted(const Memory& memory, const Operand<T>& b, int depth, int column) : memory_(memory), b_(b), depth_(depth), first_column_(column) {}

  __device__ __forceinline__ void begin(int tile) {
    constexpr int kVectors = kTile / 8, kRows = kThreads / kVectors;
    const bool whole = aligned(b_);
    const int column = static_cast<int>(threadIdx.x) % kVectors * 8, r0 = static_cast<int>(threadIdx.x) / kVectors;
    const int wide = eight(depth_ - first_column_ - column), rows = wide > 0 ? count(b_.left(tile)) : 0;
    const T* source = b_.data + (int64_t{tile} * kTile + r0) * b_.stride + first_column_ + column;
    GATUN_UNROLL
    for (int r = 0; r < kTile; r += kRows, source += kRows * b_.stride) {
      const bool inside = r0 + r < rows;
      load_eight(memory_.rows + (r0 + r) * kPitch + column, source, inside ? wide : 0, whole);
    }
    cp_async_commit();
  }
  template <class Pairs>
  __device__ __forceinline__ void add(Pairs& pairs) {
    GATUN_UNROLL
    for (int r = 0; r < kPairs; ++r) {
      GATUN_UNROLL
      for (int c = 0; c < kPairs; ++c) {
        const T weight = T(pairs.at(r, c));
        memory_.weights[row(r) * kPitch + column(c)] = weight;
        memory_.rest[row(r) * kPitch + column(c)] = T(pairs.at(r, c) - static_cast<float>(weight));
      }
    }
    cp_async_wait<0>();
    __syncthreads();
    const int a = (warp() / 4 * 64 + lane() % 16) * kPitch + lane() / 16 * 8;
    const T* b = memory_.rows + (lane() % 16) * kPitch + warp() % 4 * 32 + lane() / 16 * 8;
    GATUN_UNROLL
    for (int k = 0; k < kTile; k += 16) {
      uint32_t left[4][4], right[2][4];
      GATUN_UNROLL
      for (int n = 0; n < 2; ++n) ldmatrix_transposed(right[n], b + k * kPitch + n * 16);
      GATUN_UNROLL
      for (int m = 0; m < 4; ++m) ldmatrix(left[m], memory_.weights + a + m * 16 * kPitch + k);
      TensorPairs::add<T>(left, right);
      GATUN_UNROLL
      for (int m = 0; m < 4; ++m) ldmatrix(left[m], memory_.rest + a + m * 16 * kPitch + k);
      TensorPairs::add<T>(left, right);
    }
    __syncthreads();
  }

 private:
  Memory memory_;
  Operand<T> b_;
  int depth_, first_column_;
};

constexpr float kLog2E = 1.44269504f;

// e^x for x <= 0, and 0 for minus infinity
__device__ __forceinline__ float power(float x) { return exp2_approximate(x * kLog2E); }

// A sum of powers relative to the largest exponent so far, of which there may be none (minus infinity). NaN is kept by the sum.
struct PowerSum {
  float largest = -INFINITY, sum = 0;
  // Makes room for exponents up to `next`; what is added then is power(exponent - shift()).
  __device__ __forceinline__ void raise(float next) {
    if (next > largest) {
      sum *= power(largest - next);
      largest = next;
    }
  }
  __device__ __forceinline__ float shift() const { return largest == -INFINITY ? 0.0f : largest; }
  __device__ __forceinline__ void join(const PowerSum& other) {
    raise(other.largest);
    sum += other.sum * power(other.largest - shift());
  }
};

}  // namespace gatun::pairs

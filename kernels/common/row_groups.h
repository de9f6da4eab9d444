// SPDX-License-Identifier: Apache-2.0
// What operations on rows share. A row belongs to a few lanes of a warp, or to a block if it is long; it is read once from DRAM and waits
// in registers, as it was stored, until its sums are known. What the registers cannot hold is read again, from the L2 as a rule.
#pragma once

#include "kernels/common/packs.h"

namespace gatun {

inline constexpr int kRowBlock = 256;       // threads of a block that holds several rows
inline constexpr int kLongRowBlock = 512;   // most threads of a block that holds one

// The threads that share a row: Lanes of a warp, or all of the block for Lanes = 0. Every thread of a block takes part in every call.
template <int Lanes>
struct RowGroup {
  static constexpr int kBound = Lanes == 0 ? kLongRowBlock : kRowBlock;
  float* scratch;  // shared memory: a value for each warp

  __device__ __forceinline__ static int thread() { return Lanes == 0 ? static_cast<int>(threadIdx.x) : static_cast<int>(threadIdx.x % Lanes); }
  __device__ __forceinline__ static int threads() { return Lanes == 0 ? static_cast<int>(blockDim.x) : Lanes; }
  // Rows of one block at a time, and which of them is this thread's.
  __device__ __forceinline__ static int64_t rows() { return Lanes == 0 ? 1 : kRowBlock / Lanes; }
  __device__ __forceinline__ static int64_t slot() { return Lanes == 0 ? 0 : threadIdx.x / Lanes; }

  // combine must give the same bits for (a, b) and (b, a): then every thread gets the same.
  template <class Combine>
  __device__ __forceinline__ float reduce(float value, Combine&& combine) const {
    for (int offset = (Lanes == 0 ? 32 : Lanes) / 2; offset > 0; offset /= 2) {
      value = combine(value, __shfl_xor_sync(kFullMask, value, offset));
    }
    if constexpr (Lanes == 0) {
      if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
      __syncthreads();
      value = scratch[0];
      for (unsigned i = 1; i < blockDim.x / 32; ++i) value = combine(value, scratch[i]);
      __syncthreads();
    }
    return value;
  }
  __device__ __forceinline__ float sum(float value) const {
    return reduce(value, [](float a, float b) { return a + b; });
  }
  // NaN is no maximum: what becomes of it is decided where the values are summed.
  __device__ __forceinline__ float max(float value) const {
    return reduce(value, [](float a, float b) { return fmaxf(a, b); });
  }
};

// A thread's packs of a row: thread, thread + threads, ... of `count`; the first Held of them wait in registers.
template <class T, int N, int Held>
struct HeldRow {
  Pack<T, N> held[Held];
  const Pack<T, N>* from = nullptr;

  template <int Lanes>
  __device__ __forceinline__ void load(const RowGroup<Lanes>& group, const T* row, int64_t count) {
    from = reinterpret_cast<const Pack<T, N>*>(row);
    GATUN_UNROLL
    for (int i = 0; i < Held; ++i) {
      const int64_t index = group.thread() + i * group.threads();
      if (index < count) held[i] = from[index];
    }
  }
};

// f(index, floats of each row...) for each of the thread's packs. Packs beyond the held ones are loaded two at a time, before the first of them is
// given to f, which may write where a row is. A sweep that follows another goes Back over them: what was read last is still in the L2.
template <bool Back, int N, int Held, int Lanes, class F, class... T>
__device__ __forceinline__ void sweep(const RowGroup<Lanes>& group, int64_t count, F&& f, const HeldRow<T, N, Held>&... rows) {
  GATUN_UNROLL
  for (int i = 0; i < Held; ++i) {
    const int64_t index = group.thread() + i * group.threads();
    if (index < count) f(index, widen(rows.held[i])...);
  }
  // Lanes are chosen so that only a block can have more.
  if constexpr (Lanes == 0) {
    const int64_t begin = group.thread() + Held * group.threads();
    if (begin >= count) return;
    const int64_t packs = (count - 1 - begin) / group.threads() + 1, step = Back ? -group.threads() : group.threads();
    int64_t index = begin + (Back ? (packs - 1) * group.threads() : 0), left = packs;
    for (; left >= 2; left -= 2, index += 2 * step) {
      [&](const Pack<T, N>&... first) {
        [&](const Pack<T, N>&... second) {
          f(index, widen(first)...);
          f(index + step, widen(second)...);
        }(Pack<T, N>(rows.from[index + step])...);
      }(Pack<T, N>(rows.from[index])...);
    }
    if (left > 0) f(index, widen(rows.from[index])...);
  }
}

template <int N, int Held, int Lanes, class F, class... T>
__device__ __forceinline__ void for_packs(const RowGroup<Lanes>& group, int64_t count, F&& f, const HeldRow<T, N, Held>&... rows) {
  sweep<false>(group, count, f, rows...);
}
template <int N, int Held, int Lanes, class F, class... T>
__device__ __forceinline__ void for_packs_back(const RowGroup<Lanes>& group, int64_t count, F&& f, const HeldRow<T, N, Held>&... rows) {
  sweep<true>(group, count, f, rows...);
}

// Calls f(lanes, pack, threads of a block, rows of a block) with integral constants for the first two: rows of whole packs of N elements, or of
// single ones. Held as in HeldRow. Few lanes a row: each has several loads under way, which hides more latency than more warps would.
template <int N, int Held, class F>
void with_row_shape(bool packs, int64_t columns, F&& f, int64_t most_threads = kLongRowBlock) {
  using std::integral_constant;
  const auto long_row = [&](auto pack, int64_t count) {
    int64_t threads = chunk_count(chunk_count(count, Held), 32) * 32;
    if (threads > most_threads) threads = most_threads;
    f(integral_constant<int, 0>(), pack, static_cast<int>(threads), 1);
  };
  if (packs) {
    const int64_t count = columns / N;
    const integral_constant<int, N> pack;
    if (count <= 8 * Held) f(integral_constant<int, 8>(), pack, kRowBlock, kRowBlock / 8);
    else if (count <= 16 * Held) f(integral_constant<int, 16>(), pack, kRowBlock, kRowBlock / 16);
    else if (count <= 32 * Held) f(integral_constant<int, 32>(), pack, kRowBlock, kRowBlock / 32);
    else long_row(pack, count);
  } else {
    const integral_constant<int, 1> pack;
    if (columns <= 32 * Held) f(integral_constant<int, 32>(), pack, kRowBlock, kRowBlock / 32);
    else long_row(pack, columns);
  }
}

}  // namespace gatun

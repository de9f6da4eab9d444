// SPDX-License-Identifier: Apache-2.0
// Neighbouring elements that a thread moves at once, in 16-byte accesses, and converts to float to compute with.
#pragma once

#include <cstdint>

#include "kernels/common/cuda.h"
#include "kernels/common/rows.h"
#include "kernels/common/storage.h"

namespace gatun {

template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T at[N];
};

template <int N>
using Floats = Pack<float, N>;

// Elements of T in 16 bytes.
template <class T>
inline constexpr int kPack = 16 / static_cast<int>(sizeof(T));

template <int N>
__device__ __forceinline__ Floats<N> widen(const Floats<N>& pack) {
  return pack;
}
template <int N>
__device__ __forceinline__ Floats<N> widen(const Pack<__half, N>& pack) {
  Floats<N> values;
  for (int i = 0; i < N; ++i) values.at[i] = __half2float(pack.at[i]);
  return values;
}
template <int N>
__device__ __forceinline__ Floats<N> widen(const Pack<__nv_bfloat16, N>& pack) {
  Floats<N> values;
  for (int i = 0; i < N; ++i) values.at[i] = __bfloat162float(pack.at[i]);
  return values;
}

// Rounds to the storage type, two at a time where there are two: one instruction a pair.
template <class T, int N>
__device__ __forceinline__ Pack<T, N> narrow(const Floats<N>& values) {
  if constexpr (std::is_same_v<T, float>) {
    return values;
  } else {
    Pack<T, N> pack;
    if constexpr (N == 1) {
      if constexpr (std::is_same_v<T, __half>) pack.at[0] = __float2half_rn(values.at[0]);
      else pack.at[0] = __float2bfloat16_rn(values.at[0]);
    } else {
      for (int i = 0; i < N; i += 2) {
        if constexpr (std::is_same_v<T, __half>) {
          const __half2 pair = __floats2half2_rn(values.at[i], values.at[i + 1]);
          pack.at[i] = pair.x;
          pack.at[i + 1] = pair.y;
        } else {
          const __nv_bfloat162 pair = __floats2bfloat162_rn(values.at[i], values.at[i + 1]);
          pack.at[i] = pair.x;
          pack.at[i + 1] = pair.y;
        }
      }
    }
    return pack;
  }
}

template <int N>
__device__ __forceinline__ Floats<N> filled(float value) {
  Floats<N> values;
  for (int i = 0; i < N; ++i) values.at[i] = value;
  return values;
}

// N floats of a per-channel operand that may be absent.
template <int N>
__device__ __forceinline__ Floats<N> load_or(const float* values, int64_t index, float absent) {
  return values == nullptr ? filled<N>(absent) : reinterpret_cast<const Floats<N>*>(values)[index];
}

template <class T>
__device__ __forceinline__ T* row_of(const Rows<T>& rows, int64_t row) {
  return rows.data + row * rows.stride;
}

// Whether rows that start at a pointer and are `stride` apart can be moved in packs of N: the columns are whole packs and every access is aligned.
template <int N, class T>
bool whole_packs(const T* pointer, int64_t columns, int64_t stride) {
  constexpr uintptr_t alignment = alignof(Pack<T, N>);
  return reinterpret_cast<uintptr_t>(pointer) % alignment == 0 && columns % N == 0 && static_cast<uint64_t>(stride) * sizeof(T) % alignment == 0;
}
template <int N, class T>
bool whole_packs(const Rows<T>& rows) {
  return whole_packs<N>(rows.data, rows.columns, rows.stride);
}
// Of a per-channel operand, which may be absent.
template <int N>
bool whole_packs(const float* values) {
  return reinterpret_cast<uintptr_t>(values) % alignof(Floats<N>) == 0;
}

}  // namespace gatun

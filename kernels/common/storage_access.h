// SPDX-License-Identifier: Apache-2.0
// Reading and writing runs of neighbours in a storage type, computed with as floats.
#pragma once

#include "kernels/common/cuda.h"
#include "kernels/common/storage.h"

namespace gatun {

// N neighbours that one access moves, up to 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T element[N];
};

// Elements of a 16-byte access.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T, int N>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
__device__ __forceinline__ void store_pack(T* to, const float (&values)[N]) {
  Pack<T, N> pack;
  GATUN_UNROLL
  for (int i = 0; i < N; ++i) pack.element[i] = T(values[i]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

template <class T, int N>
__device__ __forceinline__ void to_floats(const Pack<T, N>& pack, float (&values)[N]) {
  GATUN_UNROLL
  for (int i = 0; i < N; ++i) values[i] = static_cast<float>(pack.element[i]);
}

// Whether runs of N elements can be accessed whole.
template <class T, int N>
bool packs(const T* pointer, int64_t columns, int64_t stride) {
  return reinterpret_cast<uintptr_t>(pointer) % alignof(Pack<T, N>) == 0 && columns % N == 0 && stride % N == 0;
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Neighbouring channels of a pixel, moved in one access of at most 16 bytes and computed with as floats.
#pragma once

#include "kernels/common/cuda.h"

namespace gatun {

template <class T, int N>
struct alignas(N * sizeof(T)) Packed {
  T value[N];
};

template <int N, class T>
__device__ __forceinline__ void load_channels(const T* from, float (&to)[N]) {
  const Packed<T, N> packed = *reinterpret_cast<const Packed<T, N>*>(from);
  GATUN_UNROLL
  for (int i = 0; i < N; ++i) to[i] = static_cast<float>(packed.value[i]);
}

template <int N, class T>
__device__ __forceinline__ void store_channels(T* to, const float (&from)[N]) {
  Packed<T, N> packed;
  GATUN_UNROLL
  for (int i = 0; i < N; ++i) packed.value[i] = T(from[i]);
  *reinterpret_cast<Packed<T, N>*>(to) = packed;
}

}  // namespace gatun

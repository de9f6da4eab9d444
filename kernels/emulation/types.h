// SPDX-License-Identifier: Apache-2.0
// CUDA's keywords and vector types for a host compiler. Sizes and alignments are CUDA's, so that a misaligned access is one here too.
#pragma once

#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__
// `noinit` gives the variable a section of its own (.noinit), which the runtime finds in the ELF headers. GCC drops `section` from
// the static variables of templates (bug 41091) but keeps this one; Clang is the other way round.
#if defined(__clang__)
#define __shared__ static __attribute__((section(".noinit")))
#else
#define __shared__ static __attribute__((noinit))
#endif

#define GATUN_VECTOR(T, NAME, A1, A2, A4)             \
  struct NAME##1 { T x; };                            \
  struct alignas(A2) NAME##2 { T x, y; };             \
  struct NAME##3 { T x, y, z; };                      \
  struct alignas(A4) NAME##4 { T x, y, z, w; };       \
  inline NAME##1 make_##NAME##1(T x) { return {x}; }  \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; } \
  inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; } \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
GATUN_VECTOR(signed char, char, 1, 2, 4)
GATUN_VECTOR(unsigned char, uchar, 1, 2, 4)
GATUN_VECTOR(short, short, 2, 4, 8)
GATUN_VECTOR(unsigned short, ushort, 2, 4, 8)
GATUN_VECTOR(int, int, 4, 8, 16)
GATUN_VECTOR(unsigned, uint, 4, 8, 16)
GATUN_VECTOR(float, float, 4, 8, 16)
GATUN_VECTOR(long long, longlong, 8, 16, 16)
GATUN_VECTOR(unsigned long long, ulonglong, 8, 16, 16)
GATUN_VECTOR(double, double, 8, 16, 16)
#undef GATUN_VECTOR

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Written at every switch of threads; a fiber never sees another's.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

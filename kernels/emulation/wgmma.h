// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup (sm_90a): four whole warps, the first at a multiple of 128 threads, work on d (64 x N, f32, in registers)
// += a (64 x 16) b (16 x N); one function an instruction, as in hopper.h. Element i of a thread's d is at row 16 w + l/4 + 8 (i/2 % 2) and
// column 8 (i/4) + 2 (l%4) + i%2 of it, l being the lane and w the warp of the four: as four accumulators of mma.sync for each 8 columns.
#pragma once

#include "kernels/emulation/hopper.h"

#if defined(__CUDACC__)
#define GATUN_PTX_SITE
#define GATUN_ONLY_SITE
#else
#define GATUN_PTX_SITE , emulation::Site site = emulation::Site::current()
#define GATUN_ONLY_SITE emulation::Site site = emulation::Site::current()
#endif

namespace gatun {

// Descriptor of an operand in shared memory, in the 128-byte swizzle of copy_tile. `start` is the address of its first element before the swizzle,
// in a tile at a multiple of 1024 bytes.
//   k contiguous: rows are m (or n), 128 bytes = 64 k each, so groups of 8 rows lie 1024 bytes apart. The next 16 k start 32 bytes further.
//   transposed:   rows are k, 64 m (or n) each. The next 16 k start 2048 bytes further, the next 64 m (or n) `next_columns` bytes.
__device__ __forceinline__ uint64_t operand(const void* start, unsigned next_columns = 16) {
#if defined(__CUDACC__)
  const uint32_t address = shared_address(start);
#else
  const uint32_t address = emulation::shared_offset(start);
#endif
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) | static_cast<uint64_t>(next_columns >> 4) << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

// Before the first product of each group: orders the writes of registers (accumulators, fragments of a) before it.
__device__ __forceinline__ void wgmma_fence(GATUN_ONLY_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::wgmma_fence(site);
#endif
}

// Ends a group of products.
__device__ __forceinline__ void wgmma_commit(GATUN_ONLY_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::wgmma_commit(site);
#endif
}

// Waits until at most Pending groups are under way. Before it, the registers and the shared memory of a group may not be touched.
template <int Pending>
__device__ __forceinline__ void wgmma_wait(GATUN_ONLY_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::wgmma_wait(Pending, site);
#endif
}

// Keeps the compiler from moving uses of registers across a fence or a wait. No instruction.
template <int Count>
__device__ __forceinline__ void hold_registers(float (&registers)[Count]) {
#if defined(__CUDACC__)
GATUN_UNROLL
  for (int i = 0; i < Count; ++i) asm volatile("" : "+f"(registers[i])::"memory");
#else
  (void)registers;
#endif
}

// The calling warpgroup's registers become fewer or more, for all its threads; the block's sum may not exceed what it was launched with.
template <int Registers>
__device__ __forceinline__ void give_registers(GATUN_ONLY_SITE) {
  static_assert(Registers % 8 == 0 && Registers >= 24 && Registers <= 256);
#if defined(GATUN_HOPPER_CODE)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::set_registers(Registers, false, site);
#endif
}
template <int Registers>
__device__ __forceinline__ void take_registers(GATUN_ONLY_SITE) {
  static_assert(Registers % 8 == 0 && Registers >= 24 && Registers <= 256);
#if defined(GATUN_HOPPER_CODE)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::set_registers(Registers, true, site);
#endif
}

// The instruction names its registers one by one. wgmma: d (64 x N) += a (64 x 16, from shared memory by its descriptor, or the calling
// warp's 16 rows in registers as for mma.sync) b (16 x N, by its descriptor). Without `accumulate`, d is overwritten.
#if defined(GATUN_HOPPER_CODE)
#define GATUN_D64(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), \
  "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), \
  "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
  "+f"(d[30]), "+f"(d[31])
#define GATUN_D96(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), \
  "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), \
  "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
  "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
  "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define GATUN_D128(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), \
  "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), \
  "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), \
  "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
  "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), \
  "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), \
  "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define GATUN_R64 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25," \
  "%26, %27, %28, %29, %30, %31}"
#define GATUN_R96 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25," \
  "%26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47}"
#define GATUN_R128 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25," \
  "%26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53," \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define GATUN_WGMMA(N, TYPE, A, B, C, D, E)                                                                                       \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" C ", 0;\n"                                                                     \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " " GATUN_R##N ", %" A ", %" B ", p, 1, 1, %" D ", %" E ";\n}" \
               : GATUN_D##N(d) : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(TransposeA ? 1 : 0), "n"(TransposeB ? 1 : 0) : "memory")
#define GATUN_WGMMA_REGISTERS(N, TYPE, A0, A1, A2, A3, B, C, E)                                                                   \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" C ", 0;\n"                                                                     \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " " GATUN_R##N                                       \
               ", {%" A0 ", %" A1 ", %" A2 ", %" A3 "}, %" B ", p, 1, 1, %" E ";\n}"                                                \
               : GATUN_D##N(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), "n"(TransposeB ? 1 : 0) : "memory")
#endif

template <class T, int N, bool TransposeA = false, bool TransposeB = false>
__device__ __forceinline__ void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate GATUN_PTX_SITE) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>);
  static_assert(N == 64 || N == 96 || N == 128);
#if defined(GATUN_HOPPER_CODE)
  constexpr bool bf16 = std::is_same_v<T, __nv_bfloat16>;
  if constexpr (N == 64 && bf16) GATUN_WGMMA(64, "bf16", "32", "33", "34", "35", "36");
  else if constexpr (N == 64 && !bf16) GATUN_WGMMA(64, "f16", "32", "33", "34", "35", "36");
  else if constexpr (N == 96 && bf16) GATUN_WGMMA(96, "bf16", "48", "49", "50", "51", "52");
  else if constexpr (N == 96 && !bf16) GATUN_WGMMA(96, "f16", "48", "49", "50", "51", "52");
  else if constexpr (N == 128 && bf16) GATUN_WGMMA(128, "bf16", "64", "65", "66", "67", "68");
  else if constexpr (N == 128 && !bf16) GATUN_WGMMA(128, "f16", "64", "65", "66", "67", "68");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::wgmma({std::is_same_v<T, __nv_bfloat16>, N, TransposeA, TransposeB, accumulate, true, a, b, d, nullptr}, site);
#endif
}

template <class T, int N, bool TransposeB = false>
__device__ __forceinline__ void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate GATUN_PTX_SITE) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>);
  static_assert(N == 64 || N == 96 || N == 128);
#if defined(GATUN_HOPPER_CODE)
  constexpr bool bf16 = std::is_same_v<T, __nv_bfloat16>;
  if constexpr (N == 64 && bf16) GATUN_WGMMA_REGISTERS(64, "bf16", "32", "33", "34", "35", "36", "37", "38");
  else if constexpr (N == 64 && !bf16) GATUN_WGMMA_REGISTERS(64, "f16", "32", "33", "34", "35", "36", "37", "38");
  else if constexpr (N == 96 && bf16) GATUN_WGMMA_REGISTERS(96, "bf16", "48", "49", "50", "51", "52", "53", "54");
  else if constexpr (N == 96 && !bf16) GATUN_WGMMA_REGISTERS(96, "f16", "48", "49", "50", "51", "52", "53", "54");
  else if constexpr (N == 128 && bf16) GATUN_WGMMA_REGISTERS(128, "bf16", "64", "65", "66", "67", "68", "69", "70");
  else if constexpr (N == 128 && !bf16) GATUN_WGMMA_REGISTERS(128, "f16", "64", "65", "66", "67", "68", "69", "70");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::wgmma({std::is_same_v<T, __nv_bfloat16>, N, false, TransposeB, accumulate, false, 0, b, d, a}, site);
#endif
}

}  // namespace gatun
#undef GATUN_PTX_SITE
#undef GATUN_ONLY_SITE

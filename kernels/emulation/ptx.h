// SPDX-License-Identifier: Apache-2.0
// Instructions that CUDA C++ has no function for, one wrapper each, with two bodies: PTX for nvcc, the emulation for the host.
// Nothing else in the library contains PTX but hopper.h and wgmma.h, which have what is sm_90a's.
#pragma once

#if defined(__CUDACC__)
#define GATUN_PTX_SITE   // the caller's line, as a parameter ...
#define GATUN_NEXT_SITE  // ... and handed on
#define GATUN_PASS_SITE
#else
#include <tuple>

#include "kernels/emulation/fragments.h"
#define GATUN_PTX_SITE , emulation::Site site = emulation::Site::current()
#define GATUN_NEXT_SITE , site
#define GATUN_PASS_SITE site
#endif

namespace gatun {

#if defined(__CUDACC__)
__device__ __forceinline__ uint32_t shared_address(const void* pointer) { return static_cast<uint32_t>(__cvta_generic_to_shared(pointer)); }
#endif

// Asynchronous copy of Bytes (4, 8 or 16, and so aligned) from global to shared memory. The destination may be read by the thread
// after cp_async_wait, by others after a barrier that follows it.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global GATUN_PTX_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#if defined(__CUDACC__)
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared_address(shared)), "l"(global), "n"(Bytes) : "memory");
  }
#else
  emulation::copy_async(shared, global, Bytes, Bytes, site);
#endif
}

// The same where only the first source_bytes exist: the rest of the destination becomes zero. With 0 the source is not read.
template <int Bytes>
__device__ __forceinline__ void cp_async_zero_fill(void* shared, const void* global, int source_bytes GATUN_PTX_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#if defined(__CUDACC__)
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(Bytes), "r"(source_bytes) : "memory");
  }
#else
  emulation::copy_async(shared, global, Bytes, source_bytes, site);
#endif
}

// cp_async_zero_fill of 16 bytes that stays in the L1 as well: for data that neighbouring copies of the block read again.
__device__ __forceinline__ void cp_async_zero_fill_cached(void* shared, const void* global, int source_bytes GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(source_bytes) : "memory");
#else
  emulation::copy_async(shared, global, 16, source_bytes, site);
#endif
}

__device__ __forceinline__ void cp_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulation::copy_commit();
#endif
}

// Waits until at most Pending of the committed groups of this thread are still under way.
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
  emulation::copy_wait(Pending);
#endif
}

// Barrier `id` (1 to 15) of `count` threads in whole warps; barrier_arrive does not wait.
__device__ __forceinline__ void barrier_sync(int id, int count GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(count) : "memory");
#else
  emulation::named_barrier(id, count, true, site);
#endif
}
__device__ __forceinline__ void barrier_arrive(int id, int count GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(count) : "memory");
#else
  emulation::named_barrier(id, count, false, site);
#endif
}

// Atomics that order memory among all threads of the device: what a thread did, or knew of, before its release is seen by whoever
// acquires a value of the same address at or after it. A loop that waits for another block polls with load_acquire.
__device__ __forceinline__ unsigned load_acquire(const unsigned* address GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
#else
  emulation::yield(emulation::Pause::kPoll, &site);
  return emulation::load_ordered(address, site);
#endif
}
__device__ __forceinline__ void store_release(unsigned* address, unsigned value GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
#else
  emulation::release(address);
  emulation::atomic(address, [=](unsigned) { return value; }, site);
#endif
}
// Adds; both a release and an acquire. Returns the value before.
__device__ __forceinline__ unsigned add_ordered(unsigned* address, unsigned value GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  unsigned old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(address), "r"(value) : "memory");
  return old;
#else
  emulation::acquire(address);
  emulation::release(address);
  return emulation::atomic(address, [=](unsigned old) { return old + value; }, site);
#endif
}

// Loads 1, 2 or 4 matrices of 8 x 8 16-bit elements: lane 8i+r gives the address of row r of matrix i (16 bytes, aligned). Lane l
// receives elements 2(l%4) and +1 of row l/4 of each; transposed, of column l/4.
__device__ __forceinline__ void ldmatrix(uint32_t (&result)[4], const void* row GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3]) : "r"(shared_address(row)) : "memory");
#else
  emulation::load_matrices(row, result, 4, false, site);
#endif
}
__device__ __forceinline__ void ldmatrix(uint32_t (&result)[2], const void* row GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(result[0]), "=r"(result[1]) : "r"(shared_address(row)) : "memory");
#else
  emulation::load_matrices(row, result, 2, false, site);
#endif
}
__device__ __forceinline__ void ldmatrix(uint32_t (&result)[1], const void* row GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(result[0]) : "r"(shared_address(row)) : "memory");
#else
  emulation::load_matrices(row, result, 1, false, site);
#endif
}
__device__ __forceinline__ void ldmatrix_transposed(uint32_t (&result)[4], const void* row GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3]) : "r"(shared_address(row)) : "memory");
#else
  emulation::load_matrices(row, result, 4, true, site);
#endif
}
__device__ __forceinline__ void ldmatrix_transposed(uint32_t (&result)[2], const void* row GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(result[0]), "=r"(result[1]) : "r"(shared_address(row)) : "memory");
#else
  emulation::load_matrices(row, result, 2, true, site);
#endif
}

// d += a b on tensor cores, accumulated in f32; a is 16 x 16 (row), b is 16 x 8 (column), d is 16 x 8. The type is a tag.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] GATUN_PTX_SITE) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>);
#if defined(__CUDACC__)
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#else
  emulation::MmaArgument argument{d, a, b};
  constexpr bool bf16 = std::is_same_v<T, __nv_bfloat16>;
  emulation::collective(emulation::Op::kMma, 0xffffffffu, &argument, bf16 ? emulation::mma_m16n8k16_bf16 : emulation::mma_m16n8k16_half, site);
#endif
}

// The same in tf32: a is 16 x 8, b is 8 x 8; the inputs are floats of which 10 bits of mantissa count (round with to_tf32).
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2] GATUN_PTX_SITE) {
#if defined(__CUDACC__)
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::MmaArgument argument{d, a, b};
  emulation::collective(emulation::Op::kMma, 0xffffffffu, &argument, emulation::mma_m16n8k8_tf32, site);
#endif
}

// Nearest tf32, ties away from zero, as float bits.
__device__ __forceinline__ uint32_t to_tf32(float value) {
#if defined(__CUDACC__)
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
  return result;
#else
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#endif
}

// 2^x with the special-function unit's accuracy (2 ulp); subnormals are zero.
__device__ __forceinline__ float exp2_approximate(float x) {
#if defined(__CUDACC__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  const float result = std::exp2(x);
  return result < 1.17549435e-38f ? 0.0f : result;
#endif
}

}  // namespace gatun

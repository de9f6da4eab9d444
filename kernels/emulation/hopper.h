// SPDX-License-Identifier: Apache-2.0
// Instructions of sm_90a: barriers in shared memory and bulk tensor copies; wgmma.h has the products. As in ptx.h, one function an
// instruction, with two bodies; compiled for other architectures they trap. The emulated bodies are stricter than the hardware
// (docs/emulation.md).
#pragma once

#include "kernels/emulation/cuda.h"

#if defined(__CUDACC__)
#include <cuda.h>
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GATUN_HOPPER_CODE 1
#endif
#define GATUN_PTX_SITE
#else
#include "kernels/emulation/bulk.h"
#define GATUN_PTX_SITE , emulation::Site site = emulation::Site::current()
#endif

namespace gatun {

// ---- Barriers in shared memory. A phase ends when `count` threads have arrived and all bytes that were expected have come.

// By one thread, before others may use it: to be followed by mbarrier_init_fence and __syncthreads.
__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, unsigned count GATUN_PTX_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::mbarrier_init(barrier, count, site);
#endif
}

// Makes the calling thread's mbarrier_init visible to bulk copies.
__device__ __forceinline__ void mbarrier_init_fence() {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::mbarrier_init_fence();
#endif
}

__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier GATUN_PTX_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::mbarrier_arrive(barrier, 0, site);
#endif
}

// Arrives, and lets the phase wait for so many more bytes. Before the copies that bring them.
__device__ __forceinline__ void mbarrier_arrive_expect(uint64_t* barrier, unsigned bytes GATUN_PTX_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::mbarrier_arrive(barrier, bytes, site);
#endif
}

// Waits for the end of the phase of this parity: 0 for the first, 1 for the second ... Of a barrier in its first phase, parity 1 does not wait.
__device__ __forceinline__ void mbarrier_wait(uint64_t* barrier, unsigned parity GATUN_PTX_SITE) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::mbarrier_wait(barrier, parity, site);
#endif
}

// Orders what ordinary instructions wrote to shared memory before what bulk copies and wgmma read there.
__device__ __forceinline__ void proxy_fence() {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::proxy_fence();
#endif
}

// ---- Bulk copies of tiles of a tensor in global memory, described on the host and passed as `const __grid_constant__ TensorMap`.

#if defined(__CUDACC__)
using TensorMap = CUtensorMap;
#else
using TensorMap = emulation::TensorMap;
#endif

// A tensor of 16-bit elements, the innermost dimension first. Its tiles are 64 elements of the innermost dimension, 128 bytes, by
// `rows` of the next, one of each further; in shared memory the rows follow each other, their 16-byte chunks in the 128-byte swizzle
// (chunk ^ row % 8). base and strides are multiples of 16 bytes; stride_bytes[i] is that of dimension i + 1.
inline constexpr unsigned kTileColumns = 64;
template <class T>
cudaError_t make_tensor_map(TensorMap& map, const T* base, unsigned rank, const uint64_t* size, const uint64_t* stride_bytes, unsigned rows) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>);
  if (rank < 2 || rank > 5) return cudaErrorInvalidValue;
  const uint32_t box[5] = {kTileColumns, rows, 1, 1, 1};
#if defined(__CUDACC__)
  // The driver's function, asked for at run time: the library loads without a driver.
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return error;
  if (function == nullptr || found != cudaDriverEntryPointSuccess) return cudaErrorNotSupported;
  const uint32_t step[5] = {1, 1, 1, 1, 1};
  const auto type = std::is_same_v<T, __half> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      &map, type, rank, const_cast<T*>(base), reinterpret_cast<const cuuint64_t*>(size), reinterpret_cast<const cuuint64_t*>(stride_bytes), box, step,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
#else
  return emulation::make_tensor_map(map, base, rank, size, stride_bytes, box);
#endif
}

// Starts copying the tile at these coordinates (elements, innermost first, may lie outside: what does becomes zero) to shared memory at
// a multiple of 1024 bytes. By one thread. The bytes, all of the tile's, are reported to the barrier, after whose wait they may be read.
template <int Rank>
__device__ __forceinline__ void copy_tile(void* shared, const TensorMap& map, uint64_t* barrier, const int (&at)[Rank] GATUN_PTX_SITE) {
  static_assert(Rank >= 2 && Rank <= 5);
#if defined(GATUN_HOPPER_CODE)
  const uint32_t to = shared_address(shared), on = shared_address(barrier);
  if constexpr (Rank == 2) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(to), "l"(&map), "r"(on), "r"(at[0]), "r"(at[1]) : "memory");
  } else if constexpr (Rank == 3) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(to), "l"(&map), "r"(on), "r"(at[0]), "r"(at[1]), "r"(at[2]) : "memory");
  } else if constexpr (Rank == 4) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
                 ::"r"(to), "l"(&map), "r"(on), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]) : "memory");
  } else {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];"
                 ::"r"(to), "l"(&map), "r"(on), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]) : "memory");
  }
#elif defined(__CUDACC__)
  __trap();
#else
  emulation::copy_tile(shared, map, barrier, Rank, at, site);
#endif
}

__device__ __forceinline__ void prefetch(const TensorMap& map) {
#if defined(GATUN_HOPPER_CODE)
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#else
  (void)map;
#endif
}

}  // namespace gatun
#undef GATUN_PTX_SITE

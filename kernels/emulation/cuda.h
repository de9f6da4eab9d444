// SPDX-License-Identifier: Apache-2.0
// What every .cu file includes. Under nvcc this is CUDA; under a host compiler it is the emulation. Kernels cannot tell the difference:
// no `#if` on the compiler stands in a kernel. See docs/emulation.md for the style that makes this work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
// Dynamic shared memory of a kernel: GATUN_DYNAMIC_SHARED(memory); declares `unsigned char* memory`, aligned for bulk copies.
#define GATUN_DYNAMIC_SHARED(NAME)                                 \
  extern __shared__ __align__(1024) unsigned char gatun_dynamic[]; \
  unsigned char* const NAME = gatun_dynamic
// Before a loop whose body indexes an array of registers: rolled up, the array would lie in local memory.
#define GATUN_UNROLL _Pragma("unroll")
// Before a loop that nvcc would unroll by itself, for little, where what it costs is the time to compile it or registers.
#define GATUN_ROLLED _Pragma("unroll 1")
namespace gatun {
inline constexpr int64_t kMaxGrid = 0x7fffffff;  // of grid_for
}
#else
#include "kernels/emulation/device.h"
#include "kernels/emulation/graph.h"
#include "kernels/emulation/host.h"
#define GATUN_DYNAMIC_SHARED(NAME) unsigned char* const NAME = gatun::emulation::dynamic_shared()
#define GATUN_UNROLL
#define GATUN_ROLLED
namespace gatun {
inline constexpr int64_t kMaxGrid = 3;
}
#endif

#include "kernels/emulation/ptx.h"

namespace gatun {

inline constexpr unsigned kFullMask = 0xffffffffu;

// Cuts arrays out of dynamic shared memory. The same lines run on the host with nullptr to learn how many bytes a launch needs:
//   struct Tiles { float* a; __half* b;
//     __host__ __device__ explicit Tiles(Carve& carve) : a(carve.take<float>(64)), b(carve.take<__half>(128)) {} };
class Carve {
 public:
  __host__ __device__ explicit Carve(unsigned char* base) : base_(base) {}
  template <class T>
  __host__ __device__ T* take(size_t count, size_t alignment = 16) {
    used_ = (used_ + alignment - 1) / alignment * alignment;
    unsigned char* const at = base_ + used_;
    used_ += count * sizeof(T);
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(at);
  }
  __host__ __device__ size_t bytes() const { return used_; }

 private:
  unsigned char* base_;
  size_t used_ = 0;
};

// The only launches of the library. Arguments convert to the kernel's parameters as in a call.
//   launch              blocks know nothing of each other; one may wait for none
//   launch_cooperative  all blocks live at once, or cudaErrorCooperativeLaunchTooLarge: grid_barrier may be used
//   resident_blocks     how many blocks may live at once on the device, 0 where not one can; on the emulated device few
#if defined(__CUDACC__)
template <class... P>
cudaError_t allow_shared(void (*kernel)(P...), size_t bytes) {
  if (bytes <= 48 * 1024) return cudaSuccess;  // what every device gives without being asked
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
}

template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::type_identity_t<P>... arguments) {
  if (const cudaError_t error = allow_shared(kernel, shared_bytes); error != cudaSuccess) return error;
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
  return cudaGetLastError();
}

template <class... P>
cudaError_t launch_cooperative(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                               std::type_identity_t<P>... arguments) {
  if (const cudaError_t error = allow_shared(kernel, shared_bytes); error != cudaSuccess) return error;
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))..., nullptr};
  return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
}

template <class... P>
int resident_blocks(void (*kernel)(P...), unsigned threads, size_t shared_bytes) {
  int device = 0, multiprocessors = 0, each = 0;
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
      allow_shared(kernel, shared_bytes) != cudaSuccess ||
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, static_cast<int>(threads), shared_bytes) != cudaSuccess) {
    return 0;
  }
  return each * multiprocessors;
}
#else
namespace emulation {
template <class... P>
struct Call {
  void (*kernel)(P...);
  std::tuple<P...> arguments;
  // Parameters are copied for each thread, unseen by the race build: they lie in host memory here.
  GATUN_UNSEEN static void run(const void* self) {
    run(static_cast<const Call*>(self), std::index_sequence_for<P...>());
  }
  template <size_t... I>
  GATUN_UNSEEN static void run(const Call* call, std::index_sequence<I...>) {
    call->kernel(std::get<I>(call->arguments)...);
  }
};

template <class... P>
cudaError_t start(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, bool all_at_once, cudaStream_t stream, P... arguments) {
  // Made in place: GCC 12 loses arguments on their way through a temporary under -ftrivial-auto-var-init.
  const auto call = std::shared_ptr<const Call<P...>>(new Call<P...>{kernel, std::tuple<P...>(arguments...)});
  return submit(stream, [=] {
    return record(static_cast<cudaError_t>(
        run_grid(reinterpret_cast<const void*>(call->kernel), grid, block, shared_bytes, all_at_once, &Call<P...>::run, call.get())));
  });
}
}  // namespace emulation

template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::type_identity_t<P>... arguments) {
  return emulation::start<P...>(kernel, grid, block, shared_bytes, false, stream, arguments...);
}

template <class... P>
cudaError_t launch_cooperative(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::type_identity_t<P>... arguments) {
  return emulation::start<P...>(kernel, grid, block, shared_bytes, true, stream, arguments...);
}

template <class... P>
int resident_blocks(void (*)(P...), unsigned threads, size_t shared_bytes) {
  return emulation::resident_blocks(threads, shared_bytes);
}
#endif

// Waits until every thread of every block of a cooperative launch is here; what they wrote before it, all see after it. `arrived`
// lies in global memory and is zero before the first launch that uses it; it may be used again, by the same number of blocks.
// Its top bit turns over when all have come: block 0 adds what the others leave.
__device__ __forceinline__ void grid_barrier(unsigned* arrived GATUN_PTX_SITE) {
#if !defined(__CUDACC__)
  emulation::require_cooperative(site);
#endif
  __syncthreads(GATUN_PASS_SITE);
  if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    const bool first = blockIdx.x + blockIdx.y + blockIdx.z == 0;
    const unsigned old = add_ordered(arrived, first ? 0x80000000u - (blocks - 1) : 1u GATUN_NEXT_SITE);
    while (((old ^ load_acquire(arrived GATUN_NEXT_SITE)) >> 31) == 0) {}
  }
  __syncthreads(GATUN_PASS_SITE);
}

}  // namespace gatun
#undef GATUN_PTX_SITE
#undef GATUN_NEXT_SITE
#undef GATUN_PASS_SITE

// SPDX-License-Identifier: Apache-2.0
// What every .cu file includes. Under nvcc this is CUDA; under a host compiler it is the emulation. Kernels cannot tell the difference:
// no `#if` on the compiler stands in a kernel. See docs/emulation.md for the style that makes this work.
#pragma once

#include <cstddef>
#include <cstdint>
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
namespace gatun {
inline constexpr int64_t kMaxGrid = 0x7fffffff;  // of grid_for
}
#else
#include "kernels/emulation/device.h"
#include "kernels/emulation/host.h"
#define GATUN_DYNAMIC_SHARED(NAME) unsigned char* const NAME = gatun::emulation::dynamic_shared()
#define GATUN_UNROLL
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

#if defined(__CUDACC__)
// The only <<<>>> of the library. Arguments convert to the kernel's parameters as in a call.
template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::type_identity_t<P>... arguments) {
  if (shared_bytes > 48 * 1024) {  // beyond what every device gives without being asked
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error;
  }
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
  return cudaGetLastError();
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
}  // namespace emulation

template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t, std::type_identity_t<P>... arguments) {
  const emulation::Call<P...> call{kernel, {arguments...}};
  return emulation::record(static_cast<cudaError_t>(
      emulation::run_grid(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, &emulation::Call<P...>::run, &call)));
}
#endif

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// What launchers and kernels of the CUDA device share.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels/common/stream.h"
#include "kernels/emulation/cuda.h"

namespace gatun {

// Throws what the border reports as GATUN_INTERNAL: a launch that fails is a defect of ours, the descriptor has been checked.
inline void check_cuda(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error));
}

template <class... P>
void enqueue(const Stream& stream, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, std::type_identity_t<P>... arguments) {
  check_cuda(launch(kernel, grid, block, shared_bytes, static_cast<cudaStream_t>(stream.handle), arguments...));
}

// All blocks live at once, so that they may meet at grid_barrier; at most resident_blocks of them.
template <class... P>
void enqueue_cooperative(const Stream& stream, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, std::type_identity_t<P>... arguments) {
  check_cuda(launch_cooperative(kernel, grid, block, shared_bytes, static_cast<cudaStream_t>(stream.handle), arguments...));
}

// Blocks for `items`, each block taking `each`. Kernels loop with the grid's stride: there may be more items than blocks, and on the
// emulated device there soon are, so that the loops are tested.
inline unsigned grid_for(int64_t items, int64_t each) {
  const int64_t blocks = (items + each - 1) / each;
  return static_cast<unsigned>(blocks < kMaxGrid ? blocks : kMaxGrid);
}

__device__ __forceinline__ float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullMask, value, offset);
  return value;
}

// The sum over a block, the same bits in every thread. All threads call it; `partial` is shared memory and may be used again at once.
template <int Warps>
__device__ __forceinline__ float block_sum(float value, float (&partial)[Warps]) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < Warps; ++i) total += partial[i];
  __syncthreads();
  return total;
}

__device__ __forceinline__ float dot(float a, float b) { return a * b; }
__device__ __forceinline__ float dot(const float4& a, const float4& b) { return (a.x * b.x + a.y * b.y) + (a.z * b.z + a.w * b.w); }

// Whether rows can be read 16 bytes at a time.
inline bool vectors(const void* pointer, int64_t columns, int64_t stride) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && columns % 4 == 0 && stride % 4 == 0;
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Bugs of cooperative launches: barriers of the grid and what orders blocks.
#include "kernels/emulation/planted.h"

namespace gatun::planted {
namespace {

__device__ unsigned index() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ unsigned total() { return gridDim.x * blockDim.x; }

__global__ void grid_missing_barrier(float* in, float* out, unsigned*) {
  in[index()] = 1;
  __syncthreads();
  out[index()] = in[(index() + blockDim.x) % total()];  // planted: grid_missing_barrier
}

__global__ void grid_missing_second_barrier(float* sums, float* out, unsigned* arrived) {
  float value = 1;
  for (int round = 0; round < 3; ++round) {
    if (threadIdx.x == 0) sums[blockIdx.x] = value;  // planted: grid_missing_second_barrier
    grid_barrier(arrived);
    for (unsigned i = 0; i < gridDim.x; ++i) value += sums[i];
  }
  out[index()] = value;
}

// A barrier of one's own, whose fences can be left out.
__device__ __forceinline__ void meet(unsigned* arrived, bool release, bool acquire) {
  __syncthreads();
  if (threadIdx.x == 0) {
    if (release) __threadfence();
    atomicAdd(arrived, 1u);
    while (atomicAdd(arrived, 0u) < gridDim.x) __nanosleep(20);
    if (acquire) __threadfence();
  }
  __syncthreads();
}
__global__ void grid_missing_release(float* in, float* out, unsigned* arrived) {
  in[index()] = 1;
  meet(arrived, false, true);
  out[index()] = in[(index() + blockDim.x) % total()];  // planted: grid_missing_release
}
__global__ void grid_missing_acquire(float* in, float* out, unsigned* arrived) {
  in[index()] = 1;
  meet(arrived, true, false);
  out[index()] = in[(index() + blockDim.x) % total()];  // planted: grid_missing_acquire
}

__global__ void grid_fence_of_another(float* in, float* out, unsigned* arrived) {
  in[index()] = 1;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    add_ordered(arrived, 1u);
    while (load_acquire(arrived) < gridDim.x) {}
  }
  out[index()] = in[(index() + blockDim.x) % total()];  // planted: grid_fence_of_another
}

__global__ void grid_relaxed_flag(float* in, float* out, unsigned* flag) {
  if (blockIdx.x == 0) {
    in[threadIdx.x] = 1;
    __syncthreads();
    if (threadIdx.x == 0) atomicExch(flag, 1u);
  } else {
    while (load_acquire(flag) == 0) {}
    out[index()] = in[threadIdx.x];  // planted: grid_relaxed_flag
  }
}

__global__ void grid_left(float* in, float* out, unsigned* arrived) {
  if (blockIdx.x == gridDim.x - 1) return;
  in[index()] = 1;
  grid_barrier(arrived);  // planted: grid_left
  out[index()] = in[index()];
}

__global__ void grid_uneven_rounds(float* in, float* out, unsigned* arrived) {
  for (unsigned i = 0; i <= blockIdx.x; ++i) {
    in[index()] = 1;
    grid_barrier(arrived);  // planted: grid_uneven_rounds
  }
  out[index()] = in[index()];
}

__global__ void grid_not_cooperative(float* in, float* out, unsigned* arrived) {
  in[index()] = 1;
  grid_barrier(arrived);  // planted: grid_not_cooperative
  out[index()] = in[(index() + blockDim.x) % total()];
}
__global__ void grid_not_cooperative_flag(float* in, float* out, unsigned* flag) {
  if (blockIdx.x == gridDim.x / 2) {
    in[threadIdx.x] = 1;
    if (threadIdx.x == 0) store_release(flag, 1u);
  } else {
    while (load_acquire(flag) == 0) {}  // planted: grid_not_cooperative_flag
    out[index()] = 1;
  }
}

__global__ void grid_one_thread(float* in, float* out, unsigned* arrived) {
  in[index()] = 1;
  if (threadIdx.x < 32) grid_barrier(arrived);  // planted: grid_one_thread
  out[index()] = in[index()];
}

using Kernel = void (*)(float*, float*, unsigned*);
template <Kernel K>
void together() {
  (void)launch_cooperative(K, 3, 64, 0, nullptr, memory(192), memory(192), reinterpret_cast<unsigned*>(memory(1)));
}
template <Kernel K>
void apart() {
  (void)launch(K, 3, 64, 0, nullptr, memory(192), memory(192), reinterpret_cast<unsigned*>(memory(1)));
}

}  // namespace

std::vector<Plant> grid_plants() {
  return {
      {"grid_missing_barrier", "race", "r", together<grid_missing_barrier>},
      {"grid_missing_second_barrier", "race", "r", together<grid_missing_second_barrier>},
      {"grid_missing_release", "race", "r", together<grid_missing_release>},
      {"grid_missing_acquire", "race", "r", together<grid_missing_acquire>},
      {"grid_fence_of_another", "race", "r", together<grid_fence_of_another>},
      {"grid_relaxed_flag", "race", "r", together<grid_relaxed_flag>},
      {"grid_left", "deadlock", "par", together<grid_left>},
      {"grid_uneven_rounds", "deadlock", "par", together<grid_uneven_rounds>},
      {"grid_not_cooperative", "deadlock", "par", apart<grid_not_cooperative>},
      {"grid_not_cooperative_flag", "deadlock", "par", apart<grid_not_cooperative_flag>},
      {"grid_one_thread", "left before a barrier", "par", together<grid_one_thread>},
  };
}

cudaError_t too_many_blocks() {
  return launch_cooperative(grid_missing_barrier, static_cast<unsigned>(resident_blocks(grid_missing_barrier, 64, 0)) + 1, 64, 0, nullptr, memory(512), memory(512), nullptr);
}

}  // namespace gatun::planted

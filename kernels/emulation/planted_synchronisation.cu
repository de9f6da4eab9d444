// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/planted.h"

namespace gatun::planted {
namespace {

__global__ void divergence_branches(float* out) {
  if (threadIdx.x < 16) {
    __syncthreads();  // planted: divergence_branches
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void divergence_loop(float* out) {
  const int steps = threadIdx.x < 32 ? 2 : 3;
  for (int i = 0; i < steps; ++i) __syncthreads();  // planted: divergence_loop
  out[threadIdx.x] = static_cast<float>(__syncthreads_count(1));
}

__global__ void left_early(float* out, int count) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= count) return;
  __syncthreads();  // planted: left_early
  out[i] = 1;
}

__global__ void left_warp(float* out) {
  if (threadIdx.x / 32 == 1) return;
  out[threadIdx.x] = static_cast<float>(__syncthreads_or(1));  // planted: left_warp
}

__global__ void mask_lacks_caller(float* out) {
  out[threadIdx.x] = __shfl_down_sync(0xffffu, static_cast<float>(threadIdx.x), 1);  // planted: mask_lacks_caller
}

__global__ void mask_contradiction(float* out) {
  __syncwarp(threadIdx.x < 16 ? 0x0001ffffu : 0xffff8000u);  // planted: mask_contradiction
  out[threadIdx.x] = 1;
}

__global__ void mask_source(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);  // planted: mask_source
}

__global__ void dead_lane_left(float* out) {
  if (threadIdx.x >= 16) return;
  out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1.0f, 1);  // planted: dead_lane_left
}

__global__ void dead_lane_absent(float* out) {
  out[threadIdx.x] = static_cast<float>(__ballot_sync(kFullMask, 1));  // planted: dead_lane_absent
}

__global__ void different_operations(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1.0f, 1);
  } else {
    out[threadIdx.x] = static_cast<float>(__any_sync(kFullMask, 1));  // planted: different_operations
  }
}

__global__ void different_lines(float* out) {
  if (threadIdx.x % 2 == 0) {
    __syncwarp();
  } else {
    __syncwarp();  // planted: different_lines
  }
  out[threadIdx.x] = 1;
}

__global__ void deadlock_half_warp(float* out) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1.0f, 1);  // planted: deadlock_half_warp
}

__global__ void deadlock_count(float* out) {
  barrier_sync(1, 96);  // planted: deadlock_count
  out[threadIdx.x] = 1;
}

__global__ void deadlock_grid(unsigned* arrived) {
  atomicAdd(arrived, 1u);
  while (atomicAdd(arrived, 0u) < gridDim.x) __nanosleep(100);  // planted: deadlock_grid
}

__global__ void alignment_copy(const float* in, float* out) {
  __shared__ __align__(16) float tile[128];
  cp_async<16>(tile + 4 * threadIdx.x, in + 4 * threadIdx.x + 1);  // planted: alignment_copy
  cp_async_commit();
  cp_async_wait<0>();
  out[threadIdx.x] = tile[4 * threadIdx.x];
}

__global__ void alignment_ldmatrix(float* out) {
  __shared__ __align__(16) uint16_t tile[32 * 9];
  for (int i = static_cast<int>(threadIdx.x); i < 32 * 9; i += 32) tile[i] = 0;
  __syncwarp();
  uint32_t result[4];
  ldmatrix(result, tile + threadIdx.x * 9);  // planted: alignment_ldmatrix
  out[threadIdx.x] = static_cast<float>(result[0]);
}

}  // namespace

std::vector<Plant> synchronisation_plants() {
  return {
      {"divergence_branches", "barrier divergence", "par", [] { (void)launch(divergence_branches, 2, 64, 0, nullptr, memory(64)); }},
      {"divergence_loop", "barrier divergence", "par", [] { (void)launch(divergence_loop, 2, 64, 0, nullptr, memory(64)); }},
      {"left_early", "left before a barrier", "par", [] { (void)launch(left_early, 2, 64, 0, nullptr, memory(64), 50); }},
      {"left_warp", "left before a barrier", "par", [] { (void)launch(left_warp, 2, 64, 0, nullptr, memory(64)); }},
      {"mask_lacks_caller", "wrong mask", "par", [] { (void)launch(mask_lacks_caller, 1, 32, 0, nullptr, memory(32)); }},
      {"mask_contradiction", "wrong mask", "par", [] { (void)launch(mask_contradiction, 1, 32, 0, nullptr, memory(32)); }},
      {"mask_source", "wrong mask", "par", [] { (void)launch(mask_source, 1, 32, 0, nullptr, memory(32)); }},
      {"dead_lane_left", "dead lane", "par", [] { (void)launch(dead_lane_left, 1, 32, 0, nullptr, memory(32)); }},
      {"dead_lane_absent", "dead lane", "par", [] { (void)launch(dead_lane_absent, 1, 48, 0, nullptr, memory(48)); }},
      {"different_operations", "different warp operations", "par", [] { (void)launch(different_operations, 1, 32, 0, nullptr, memory(32)); }},
      {"different_lines", "different warp operations", "par", [] { (void)launch(different_lines, 1, 32, 0, nullptr, memory(32)); }},
      {"deadlock_half_warp", "deadlock", "par", [] { (void)launch(deadlock_half_warp, 1, 32, 0, nullptr, memory(32)); }},
      {"deadlock_count", "deadlock", "par", [] { (void)launch(deadlock_count, 1, 64, 0, nullptr, memory(64)); }},
      {"deadlock_grid", "deadlock", "par", [] { (void)launch(deadlock_grid, 2, 1, 0, nullptr, reinterpret_cast<unsigned*>(memory(1))); }},
      {"alignment_copy", "misaligned address", "par", [] { (void)launch(alignment_copy, 1, 32, 0, nullptr, memory(132), memory(32)); }},
      {"alignment_ldmatrix", "misaligned address", "par", [] { (void)launch(alignment_ldmatrix, 1, 32, 0, nullptr, memory(32)); }},
  };
}

}  // namespace gatun::planted

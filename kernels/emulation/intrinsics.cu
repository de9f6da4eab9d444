// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/intrinsics.h"

namespace gatun::intrinsics {
namespace {

__global__ void warp_kernel(const int* x, int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = x[lane];
  int* result = out + lane * kWarpResults;
  int i = 0;
  result[i++] = __shfl_sync(kFullMask, value, 5);
  result[i++] = __shfl_sync(kFullMask, value, lane + 3, 8);
  result[i++] = __shfl_xor_sync(kFullMask, value, 9);
  result[i++] = __shfl_xor_sync(kFullMask, value, 4, 8);
  result[i++] = __shfl_up_sync(kFullMask, value, 3);
  result[i++] = __shfl_up_sync(kFullMask, value, 3, 16);
  result[i++] = __shfl_down_sync(kFullMask, value, 3);
  result[i++] = __shfl_down_sync(kFullMask, value, 3, 16);
  result[i++] = static_cast<int>(__ballot_sync(kFullMask, value > 0));
  result[i++] = __any_sync(kFullMask, value == x[7]);
  result[i++] = __all_sync(kFullMask, value == x[7]);
  result[i++] = __reduce_add_sync(kFullMask, value);
  result[i++] = __reduce_min_sync(kFullMask, value);
  result[i++] = __reduce_max_sync(kFullMask, value);
  result[i++] = static_cast<int>(__reduce_and_sync(kFullMask, static_cast<unsigned>(value)));
  result[i++] = static_cast<int>(__reduce_or_sync(kFullMask, static_cast<unsigned>(value)));
  result[i++] = static_cast<int>(__reduce_xor_sync(kFullMask, static_cast<unsigned>(value)));
  // Two groups of one warp on their own ways.
  const unsigned mine = lane < 12 ? 0x00000fffu : 0xfffff000u;
  if (lane < 12) result[i] = __reduce_add_sync(mine, value);
  else result[i] = __reduce_max_sync(mine, value);
  ++i;
  result[i++] = static_cast<int>(__shfl_sync(kFullMask, static_cast<double>(value), 31));
  result[i++] = __popc(static_cast<unsigned>(value)) * 1000 + __clz(value) * 10 + __ffs(value);
}

__global__ void votes_kernel(const int* x, int* out) {
  const int thread = static_cast<int>(threadIdx.x);
  const bool positive = x[thread] > 0;
  out[thread * 3] = __syncthreads_count(positive);
  out[thread * 3 + 1] = __syncthreads_and(positive);
  out[thread * 3 + 2] = __syncthreads_or(positive);
}

__global__ void atomics_kernel(const int* x, int* out, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  atomicAdd(out, x[i]);
  atomicMin(out + 1, x[i]);
  atomicMax(out + 2, x[i]);
  for (int seen = atomicAdd(out + 3, 0), last = seen + 1; last != seen;) {  // by compare and swap
    last = seen;
    seen = atomicCAS(out + 3, last, last ^ x[i]);
  }
}

// Barriers 1 and 2: stage full; 3 and 4: stage free.
__global__ void pipeline_kernel(const float* x, float* y, int steps) {
  __shared__ float stage[2][32];
  const int lane = static_cast<int>(threadIdx.x % 32);
  const bool producer = threadIdx.x < 32;
  for (int step = 0; step < steps; ++step) {
    const int s = step % 2;
    if (producer) {
      if (step >= 2) barrier_sync(3 + s, 64);
      stage[s][lane] = x[step * 32 + lane];
      barrier_arrive(1 + s, 64);
    } else {
      barrier_sync(1 + s, 64);
      y[step * 32 + lane] = 2 * stage[s][31 - lane];
      if (step + 2 < steps) barrier_arrive(3 + s, 64);
    }
  }
}

__global__ void convert_kernel(const float* x, float* y, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  y[2 * i] = __half2float(__float2half_rn(x[i]));
  y[2 * i + 1] = __bfloat162float(__float2bfloat16_rn(x[i]));
}

__global__ void locked_kernel(int* lock, float* total) {
  bool done = false;
  while (!done) {
    if (atomicCAS(lock, 0, 1) == 0) {
      atomicAdd(total, 1.0f);
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

}  // namespace

cudaError_t warp_operations(const int* x, int* out, cudaStream_t stream) { return launch(warp_kernel, 1, 32, 0, stream, x, out); }
cudaError_t block_votes(const int* x, int* out, int threads, cudaStream_t stream) {
  return launch(votes_kernel, 1, static_cast<unsigned>(threads), 0, stream, x, out);
}
cudaError_t atomics(const int* x, int* out, int count, cudaStream_t stream) {
  return launch(atomics_kernel, static_cast<unsigned>(count + 63) / 64, 64, 0, stream, x, out, count);
}
cudaError_t pipeline(const float* x, float* y, int steps, cudaStream_t stream) { return launch(pipeline_kernel, 1, 64, 0, stream, x, y, steps); }
cudaError_t convert(const float* x, float* y, int count, cudaStream_t stream) {
  return launch(convert_kernel, static_cast<unsigned>(count + 255) / 256, 256, 0, stream, x, y, count);
}
cudaError_t locked(int* lock, float* total, int threads, cudaStream_t stream) {
  return launch(locked_kernel, 2, static_cast<unsigned>(threads), 0, stream, lock, total);
}

}  // namespace gatun::intrinsics

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/emulation/cuda.h"

namespace gatun::intrinsics {

constexpr int kWarpResults = 20;
// out (32, kWarpResults): what lane l gets of each warp operation for the value x[l].
cudaError_t warp_operations(const int* x, int* out, cudaStream_t stream);
// out (threads, 3): __syncthreads_count, _and, _or of x[thread] > 0.
cudaError_t block_votes(const int* x, int* out, int threads, cudaStream_t stream);
// out (4): sum, minimum, maximum and exclusive or of x by atomics; out must have been set to the first three identities and 0.
cudaError_t atomics(const int* x, int* out, int count, cudaStream_t stream);
// y = 2 x through shared memory, one warp producing and one consuming, two stages with named barriers.
cudaError_t pipeline(const float* x, float* y, int steps, cudaStream_t stream);
// y = x through __half and __nv_bfloat16, rounded on the device: y (count, 2).
cudaError_t convert(const float* x, float* y, int count, cudaStream_t stream);
// total = the sum of x by a lock that is taken with atomicCAS.
cudaError_t locked(int* lock, float* total, int threads, cudaStream_t stream);

}  // namespace gatun::intrinsics

// SPDX-License-Identifier: Apache-2.0
// The second half of a sum over rows on CUDA: partial sums of chunks, added in a fixed order.
#pragma once

#include "kernels/common/cuda.h"

namespace gatun {

inline constexpr int kPartialWarps = 16;

// f(chunk) summed over the chunks, in a fixed order, for the column of each lane; the result is warp 0's. All threads of a block call it.
template <class F>
__device__ __forceinline__ double sum_over_chunks(int64_t chunks, double (&scratch)[kPartialWarps][32], F&& f) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  double total = 0;
  for (int64_t k = warp; k < chunks; k += kPartialWarps) total += static_cast<double>(f(k));
  scratch[warp][lane] = total;
  __syncthreads();
  total = 0;
  for (int i = 0; i < kPartialWarps; ++i) total += scratch[i][lane];
  __syncthreads();
  return total;
}

namespace {

// first[c] = Σ over chunks of partial[chunk][c], second[c] = Σ of partial[chunk][columns + c]; a NULL is skipped. Launch with
// add_partials().
__global__ void __launch_bounds__(kPartialWarps * 32) add_partials_kernel(const float* __restrict__ partial, int64_t chunks, int64_t step,
                                                                                 int64_t columns, float* __restrict__ first, float* __restrict__ second) {
  __shared__ double scratch[kPartialWarps][32];
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * 32; base < 2 * columns; base += static_cast<int64_t>(gridDim.x) * 32) {
    const int64_t c = base + threadIdx.x % 32;
    float* const to = c < columns ? first : second;
    const bool wanted = c < 2 * columns && to != nullptr;
    const double total = sum_over_chunks(wanted ? chunks : 0, scratch, [&](int64_t k) { return partial[k * step + c]; });
    if (threadIdx.x < 32 && wanted) to[c < columns ? c : c - columns] = static_cast<float>(total);
  }
}

[[maybe_unused]] void add_partials(const Stream& stream, const float* partial, int64_t chunks, int64_t step, int64_t columns, float* first, float* second) {
  if (columns == 0) return;
  enqueue(stream, add_partials_kernel, grid_for(2 * columns, 32), kPartialWarps * 32, 0, partial, chunks, step, columns, first, second);
}

}  // namespace
}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Sinkhorn's iteration for scores of any spread, in f64 and with logarithms. Rare, so that one launch which usually ends at once costs
// little matters more than its speed.
#include "kernels/sinkhorn/sinkhorn_device.h"

namespace gatun::sinkhorn_cuda {
namespace {

constexpr int kThreads = 1024;

__device__ __forceinline__ double warp_max(double value) {
  for (int offset = 16; offset > 0; offset /= 2) value = fmax(value, __shfl_xor_sync(kFullMask, value, offset));
  return value;
}
__device__ __forceinline__ double warp_sum(double value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullMask, value, offset);
  return value;
}

struct Wide {
  View scores;
  double inverse;
  double *log_u, *log_v;
  __device__ __forceinline__ double at(int64_t row, int64_t column) const {
    return static_cast<double>(scores.data[row * scores.stride + column]) * inverse;
  }

  // log_u = -log of each column's sum; a thread a column.
  __device__ void columns(bool first) const {
    for (int64_t k = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; k < scores.columns; k += static_cast<int64_t>(gridDim.x) * kThreads) {
      double largest = -INFINITY, sum = 0;
      for (int64_t b = 0; b < scores.rows; ++b) largest = fmax(largest, at(b, k) + (first ? 0.0 : log_v[b]));
      for (int64_t b = 0; b < scores.rows; ++b) sum += exp(at(b, k) + (first ? 0.0 : log_v[b]) - largest);
      log_u[k] = -largest - log(sum);
    }
  }

  // The largest logarithm of a row and the sum relative to it, by a warp.
  __device__ void row(int64_t b, double& largest, double& sum) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    largest = -INFINITY;
    for (int64_t k = lane; k < scores.columns; k += 32) largest = fmax(largest, at(b, k) + log_u[k]);
    largest = warp_max(largest);
    sum = 0;
    for (int64_t k = lane; k < scores.columns; k += 32) sum += exp(at(b, k) + log_u[k] - largest);
    sum = warp_sum(sum);
  }
};

__global__ void __launch_bounds__(kThreads) wide_kernel(View scores, const SinkhornRange* range, float epsilon, int iterations,
                                                        double* logarithms, unsigned* arrived, float* codes, int64_t codes_stride, int64_t rows) {
  if (!wide(*range, epsilon)) return;  // the same for all threads
  const Wide w{scores, 1.0 / static_cast<double>(epsilon), logarithms, logarithms + scores.columns};
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32, warps = static_cast<int64_t>(gridDim.x) * (kThreads / 32);
  double largest, sum;
  for (int iteration = 0; iteration < iterations; ++iteration) {
    w.columns(iteration == 0);
    grid_barrier(arrived);
    if (iteration == iterations - 1) break;
    for (int64_t b = warp; b < scores.rows; b += warps) {
      w.row(b, largest, sum);
      if (lane == 0) w.log_v[b] = -largest - log(sum);
    }
    grid_barrier(arrived);
  }
  for (int64_t r = warp; r < rows; r += warps) {
    const int64_t b = scores.rows - rows + r;
    w.row(b, largest, sum);
    for (int64_t k = lane; k < scores.columns; k += 32) {
      codes[r * codes_stride + k] = static_cast<float>(exp(w.at(b, k) + w.log_u[k] - largest) / sum);
    }
  }
}

}  // namespace

void wide_codes(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, const Workspace& w) {
  const int64_t wanted = std::max(chunk_count(scores.columns, kThreads), chunk_count(scores.rows, kThreads / 32));
  const int64_t blocks = std::min<int64_t>(wanted, resident_blocks(wide_kernel, kThreads, 0));
  enqueue_cooperative(stream, wide_kernel, static_cast<unsigned>(blocks), kThreads, 0, view(scores), w.range, epsilon, iterations, w.logarithms,
                      w.arrived, codes.data, codes.stride, codes.rows);
}

}  // namespace gatun::sinkhorn_cuda

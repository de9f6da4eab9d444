// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/samples.h"

namespace gatun::samples {
namespace {

__global__ void add_kernel(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ sum, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) sum[i] = a[i] + b[i];
}

__device__ __forceinline__ float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullMask, value, offset);
  return value;
}

template <int Threads>
__global__ void __launch_bounds__(Threads) sum_kernel(const float* __restrict__ x, float* total, int64_t count) {
  __shared__ float partial[Threads / 32];
  float value = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * Threads + threadIdx.x; i < count; i += static_cast<int64_t>(gridDim.x) * Threads) value += x[i];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x < 32) {
    value = warp_sum(threadIdx.x < Threads / 32 ? partial[threadIdx.x] : 0.0f);
    if (threadIdx.x == 0) atomicAdd(total, value);
  }
}

__global__ void __launch_bounds__(64) ordered_sum_kernel(const float* __restrict__ x, float* partial, unsigned* finished, float* total, int64_t count) {
  __shared__ float warps[2];
  __shared__ bool last;
  float value = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * 64 + threadIdx.x; i < count; i += static_cast<int64_t>(gridDim.x) * 64) value += x[i];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = warps[0] + warps[1];
    __threadfence();  // what this block wrote, before it is counted
    last = atomicAdd(finished, 1) == gridDim.x - 1;
    __threadfence();  // what the others wrote, after they were
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
    *total = sum;
    atomicExch(finished, 0u);
  }
}

// Keeps its part of x in shared memory over all rounds; the blocks exchange only their sums, in two places by turns, so that one
// barrier a round is enough.
__global__ void __launch_bounds__(64) add_mean_kernel(float* __restrict__ x, float* partial, unsigned* arrived, int64_t count, int64_t each, int rounds) {
  GATUN_DYNAMIC_SHARED(memory);
  float* part = reinterpret_cast<float*>(memory);
  __shared__ float warps[2];
  const int64_t begin = blockIdx.x * each, rest = count - begin, length = rest < 0 ? 0 : rest < each ? rest : each;
  for (int64_t i = threadIdx.x; i < length; i += 64) part[i] = x[begin + i];
  for (int round = 0; round < rounds; ++round) {
    float value = 0;
    for (int64_t i = threadIdx.x; i < length; i += 64) value += part[i];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    float* sums = partial + round % 2 * gridDim.x;
    if (threadIdx.x == 0) sums[blockIdx.x] = warps[0] + warps[1];
    grid_barrier(arrived);
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += sums[i];
    for (int64_t i = threadIdx.x; i < length; i += 64) part[i] += sum / static_cast<float>(count);
  }
  for (int64_t i = threadIdx.x; i < length; i += 64) x[begin + i] = part[i];
}

constexpr int kTile = 32, kTileRows = 8;

__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(const float* __restrict__ x, float* __restrict__ y, int rows, int columns) {
  __shared__ float tile[kTile][kTile + 1];  // one column more: no bank conflicts
  const int column = static_cast<int>(blockIdx.x * kTile + threadIdx.x), row = static_cast<int>(blockIdx.y * kTile + threadIdx.y);
  for (int i = 0; i < kTile; i += kTileRows) {
    if (row + i < rows && column < columns) tile[threadIdx.y + i][threadIdx.x] = x[static_cast<int64_t>(row + i) * columns + column];
  }
  __syncthreads();
  const int to_column = static_cast<int>(blockIdx.y * kTile + threadIdx.x), to_row = static_cast<int>(blockIdx.x * kTile + threadIdx.y);
  for (int i = 0; i < kTile; i += kTileRows) {
    if (to_row + i < columns && to_column < rows) y[static_cast<int64_t>(to_row + i) * rows + to_column] = tile[threadIdx.x][threadIdx.y + i];
  }
}

// 64 x 64 of C by four warps, each 32 x 32; two stages of A and B in shared memory.
constexpr int kM = 64, kN = 64, kK = 32, kGemmThreads = 128;
constexpr int kPitchA = kK + 8, kPitchB = kN + 8;  // 16 bytes more than a row: ldmatrix without conflicts

template <class T>
struct Stages {
  T *a, *b;
  __host__ __device__ explicit Stages(Carve& carve) : a(carve.take<T>(2 * kM * kPitchA)), b(carve.take<T>(2 * kK * kPitchB)) {}
};

template <class T>
__device__ __forceinline__ void load_stage(const Stages<T>& stages, int stage, const T* a, const T* b, int m, int n, int k, int row0, int column0, int k0) {
  for (int i = static_cast<int>(threadIdx.x); i < kM * kK / 8; i += kGemmThreads) {
    const int row = i / (kK / 8), column = i % (kK / 8) * 8;
    const bool inside = row0 + row < m && k0 + column < k;
    cp_async_zero_fill<16>(stages.a + (stage * kM + row) * kPitchA + column, a + (inside ? static_cast<int64_t>(row0 + row) * k + k0 + column : 0), inside ? 16 : 0);
  }
  for (int i = static_cast<int>(threadIdx.x); i < kK * kN / 8; i += kGemmThreads) {
    const int row = i / (kN / 8), column = i % (kN / 8) * 8;
    const bool inside = k0 + row < k && column0 + column < n;
    cp_async_zero_fill<16>(stages.b + (stage * kK + row) * kPitchB + column, b + (inside ? static_cast<int64_t>(k0 + row) * n + column0 + column : 0), inside ? 16 : 0);
  }
  cp_async_commit();
}

template <class T>
__global__ void __launch_bounds__(kGemmThreads) gemm_kernel(const T* __restrict__ a, const T* __restrict__ b, float* __restrict__ c, int m, int n, int k) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Stages<T> stages(carve);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int row0 = static_cast<int>(blockIdx.y) * kM, column0 = static_cast<int>(blockIdx.x) * kN;
  const int warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
  float d[2][4][4] = {};
  load_stage(stages, 0, a, b, m, n, k, row0, column0, 0);
  const int steps = (k + kK - 1) / kK;
  for (int step = 0; step < steps; ++step) {
    // An empty group at the end keeps the count of groups, and so the wait, the same in every step.
    if (step + 1 < steps) load_stage(stages, (step + 1) % 2, a, b, m, n, k, row0, column0, (step + 1) * kK);
    else cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    const T* tile_a = stages.a + step % 2 * kM * kPitchA;
    const T* tile_b = stages.b + step % 2 * kK * kPitchB;
    for (int kk = 0; kk < kK; kk += 16) {
      uint32_t fragment_a[2][4], fragment_b[2][4];
      for (int i = 0; i < 2; ++i) ldmatrix(fragment_a[i], tile_a + (warp_row + i * 16 + lane % 16) * kPitchA + kk + lane / 16 * 8);
      for (int j = 0; j < 2; ++j) ldmatrix_transposed(fragment_b[j], tile_b + (kk + lane % 16) * kPitchB + warp_column + j * 16 + lane / 16 * 8);
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) {
          const uint32_t pair[2] = {fragment_b[j / 2][j % 2 * 2], fragment_b[j / 2][j % 2 * 2 + 1]};
          mma_m16n8k16<T>(d[i][j], fragment_a[i], pair);
        }
      }
    }
    __syncthreads();  // the next step loads over what this one read
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) {
        const int row = row0 + warp_row + i * 16 + lane / 4 + e / 2 * 8, column = column0 + warp_column + j * 8 + lane % 4 * 2 + e % 2;
        if (row < m && column < n) c[static_cast<int64_t>(row) * n + column] = d[i][j][e];
      }
    }
  }
}

__global__ void tf32_kernel(const float* a, const float* b, float* c) {
  const int group = static_cast<int>(threadIdx.x) / 4, thread = static_cast<int>(threadIdx.x) % 4;
  uint32_t fragment_a[4], fragment_b[2];
  float d[4] = {};
  for (int i = 0; i < 4; ++i) fragment_a[i] = to_tf32(a[(group + i % 2 * 8) * 8 + thread + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) fragment_b[i] = to_tf32(b[group * 8 + thread + i * 4]);
  mma_m16n8k8_tf32(d, fragment_a, fragment_b);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + thread * 2 + i % 2] = d[i];
}

unsigned blocks(int64_t items, int64_t each) { return static_cast<unsigned>((items + each - 1) / each); }

}  // namespace

cudaError_t add(const float* a, const float* b, float* sum, int64_t count, cudaStream_t stream) {
  return launch(add_kernel, blocks(count, 256), 256, 0, stream, a, b, sum, count);
}

cudaError_t sum(const float* x, float* total, int64_t count, cudaStream_t stream) {
  return launch(sum_kernel<256>, 3, 256, 0, stream, x, total, count);
}

cudaError_t ordered_sum(const float* x, float* partial, unsigned* finished, float* total, int64_t count, cudaStream_t stream) {
  return launch(ordered_sum_kernel, kSumBlocks, 64, 0, stream, x, partial, finished, total, count);
}

cudaError_t add_mean(float* x, float* partial, unsigned* arrived, int64_t count, int rounds, cudaStream_t stream) {
  const int blocks = resident_blocks(add_mean_kernel, 64, 32 * 1024);
  if (blocks == 0) return cudaErrorInvalidConfiguration;
  const int64_t each = (count + blocks - 1) / blocks;
  if (each * 4 > 32 * 1024) return cudaErrorInvalidValue;
  return launch_cooperative(add_mean_kernel, static_cast<unsigned>(blocks), 64, static_cast<size_t>(each) * sizeof(float), stream, x, partial, arrived,
                            count, each, rounds);
}

cudaError_t transpose(const float* x, float* y, int rows, int columns, cudaStream_t stream) {
  return launch(transpose_kernel, dim3(blocks(columns, kTile), blocks(rows, kTile)), dim3(kTile, kTileRows), 0, stream, x, y, rows, columns);
}

template <class T>
cudaError_t gemm(const T* a, const T* b, float* c, int m, int n, int k, cudaStream_t stream) {
  Carve carve(nullptr);
  const Stages<T> stages(carve);
  return launch(gemm_kernel<T>, dim3(blocks(n, kN), blocks(m, kM)), kGemmThreads, carve.bytes(), stream, a, b, c, m, n, k);
}
template cudaError_t gemm(const __nv_bfloat16*, const __nv_bfloat16*, float*, int, int, int, cudaStream_t);
template cudaError_t gemm(const __half*, const __half*, float*, int, int, int, cudaStream_t);

cudaError_t tf32_tile(const float* a, const float* b, float* c, cudaStream_t stream) { return launch(tf32_kernel, 1, 32, 0, stream, a, b, c); }

}  // namespace gatun::samples

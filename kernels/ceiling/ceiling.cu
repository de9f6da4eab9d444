// SPDX-License-Identifier: Apache-2.0
// What the device can do at this moment: every multiprocessor full of warps, every warp with enough independent work to hide latencies.
#include "kernels/ceiling/ceiling.h"

#include <algorithm>

#include "gatun/base.h"
#include "kernels/common/cuda.h"

namespace gatun {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksEach = 8;  // of a multiprocessor: 2048 threads
constexpr int kChains = 12;

// Whatever a thread computed reaches the result as far as the compiler can know; in truth one thread writes, so that nothing is raced for.
__device__ __forceinline__ void deliver(float total, int64_t work, int64_t* flops, float* result) {
  const bool first = blockIdx.x == 0 && threadIdx.x == 0;
  if (first || total < -1e30f) *result = total;
  if (first) *flops = work;
}

__global__ void __launch_bounds__(kThreads) fma_kernel(int64_t iterations, int64_t work, int64_t* flops, float* result) {
  const float scale = 0.999999f, shift = 1e-6f;
  float chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = 0.1f * static_cast<float>(c + 1);
  for (int64_t i = 0; i < iterations; ++i) {
    for (int c = 0; c < kChains; ++c) chain[c] = __fmaf_rn(chain[c], scale, shift);
  }
  float total = 0;
  for (int c = 0; c < kChains; ++c) total += chain[c];
  deliver(total, work, flops, result);
}

// Two 16-bit numbers of either sign near 2^-7 with random fractions, from a hash: zeros would cost less energy than data do.
__device__ __forceinline__ uint32_t fragment(uint32_t seed, uint32_t exponent, uint32_t fraction) {
  const uint32_t hash = (seed + 1) * 0x9E3779B9u;
  return (hash & (0x80008000u | fraction)) | exponent;
}

constexpr int kMmaThreads = 256;
constexpr int kMmaBlocksEach = 2;  // 16 warps a multiprocessor, each with eight products under way
constexpr int kTiles = 8;
constexpr int64_t kTileFlops = 2 * 16 * 8 * 16;

template <class T>
__global__ void __launch_bounds__(kMmaThreads) mma_kernel(uint32_t exponent, uint32_t fraction, int64_t iterations, int64_t work, int64_t* flops,
                                                          float* result) {
  uint32_t a[4], b[kTiles][2];
  float d[kTiles][4] = {};
  const uint32_t thread = blockIdx.x * kMmaThreads + threadIdx.x;
  for (uint32_t i = 0; i < 4; ++i) a[i] = fragment(thread * 20 + i, exponent, fraction);
  for (uint32_t t = 0; t < kTiles; ++t) {
    for (uint32_t i = 0; i < 2; ++i) b[t][i] = fragment(thread * 20 + 4 + 2 * t + i, exponent, fraction);
  }
  for (int64_t i = 0; i < iterations; ++i) {
    for (int t = 0; t < kTiles; ++t) mma_m16n8k16<T>(d[t], a, b[t]);
  }
  float total = 0;
  for (int t = 0; t < kTiles; ++t) total += (d[t][0] + d[t][1]) + (d[t][2] + d[t][3]);
  deliver(total, work, flops, result);
}

// A block takes kCopies runs of kThreads vectors: four loads under way a thread.
constexpr int kCopies = 4;

template <class V>
__global__ void __launch_bounds__(kThreads) copy_kernel(const V* __restrict__ x, V* __restrict__ y, int64_t count) {
  constexpr int64_t kChunk = kThreads * kCopies;
  for (int64_t chunk = blockIdx.x * kChunk; chunk < count; chunk += gridDim.x * kChunk) {
    const int64_t first = chunk + threadIdx.x;
    V held[kCopies];
    for (int i = 0; i < kCopies; ++i) {
      if (first + i * kThreads < count) held[i] = x[first + i * kThreads];
    }
    for (int i = 0; i < kCopies; ++i) {
      if (first + i * kThreads < count) y[first + i * kThreads] = held[i];
    }
  }
}

unsigned full_grid(int blocks_each) {
  int device = 0, multiprocessors = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  return grid_for(static_cast<int64_t>(multiprocessors) * blocks_each, 1);
}

template <class V>
void copy(const Stream& stream, const float* x, float* y, int64_t count) {
  if (count == 0) return;
  enqueue(stream, copy_kernel<V>, grid_for(count, kThreads * kCopies), kThreads, 0, reinterpret_cast<const V*>(x), reinterpret_cast<V*>(y), count);
}

}  // namespace

void ceiling_fma(const Stream& stream, int64_t iterations, int64_t* flops, float* result) {
  const unsigned blocks = full_grid(kBlocksEach);
  const int64_t work = iterations * blocks * kThreads * kChains * 2;
  enqueue(stream, fma_kernel, blocks, kThreads, 0, iterations, work, flops, result);
}

void ceiling_mma(const Stream& stream, int32_t dtype, int64_t iterations, int64_t* flops, float* result) {
  const unsigned blocks = full_grid(kMmaBlocksEach);
  const int64_t work = iterations * blocks * (kMmaThreads / 32) * kTiles * kTileFlops;
  // 2^-7 in each half of a register, and the bits of its fraction
  if (dtype == GATUN_BF16) enqueue(stream, mma_kernel<__nv_bfloat16>, blocks, kMmaThreads, 0, 0x3C003C00u, 0x007F007Fu, iterations, work, flops, result);
  else enqueue(stream, mma_kernel<__half>, blocks, kMmaThreads, 0, 0x20002000u, 0x03FF03FFu, iterations, work, flops, result);
}

void ceiling_copy(const Stream& stream, const float* x, float* y, int64_t count) {
  if (!vectors(x, 4, 4) || !vectors(y, 4, 4)) {
    copy<float>(stream, x, y, count);
    return;
  }
  const int64_t whole = count / 4 * 4;
  copy<float4>(stream, x, y, whole / 4);
  copy<float>(stream, x + whole, y + whole, count - whole);
}

}  // namespace gatun

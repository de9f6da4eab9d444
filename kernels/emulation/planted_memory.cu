// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/planted.h"

namespace gatun::planted {
namespace {

__device__ int index() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

__global__ void bounds_global_read(const float* in, float* out) {
  out[index()] = in[index() + 1];  // planted: bounds_global_read
}

__global__ void bounds_global_write(float* out) {
  out[index() - 1] = 1;  // planted: bounds_global_write
}

__global__ void bounds_freed(const float* freed, float* out) {
  out[index()] = freed[index()];  // planted: bounds_freed
}

__global__ void bounds_shared_static(float* out, int shift) {
  __shared__ float line[64];
  line[threadIdx.x + static_cast<unsigned>(shift)] = 1;  // planted: bounds_shared_static
  __syncthreads();
  out[threadIdx.x] = line[63 - threadIdx.x];
}

__global__ void bounds_shared_dynamic(float* out) {
  GATUN_DYNAMIC_SHARED(memory);
  float* line = reinterpret_cast<float*>(memory);
  line[threadIdx.x] = 1;  // planted: bounds_shared_dynamic
  out[threadIdx.x] = line[threadIdx.x];
}

__global__ void bounds_host(const float* host, float* out) {
  out[index()] = *host;  // planted: bounds_host
}

__global__ void bounds_atomic(float* out) {
  atomicAdd(out + index() + 1, 1.0f);  // planted: bounds_atomic
}

__global__ void alignment_vector(const float* in, float* out) {
  const float4 value = *reinterpret_cast<const float4*>(in + index());  // planted: alignment_vector
  out[index()] = value.x;
}

__global__ void race_missing_barrier(float* out) {
  __shared__ float line[64];
  line[threadIdx.x] = 0;
  __syncthreads();
  line[threadIdx.x] = 1;
  out[threadIdx.x] = line[threadIdx.x ^ 32];  // planted: race_missing_barrier
}

__global__ void race_missing_syncwarp(float* out) {
  __shared__ float line[32];
  line[threadIdx.x] = 0;
  __syncwarp();
  line[threadIdx.x] = 1;
  const float shuffled = __shfl_xor_sync(kFullMask, 1.0f, 1);  // orders no memory
  out[threadIdx.x] = line[threadIdx.x ^ 1] + shuffled;         // planted: race_missing_syncwarp
}

__global__ void race_write_after_read(float* out) {
  __shared__ float line[64];
  float total = 0;
  for (int i = 0; i < 3; ++i) {
    line[threadIdx.x] = static_cast<float>(i);  // planted: race_write_after_read
    __syncthreads();
    total += line[63 - threadIdx.x];
  }
  out[threadIdx.x] = total;
}

__global__ void race_partial_syncwarp(float* out) {
  __shared__ float line[32];
  line[threadIdx.x] = 0;
  __syncwarp();
  line[threadIdx.x] = 1;
  __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
  out[threadIdx.x] = threadIdx.x < 16 ? 0.0f : line[threadIdx.x - 16];  // planted: race_partial_syncwarp
}

__global__ void race_named(float* out) {
  __shared__ float line[96];
  line[threadIdx.x] = 0;
  __syncthreads();
  line[threadIdx.x] = 1;
  if (threadIdx.x < 64) barrier_sync(1, 64);
  out[threadIdx.x] = line[(threadIdx.x + 32) % 96];  // planted: race_named
}

__global__ void race_blocks_write(float* out) {
  out[threadIdx.x] = static_cast<float>(blockIdx.x);  // planted: race_blocks_write
}

__global__ void race_blocks_read(float* out) {
  const int other = (index() + 32) % 64;
  const float value = out[other];  // planted: race_blocks_read
  out[index()] = value + 1;
}

__global__ void race_atomic(float* out) {
  atomicAdd(out, 1.0f);
  out[1 + index()] = out[0];  // planted: race_atomic
}

__global__ void race_byte(float* out) {
  __shared__ __align__(4) unsigned char bytes[64];
  unsigned* words = reinterpret_cast<unsigned*>(bytes);
  if (threadIdx.x < 16) words[threadIdx.x] = 0;
  __syncthreads();
  bytes[threadIdx.x] = 1;
  out[threadIdx.x] = static_cast<float>(words[threadIdx.x / 4]);  // planted: race_byte
}

// Right: bytes of one word belong to different threads, words of bytes to one.
__global__ void bytes_kernel(unsigned char* out) {
  __shared__ __align__(4) unsigned char bytes[67];
  for (int round = 0; round < 3; ++round) {
    bytes[threadIdx.x + 3] = static_cast<unsigned char>(threadIdx.x + round);
    __syncthreads();
    out[threadIdx.x] = bytes[66 - threadIdx.x];
    __syncthreads();
    if (threadIdx.x < 16) reinterpret_cast<unsigned*>(bytes)[threadIdx.x] = 0;
    __syncthreads();
  }
}

__device__ void last_block(float* partial, unsigned* finished, bool release, bool acquire) {
  partial[blockIdx.x] = 1;
  if (release) __threadfence();
  const bool last = atomicAdd(finished, 1u) == gridDim.x - 1;
  if (acquire) __threadfence();
  float total = 0;
  for (unsigned i = 0; last && i < gridDim.x; ++i) total += partial[i];  // planted: race_last_block
  if (last) *partial = total;
}
__global__ void race_last_block_no_release(float* partial, unsigned* finished) { last_block(partial, finished, false, true); }
__global__ void race_last_block_no_acquire(float* partial, unsigned* finished) { last_block(partial, finished, true, false); }

__global__ void uninitialised_tail(float* out) {
  __shared__ float line[32];
  if (threadIdx.x < 31) line[threadIdx.x] = 1;
  __syncthreads();
  out[index()] = line[threadIdx.x];  // planted: uninitialised_tail
}

__global__ void uninitialised_counter(float* out) {
  GATUN_DYNAMIC_SHARED(memory);
  int* counter = reinterpret_cast<int*>(memory);
  atomicAdd(counter, 1);  // planted: uninitialised_counter
  __syncthreads();
  out[index()] = static_cast<float>(*counter);
}

__global__ void copy_without_wait(const float* in, float* out) {
  __shared__ __align__(16) float tile[128];
  cp_async<16>(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);
  cp_async_commit();
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];  // planted: copy_without_wait
  cp_async_wait<0>();
}

__global__ void copy_short_wait(const float* in, float* out) {
  __shared__ __align__(16) float tile[2][128];
  for (int stage = 0; stage < 2; ++stage) {
    cp_async<16>(tile[stage] + 4 * threadIdx.x, in + 4 * threadIdx.x);
    cp_async_commit();
  }
  float total = 0;
  for (int stage = 0; stage < 2; ++stage) {
    cp_async_wait<1>();
    __syncthreads();
    total += tile[stage][threadIdx.x];  // planted: copy_short_wait
  }
  out[threadIdx.x] = total;
  cp_async_wait<0>();
}

__global__ void copy_left(const float* in, float* out) {
  __shared__ __align__(16) float tile[128];
  cp_async<16>(tile + 4 * threadIdx.x, in + 4 * threadIdx.x);  // planted: copy_left
  cp_async_commit();
  out[threadIdx.x] = 1;
}

float* freed(size_t count) {
  float* result = memory(count);
  (void)cudaFree(result);
  return result;
}

}  // namespace

cudaError_t clean_bytes() { return launch(bytes_kernel, 1, 64, 0, nullptr, reinterpret_cast<unsigned char*>(memory(16))); }

std::vector<Plant> memory_plants() {
  return {
      {"bounds_global_read", "out of bounds", "ar", [] { (void)launch(bounds_global_read, 2, 32, 0, nullptr, memory(64), memory(64)); }},
      {"bounds_global_write", "out of bounds", "ar", [] { (void)launch(bounds_global_write, 2, 32, 0, nullptr, memory(64)); }},
      {"bounds_freed", "out of bounds", "ar", [] { (void)launch(bounds_freed, 2, 32, 0, nullptr, freed(64), memory(64)); }},
      {"bounds_shared_static", "out of bounds", "a", [] { (void)launch(bounds_shared_static, 1, 64, 0, nullptr, memory(64), 1); }},
      {"bounds_shared_dynamic", "out of bounds", "ar", [] { (void)launch(bounds_shared_dynamic, 1, 64, 60 * sizeof(float), nullptr, memory(64)); }},
      {"bounds_host", "out of bounds", "r", [] { const std::vector<float> host(1); (void)launch(bounds_host, 1, 32, 0, nullptr, host.data(), memory(32)); }},
      {"bounds_atomic", "out of bounds", "par", [] { (void)launch(bounds_atomic, 2, 32, 0, nullptr, memory(64)); }},
      {"alignment_vector", "misaligned address", "a", [] { (void)launch(alignment_vector, 1, 32, 0, nullptr, memory(36), memory(32)); }},
      {"race_missing_barrier", "race", "r", [] { (void)launch(race_missing_barrier, 1, 64, 0, nullptr, memory(64)); }},
      {"race_missing_syncwarp", "race", "r", [] { (void)launch(race_missing_syncwarp, 1, 32, 0, nullptr, memory(32)); }},
      {"race_write_after_read", "race", "r", [] { (void)launch(race_write_after_read, 1, 64, 0, nullptr, memory(64)); }},
      {"race_partial_syncwarp", "race", "r", [] { (void)launch(race_partial_syncwarp, 1, 32, 0, nullptr, memory(32)); }},
      {"race_named", "race", "r", [] { (void)launch(race_named, 1, 96, 0, nullptr, memory(96)); }},
      {"race_blocks_write", "race", "r", [] { (void)launch(race_blocks_write, 2, 32, 0, nullptr, memory(32)); }},
      {"race_blocks_read", "race", "r", [] { (void)launch(race_blocks_read, 2, 32, 0, nullptr, memory(64)); }},
      {"race_atomic", "race", "r", [] { (void)launch(race_atomic, 2, 32, 0, nullptr, memory(65)); }},
      {"race_byte", "race", "r", [] { (void)launch(race_byte, 1, 64, 0, nullptr, memory(64)); }},
      {"race_last_block", "race", "r", [] { (void)launch(race_last_block_no_release, 3, 1, 0, nullptr, memory(3), reinterpret_cast<unsigned*>(memory(1))); }},
      {"race_last_block", "race", "r", [] { (void)launch(race_last_block_no_acquire, 3, 1, 0, nullptr, memory(3), reinterpret_cast<unsigned*>(memory(1))); }},
      {"uninitialised_tail", "uninitialised shared memory", "r", [] { (void)launch(uninitialised_tail, 2, 32, 0, nullptr, memory(64)); }},
      {"uninitialised_counter", "uninitialised shared memory", "r", [] { (void)launch(uninitialised_counter, 2, 32, 4, nullptr, memory(64)); }},
      {"copy_without_wait", "missing wait for a copy", "r", [] { (void)launch(copy_without_wait, 1, 32, 0, nullptr, memory(128), memory(32)); }},
      {"copy_short_wait", "missing wait for a copy", "r", [] { (void)launch(copy_short_wait, 1, 32, 0, nullptr, memory(128), memory(32)); }},
      {"copy_left", "missing wait for a copy", "par", [] { (void)launch(copy_left, 1, 32, 0, nullptr, memory(128), memory(32)); }},
  };
}

}  // namespace gatun::planted

// SPDX-License-Identifier: Apache-2.0
// Bugs around mbarriers, bulk copies and wgmma. One scaffold: a block copies or writes tiles of 64 x 64, a warpgroup multiplies them.
#include "kernels/common/tensor_tile.h"
#include "kernels/emulation/planted.h"
#include "kernels/emulation/wgmma.h"

namespace gatun::planted {
namespace {

using T = __nv_bfloat16;
constexpr unsigned kTileBytes = 64 * 64 * sizeof(T);

struct Memory {
  T *a, *b;
  uint64_t* barrier;  // two
  __host__ __device__ explicit Memory(Carve& carve) : a(carve.take<T>(64 * 64, 1024)), b(carve.take<T>(64 * 64, 1024)), barrier(carve.take<uint64_t>(2)) {}
};

__device__ __forceinline__ Memory memory_of_block() {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  return Memory(carve);
}

__device__ __forceinline__ void begin(const Memory& memory, unsigned count) {
  if (threadIdx.x == 0) {
    mbarrier_init(memory.barrier, count);
    mbarrier_init(memory.barrier + 1, count);
    mbarrier_init_fence();
  }
  __syncthreads();
}

__device__ __forceinline__ void fetch(const Memory& memory, const TensorMap& map) {
  if (threadIdx.x != 0) return;
  mbarrier_arrive_expect(memory.barrier, 2 * kTileBytes);
  copy_tile(memory.a, map, memory.barrier, {0, 0});
  copy_tile(memory.b, map, memory.barrier, {0, 64});
}

__device__ __forceinline__ void multiply(const Memory& memory, float (&d)[32], int from = 0, int to = 4) {
  for (int i = from; i < to; ++i) wgmma<T, 64>(d, operand(memory.a + i * 16), operand(memory.b + i * 16), i > 0);
}

__device__ __forceinline__ float total(const float (&d)[32]) {
  float sum = 0;
  for (int i = 0; i < 32; ++i) sum += d[i];
  return sum;
}

#define GATUN_PLANT(NAME) __global__ void NAME([[maybe_unused]] const __grid_constant__ TensorMap map, float* out)

// ---- mbarriers
GATUN_PLANT(phase_uninitialised_wait) {
  const Memory memory = memory_of_block();
  mbarrier_wait(memory.barrier, 0);  // planted: phase_uninitialised_wait
  out[threadIdx.x] = 1;
}
GATUN_PLANT(phase_uninitialised_arrive) {
  const Memory memory = memory_of_block();
  if (threadIdx.x == 0) mbarrier_init(memory.barrier, 1);
  __syncthreads();
  if (threadIdx.x == 0) mbarrier_arrive(memory.barrier + 1);  // planted: phase_uninitialised_arrive
  out[threadIdx.x] = 1;
}
GATUN_PLANT(phase_overwritten) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 1) memory.barrier[0] = 0;
  __syncthreads();
  mbarrier_wait(memory.barrier, 1);  // planted: phase_overwritten
  out[threadIdx.x] = 1;
}
GATUN_PLANT(phase_too_many_arrivals) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x < 2) mbarrier_arrive_expect(memory.barrier, kTileBytes);  // planted: phase_too_many_arrivals
  out[threadIdx.x] = 1;
}
GATUN_PLANT(phase_missing_expect) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) {
    copy_tile(memory.a, map, memory.barrier, {0, 0});  // planted: phase_missing_expect
    mbarrier_arrive(memory.barrier);
  }
  mbarrier_wait(memory.barrier, 0);
  out[threadIdx.x] = memory.a[threadIdx.x];
}
GATUN_PLANT(phase_short_expect) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(memory.barrier, kTileBytes);
    copy_tile(memory.a, map, memory.barrier, {0, 0});
    copy_tile(memory.b, map, memory.barrier, {0, 64});  // planted: phase_short_expect
  }
  mbarrier_wait(memory.barrier, 0);
  out[threadIdx.x] = memory.a[threadIdx.x];
}
GATUN_PLANT(phase_parity_kept) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  for (int round = 0; round < 3; ++round) {
    __syncthreads();
    if (round < 2) fetch(memory, map);
    mbarrier_wait(memory.barrier, 0);  // planted: phase_parity_kept
    out[threadIdx.x] = memory.a[threadIdx.x];
  }
}
GATUN_PLANT(phase_first_parity) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  for (int round = 0; round < 2; ++round) {
    mbarrier_wait(memory.barrier, 1);  // planted: phase_first_parity
    out[threadIdx.x] = 1;
  }
}
GATUN_PLANT(deadlock_expect) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(memory.barrier, 2 * kTileBytes);
    copy_tile(memory.a, map, memory.barrier, {0, 0});
  }
  mbarrier_wait(memory.barrier, 0);  // planted: deadlock_expect
  out[threadIdx.x] = memory.a[threadIdx.x];
}
GATUN_PLANT(deadlock_arrivals) {
  const Memory memory = memory_of_block();
  begin(memory, 5);
  if (threadIdx.x % 32 == 0) mbarrier_arrive(memory.barrier);
  mbarrier_wait(memory.barrier, 0);  // planted: deadlock_arrivals
  out[threadIdx.x] = 1;
}

// ---- Bulk copies
GATUN_PLANT(bulk_without_wait) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  fetch(memory, map);
  __syncthreads();
  out[threadIdx.x] = memory.a[threadIdx.x];  // planted: bulk_without_wait
  mbarrier_wait(memory.barrier, 0);
}
GATUN_PLANT(bulk_one_lane_waits) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  fetch(memory, map);
  if (threadIdx.x % 32 == 0) mbarrier_wait(memory.barrier, 0);
  const float shuffled = __shfl_sync(kFullMask, 1.0f, 0);  // orders no memory
  out[threadIdx.x] = static_cast<float>(memory.a[threadIdx.x]) + shuffled;  // planted: bulk_one_lane_waits
}
GATUN_PLANT(bulk_left) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expect(memory.barrier, 2 * kTileBytes);
    copy_tile(memory.a, map, memory.barrier, {0, 0});  // planted: bulk_left
  }
  out[threadIdx.x] = 1;
}
GATUN_PLANT(bulk_over_readers) {
  __shared__ unsigned readers;
  const Memory memory = memory_of_block();
  if (threadIdx.x == 0) readers = 0;
  begin(memory, 1);
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 0) {
      while (round > 0 && atomicAdd(&readers, 0u) < 128) {}  // a relaxed atomic orders nothing
      mbarrier_arrive_expect(memory.barrier, kTileBytes);
      copy_tile(memory.a, map, memory.barrier, {0, 0});  // planted: bulk_over_readers
    }
    mbarrier_wait(memory.barrier, round % 2);
    out[threadIdx.x] = memory.a[threadIdx.x];
    atomicAdd(&readers, 1u);
  }
}
GATUN_PLANT(bulk_destination) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) copy_tile(memory.b + 64 * 64, map, memory.barrier, {0, 0});  // planted: bulk_destination
  out[threadIdx.x] = 1;
}
GATUN_PLANT(bulk_source) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) copy_tile(memory.a, map, memory.barrier, {0, 100});  // planted: bulk_source
  out[threadIdx.x] = 1;
}
GATUN_PLANT(bulk_alignment) {
  const Memory memory = memory_of_block();
  begin(memory, 1);
  if (threadIdx.x == 0) copy_tile(memory.a + 64, map, memory.barrier, {0, 0});  // planted: bulk_alignment
  out[threadIdx.x] = 1;
}
GATUN_PLANT(proxy_initialisation) {
  const Memory memory = memory_of_block();
  if (threadIdx.x == 0) mbarrier_init(memory.barrier, 1);
  __syncthreads();
  if (threadIdx.x == 0) copy_tile(memory.a, map, memory.barrier, {0, 0});  // planted: proxy_initialisation
  out[threadIdx.x] = 1;
}

// ---- Products. `bad` is what each does wrong.
enum Bad { kNoProxyFence, kEarlyProxyFence, kNoFence, kNoSecondFence, kReadEarly, kShortWait, kWritten, kLeft, kOneWarpLess, kLanesDiffer, kOwnRows,
           kOverwritten, kIssuedEarly, kMisaligned, kBeyond };

template <Bad bad>
__device__ __forceinline__ void product(const TensorMap& map, float* out) {
  const Memory memory = memory_of_block();
  const int warp = static_cast<int>(threadIdx.x / 32);
  float d[32] = {};
  begin(memory, 1);
  if (bad == kNoProxyFence || bad == kEarlyProxyFence) {
    if (bad == kEarlyProxyFence) proxy_fence();
    for (unsigned i = threadIdx.x; i < 64 * 64; i += 128) memory.a[i] = memory.b[i] = T(1.0f);
    __syncthreads();
  } else {
    fetch(memory, map);
    if (bad == kIssuedEarly) __syncthreads();
    else mbarrier_wait(memory.barrier, 0);
  }
  if (bad != kNoFence) wgmma_fence();
  if (bad == kNoSecondFence) {
    multiply(memory, d, 0, 2);
    wgmma_commit();
    wgmma<T, 64>(d, operand(memory.a + 32), operand(memory.b + 32), true);  // planted: wgmma_no_second_fence
  } else if (bad == kOneWarpLess) {
    if (warp != 2) multiply(memory, d);
  } else if (bad == kLanesDiffer) {
    wgmma<T, 64>(d, operand(memory.a + threadIdx.x % 2 * 16), operand(memory.b), false);  // planted: wgmma_lanes_differ
  } else if (bad == kOwnRows) {
    wgmma<T, 64>(d, operand(memory.a + warp * 16), operand(memory.b), false);  // planted: wgmma_own_rows
  } else if (bad == kMisaligned) {
    wgmma<T, 64>(d, operand(memory.a + 64), operand(memory.b), false);  // planted: wgmma_misaligned
  } else if (bad == kBeyond) {
    wgmma<T, 64, false, true>(d, operand(memory.a), operand(memory.b + 64 * 64), false);  // planted: wgmma_beyond
  } else {
    for (int i = 0; i < 4; ++i) wgmma<T, 64>(d, operand(memory.a + i * 16), operand(memory.b + i * 16), i > 0);  // planted: wgmma_products
  }
  wgmma_commit();
  if (bad == kOverwritten) {
    if (threadIdx.x == 97) memory.b[5] = T(2.0f);  // planted: wgmma_overwritten
  }
  if (bad == kReadEarly) out[threadIdx.x] = d[3];  // planted: wgmma_read_early
  if (bad == kWritten) d[7] = 0;
  if (bad == kShortWait) {
    wgmma_wait<1>();
    out[threadIdx.x] = d[5];  // planted: wgmma_short_wait
  }
  if (bad == kLeft) return;
  wgmma_wait<0>();  // planted: wgmma_written
  out[threadIdx.x] = total(d);
}
GATUN_PLANT(proxy_no_fence) { product<kNoProxyFence>(map, out); }
GATUN_PLANT(proxy_early_fence) { product<kEarlyProxyFence>(map, out); }
GATUN_PLANT(wgmma_no_fence) { product<kNoFence>(map, out); }
GATUN_PLANT(wgmma_no_second_fence) { product<kNoSecondFence>(map, out); }
GATUN_PLANT(wgmma_read_early) { product<kReadEarly>(map, out); }
GATUN_PLANT(wgmma_short_wait) { product<kShortWait>(map, out); }
GATUN_PLANT(wgmma_written) { product<kWritten>(map, out); }
GATUN_PLANT(wgmma_left) { product<kLeft>(map, out); }
GATUN_PLANT(wgmma_one_warp_less) { product<kOneWarpLess>(map, out); }
GATUN_PLANT(wgmma_lanes_differ) { product<kLanesDiffer>(map, out); }
GATUN_PLANT(wgmma_own_rows) { product<kOwnRows>(map, out); }
GATUN_PLANT(wgmma_overwritten) { product<kOverwritten>(map, out); }
GATUN_PLANT(wgmma_issued_early) { product<kIssuedEarly>(map, out); }
GATUN_PLANT(wgmma_misaligned) { product<kMisaligned>(map, out); }
GATUN_PLANT(wgmma_beyond) { product<kBeyond>(map, out); }

using Kernel = void (*)(TensorMap, float*);
// The tensor is described with so many rows more than it has.
template <Kernel K, int More = 0>
void run() {
  const T* tensor = reinterpret_cast<const T*>(memory(128 * 64 / 2));
  const uint64_t size[2] = {64, 128 + More}, stride[1] = {128};
  TensorMap map;
  if (make_tensor_map(map, tensor, 2, size, stride, 64) != cudaSuccess) return;
  Carve carve(nullptr);
  const Memory shared(carve);
  (void)launch(K, 1, 128, carve.bytes(), nullptr, map, memory(128));
}

}  // namespace

std::vector<Plant> hopper_plants() {
  return {
      {"phase_uninitialised_wait", "wrong mbarrier use", "pa", run<phase_uninitialised_wait>},
      {"phase_uninitialised_arrive", "wrong mbarrier use", "pa", run<phase_uninitialised_arrive>},
      {"phase_uninitialised_wait", "uninitialised shared memory", "r", run<phase_uninitialised_wait>},
      {"phase_overwritten", "wrong mbarrier use", "par", run<phase_overwritten>},
      {"phase_too_many_arrivals", "wrong mbarrier use", "par", run<phase_too_many_arrivals>},
      {"phase_missing_expect", "wrong mbarrier use", "par", run<phase_missing_expect>},
      {"phase_short_expect", "wrong mbarrier use", "par", run<phase_short_expect>},
      {"phase_parity_kept", "wrong mbarrier use", "par", run<phase_parity_kept>},
      {"phase_first_parity", "wrong mbarrier use", "par", run<phase_first_parity>},
      {"deadlock_expect", "deadlock", "par", run<deadlock_expect>},
      {"deadlock_arrivals", "deadlock", "par", run<deadlock_arrivals>},
      {"bulk_without_wait", "missing wait for a copy", "r", run<bulk_without_wait>},
      {"bulk_one_lane_waits", "race", "r", run<bulk_one_lane_waits>},
      {"bulk_left", "missing wait for a copy", "par", run<bulk_left>},
      {"bulk_over_readers", "race", "r", run<bulk_over_readers>},
      {"bulk_destination", "out of bounds", "par", run<bulk_destination>},
      {"bulk_source", "out of bounds", "par", run<bulk_source, 64>},
      {"bulk_alignment", "misaligned address", "par", run<bulk_alignment>},
      {"proxy_initialisation", "missing proxy fence", "par", run<proxy_initialisation>},
      {"proxy_no_fence", "missing proxy fence", "r", run<proxy_no_fence>, "wgmma_products"},
      {"proxy_early_fence", "missing proxy fence", "r", run<proxy_early_fence>, "wgmma_products"},
      {"wgmma_no_fence", "wrong wgmma use", "par", run<wgmma_no_fence>, "wgmma_products"},
      {"wgmma_no_second_fence", "wrong wgmma use", "par", run<wgmma_no_second_fence>},
      {"wgmma_read_early", "wrong wgmma use", "r", run<wgmma_read_early>},
      {"wgmma_short_wait", "wrong wgmma use", "r", run<wgmma_short_wait>},
      {"wgmma_written", "wrong wgmma use", "pa", run<wgmma_written>},
      {"wgmma_left", "wrong wgmma use", "par", run<wgmma_left>, "wgmma_products"},
      {"wgmma_one_warp_less", "wrong wgmma use", "par", run<wgmma_one_warp_less>, ""},
      {"wgmma_lanes_differ", "wrong wgmma use", "par", run<wgmma_lanes_differ>},
      {"wgmma_own_rows", "wrong wgmma use", "par", run<wgmma_own_rows>},
      {"wgmma_overwritten", "race", "r", run<wgmma_overwritten>},
      {"wgmma_issued_early", "missing wait for a copy", "r", run<wgmma_issued_early>, "wgmma_products"},
      {"wgmma_misaligned", "misaligned address", "par", run<wgmma_misaligned>},
      {"wgmma_beyond", "out of bounds", "par", run<wgmma_beyond>},
  };
}

}  // namespace gatun::planted

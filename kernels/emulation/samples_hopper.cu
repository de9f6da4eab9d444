// SPDX-License-Identifier: Apache-2.0
// A matrix product as sm_90a likes it: one warp copies tiles in a ring of stages, a warpgroup multiplies them, barriers of each stage tell
// the one what is full and the other what is empty.
#include "kernels/common/tensor_tile.h"
#include "kernels/emulation/samples.h"
#include "kernels/emulation/wgmma.h"

namespace gatun::samples {
namespace {

constexpr int kM = 64, kK = 64, kStages = 2, kConsumers = 128, kThreads = kConsumers + 32;

template <class T, int N>
struct Stages {
  T *a, *b;
  uint64_t *full, *empty;
  __host__ __device__ explicit Stages(Carve& carve)
      : a(carve.take<T>(kStages * kM * kK, 1024)), b(carve.take<T>(kStages * kColumns * kK, 1024)), full(carve.take<uint64_t>(kStages)),
        empty(carve.take<uint64_t>(kStages)) {}
  // Of a transposed b: whole tiles of 64 columns.
  static constexpr int kColumns = (N + 63) / 64 * 64;
};

template <class T, int N, bool TransposeA, bool TransposeB, bool RegistersA>
__global__ void __launch_bounds__(kThreads) gemm_kernel(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
                                                        float* __restrict__ c, int m, int n, int k) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Stages<T, N> stages(carve);
  constexpr int kColumns = Stages<T, N>::kColumns;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int row0 = static_cast<int>(blockIdx.y) * kM, column0 = static_cast<int>(blockIdx.x) * N, steps = (k + kK - 1) / kK;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(stages.full + stage, 1);
      mbarrier_init(stages.empty + stage, kConsumers / 32);
    }
    mbarrier_init_fence();
  }
  __syncthreads();
  if (warp == kConsumers / 32) {
    if (lane == 0) {
      constexpr unsigned kBytes = (kM + (TransposeB ? kColumns : N)) * kK * sizeof(T);
      for (int step = 0; step < steps; ++step) {
        const int stage = step % kStages;
        mbarrier_wait(stages.empty + stage, step / kStages % 2 ^ 1);
        mbarrier_arrive_expect(stages.full + stage, kBytes);
        T* const a = stages.a + stage * kM * kK;
        T* const b = stages.b + stage * kColumns * kK;
        if constexpr (TransposeA) copy_tile(a, map_a, stages.full + stage, {row0, step * kK});
        else copy_tile(a, map_a, stages.full + stage, {step * kK, row0});
        if constexpr (TransposeB) {
          for (int j = 0; j < kColumns; j += 64) copy_tile(b + j * kK, map_b, stages.full + stage, {column0 + j, step * kK});
        } else {
          copy_tile(b, map_b, stages.full + stage, {step * kK, column0});
        }
      }
    }
    return;
  }
  float d[N / 2];
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages;
    const T* const a = stages.a + stage * kM * kK;
    const T* const b = stages.b + stage * kColumns * kK;
    mbarrier_wait(stages.full + stage, step / kStages % 2);
    uint32_t fragments[kK / 16][4];
    if constexpr (RegistersA) {
GATUN_UNROLL
      for (int i = 0; i < kK / 16; ++i) load_a<kK>(fragments[i], a, warp * 16, i * 16);
    }
    wgmma_fence();
GATUN_UNROLL
    for (int i = 0; i < kK / 16; ++i) {
      const uint64_t operand_b = TransposeB ? operand(b + i * 16 * 64, 64 * kK * sizeof(T)) : operand(b + i * 16);
      if constexpr (RegistersA) wgmma<T, N, TransposeB>(d, fragments[i], operand_b, step + i > 0);
      else wgmma<T, N, TransposeA, TransposeB>(d, operand(a + i * 16 * (TransposeA ? 64 : 1)), operand_b, step + i > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    hold_registers(d);
    if constexpr (RegistersA) __syncwarp();  // all lanes have read theirs
    if (lane == 0) mbarrier_arrive(stages.empty + stage);
  }
GATUN_UNROLL
  for (int i = 0; i < N / 2; ++i) {
    const int row = row0 + warp * 16 + lane / 4 + i / 2 % 2 * 8, column = column0 + i / 4 * 8 + lane % 4 * 2 + i % 2;
    if (row < m && column < n) c[static_cast<int64_t>(row) * n + column] = d[i];
  }
}

template <class T, int N, bool TransposeA, bool TransposeB, bool RegistersA>
cudaError_t run(const T* a, const T* b, float* c, int m, int n, int k, cudaStream_t stream) {
  TensorMap map_a, map_b;
  const auto describe = [](TensorMap& map, const T* base, int rows, int columns, unsigned tile_rows) {
    const uint64_t size[2] = {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)}, stride[1] = {size[0] * sizeof(T)};
    return make_tensor_map(map, base, 2, size, stride, tile_rows);
  };
  if (const cudaError_t error = TransposeA ? describe(map_a, a, k, m, kK) : describe(map_a, a, m, k, kM); error != cudaSuccess) return error;
  if (const cudaError_t error = TransposeB ? describe(map_b, b, k, n, kK) : describe(map_b, b, n, k, N); error != cudaSuccess) return error;
  Carve carve(nullptr);
  const Stages<T, N> stages(carve);
  const dim3 grid(static_cast<unsigned>((n + N - 1) / N), static_cast<unsigned>((m + kM - 1) / kM));
  return launch(gemm_kernel<T, N, TransposeA, TransposeB, RegistersA>, grid, kThreads, carve.bytes(), stream, map_a, map_b, c, m, n, k);
}

}  // namespace

template <class T>
cudaError_t hopper_gemm(const T* a, const T* b, float* c, int m, int n, int k, HopperGemm form, cudaStream_t stream) {
  switch (form) {
    case HopperGemm::kPlain: return run<T, 64, false, false, false>(a, b, c, m, n, k, stream);
    case HopperGemm::kTransposedB: return run<T, 96, false, true, false>(a, b, c, m, n, k, stream);
    case HopperGemm::kTransposedBoth: return run<T, 128, true, true, false>(a, b, c, m, n, k, stream);
    case HopperGemm::kRegisters: return run<T, 128, false, false, true>(a, b, c, m, n, k, stream);
    case HopperGemm::kRegistersTransposedB: return run<T, 64, false, true, true>(a, b, c, m, n, k, stream);
  }
  return cudaErrorInvalidValue;
}
template cudaError_t hopper_gemm(const __nv_bfloat16*, const __nv_bfloat16*, float*, int, int, int, HopperGemm, cudaStream_t);
template cudaError_t hopper_gemm(const __half*, const __half*, float*, int, int, int, HopperGemm, cudaStream_t);

}  // namespace gatun::samples

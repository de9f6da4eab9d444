// SPDX-License-Identifier: Apache-2.0
// bf16 and f16 on tensor cores: 128 x 128 of c by four warps, each 64 x 64 in registers; 32 of k a step, four steps of a and b in shared
// memory, three of them under way while one is multiplied, one barrier a step.
#include "kernels/common/tensor_tile.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_raster.h"

namespace gatun {
namespace {

constexpr int kThreads = 128, kTile = 128, kK = 32, kStages = 4, kWarpTile = 64;
constexpr int kTileElements = kTile * kK;

struct HalfProblem {
  const void *a, *b;
  void* c;
  int64_t lda, ldb, ldc;
  int m, n, k;
  float alpha, beta;
  bool aligned_a, aligned_b, aligned_c;  // 16 bytes at a time
  bool float_c;
};

template <class T>
struct Stages {
  T *a, *b;
  __host__ __device__ explicit Stages(Carve& carve)
      : a(carve.take<T>(kStages * kTileElements, 1024)), b(carve.take<T>(kStages * kTileElements, 1024)) {}
};

// One step of an operand into its stage. Rows are contiguous: Outer rows of k, or k rows of Outer.
template <bool KContiguous, class T>
__device__ __forceinline__ void load_operand(T* stage, const T* data, int64_t leading, int outer0, int outer, int k0, int k, bool aligned) {
  constexpr int kRows = KContiguous ? kTile : kK, kColumns = KContiguous ? kK : kTile;
  const int row0 = KContiguous ? outer0 : k0, column0 = KContiguous ? k0 : outer0;
  const int rows = (KContiguous ? outer : k) - row0, columns = (KContiguous ? k : outer) - column0;
  const T* from = data + row0 * leading + column0;
  const int thread = static_cast<int>(threadIdx.x);
  if (aligned) load_tile<kRows, kColumns, kThreads>(stage, from, leading, rows, columns, thread);
  else load_tile_unaligned<kRows, kColumns, kThreads>(stage, from, leading, rows, columns, thread);
}

template <class T, bool TransposedA, bool TransposedB>
__device__ __forceinline__ void multiply(float (&d)[4][8][4], const T* tile_a, const T* tile_b, int warp_row, int warp_column) {
  GATUN_UNROLL
  for (int kk = 0; kk < kK; kk += 16) {
    uint32_t a[4][4], b[4][2][2];
    GATUN_UNROLL
    for (int i = 0; i < 4; ++i) {
      if constexpr (TransposedA) load_a_transposed<kTile>(a[i], tile_a, kk, warp_row + i * 16);
      else load_a<kK>(a[i], tile_a, warp_row + i * 16, kk);
    }
    GATUN_UNROLL
    for (int j = 0; j < 4; ++j) {
      if constexpr (TransposedB) load_b<kK>(b[j], tile_b, warp_column + j * 16, kk);
      else load_b_transposed<kTile>(b[j], tile_b, kk, warp_column + j * 16);
    }
    GATUN_UNROLL
    for (int i = 0; i < 4; ++i) {
      GATUN_UNROLL
      for (int j = 0; j < 8; ++j) mma_m16n8k16<T>(d[i][j], a[i], b[j / 2][j % 2]);
    }
  }
}

// c of one row and Run columns; Run of C are 16 bytes.
template <class C, int Run>
__device__ __forceinline__ void write_run(const HalfProblem& p, int row, int column, const float (&values)[Run]) {
  struct alignas(16) Piece {
    C element[Run];
  };
  if (row >= p.m || column >= p.n) return;
  C* const to = static_cast<C*>(p.c) + row * p.ldc + column;
  const auto result = [&](int e, const C& old) {
    const float product = p.k == 0 ? 0.0f : p.alpha * values[e];
    return C(p.beta == 0.0f ? product : fmaf(p.beta, static_cast<float>(old), product));
  };
  if (p.aligned_c && column + Run <= p.n) {
    Piece piece{};
    if (p.beta != 0.0f) piece = *reinterpret_cast<const Piece*>(to);
    GATUN_UNROLL
    for (int e = 0; e < Run; ++e) piece.element[e] = result(e, piece.element[e]);
    *reinterpret_cast<Piece*>(to) = piece;
  } else {
    for (int e = 0; e < Run; ++e) {
      if (column + e < p.n) to[e] = result(e, p.beta == 0.0f ? C(0.0f) : to[e]);
    }
  }
}

template <class T, bool TransposedA, bool TransposedB>
__global__ void __launch_bounds__(kThreads, 2) half_kernel(const HalfProblem p) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Stages<T> stages(carve);
  const TilePlace place = tile_place(static_cast<int>(blockIdx.x), (p.m + kTile - 1) / kTile, (p.n + kTile - 1) / kTile);
  const int row0 = place.row * kTile, column0 = place.column * kTile;
  const int warp = static_cast<int>(threadIdx.x / 32), warp_row = warp / 2 * kWarpTile, warp_column = warp % 2 * kWarpTile;
  const int steps = (p.k + kK - 1) / kK;

  const auto load = [&](int step) {
    if (step < steps) {
      const int slot = step % kStages * kTileElements;
      load_operand<!TransposedA>(stages.a + slot, static_cast<const T*>(p.a), p.lda, row0, p.m, step * kK, p.k, p.aligned_a);
      load_operand<TransposedB>(stages.b + slot, static_cast<const T*>(p.b), p.ldb, column0, p.n, step * kK, p.k, p.aligned_b);
    }
    cp_async_commit();  // an empty group at the end: each step waits for the same number
  };
  for (int step = 0; step < kStages - 1; ++step) load(step);
  float d[4][8][4] = {};
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this step has come for all; what the last one read may be overwritten
    load(step + kStages - 1);
    const int slot = step % kStages * kTileElements;
    multiply<T, TransposedA, TransposedB>(d, stages.a + slot, stages.b + slot, warp_row, warp_column);
  }
  cp_async_wait<0>();
  __syncthreads();

  Carve again(memory);
  float* const stage = again.take<float>(kThreads / 32 * kUnloadFloats<kWarpTile>) + warp * kUnloadFloats<kWarpTile>;
  GATUN_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int top = row0 + warp_row + i * 16, left = column0 + warp_column;
    if (p.float_c) {
      unload_accumulators<4, kWarpTile>(stage, d[i], [&](int row, int column, const float (&values)[4]) { write_run<float>(p, top + row, left + column, values); });
    } else {
      unload_accumulators<8, kWarpTile>(stage, d[i], [&](int row, int column, const float (&values)[8]) { write_run<T>(p, top + row, left + column, values); });
    }
  }
}

template <class T>
void launch_half(const Stream& stream, const GemmCall& call, const HalfProblem& problem) {
  Carve carve(nullptr);
  const Stages<T> stages(carve);
  const auto kernel = call.a.transposed ? (call.b.transposed ? half_kernel<T, true, true> : half_kernel<T, true, false>)
                                        : (call.b.transposed ? half_kernel<T, false, true> : half_kernel<T, false, false>);
  enqueue(stream, kernel, tile_count(problem.m, problem.n, kTile), kThreads, carve.bytes(), problem);
}

}  // namespace

void gemm_half(const Stream& stream, const GemmCall& call) {
  const auto aligned = [](const void* data, int64_t leading, int64_t bytes) {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && leading * bytes % 16 == 0;
  };
  const bool float_c = call.c_dtype == GATUN_F32;
  const HalfProblem problem{call.a.data, call.b.data, call.c, call.a.leading, call.b.leading, call.ldc, static_cast<int>(call.shape.m),
                            static_cast<int>(call.shape.n), static_cast<int>(call.shape.k), call.alpha, call.beta,
                            aligned(call.a.data, call.a.leading, 2), aligned(call.b.data, call.b.leading, 2),
                            aligned(call.c, call.ldc, float_c ? 4 : 2), float_c};
  if (call.dtype == GATUN_BF16) launch_half<__nv_bfloat16>(stream, call, problem);
  else launch_half<__half>(stream, call, problem);
}

}  // namespace gatun

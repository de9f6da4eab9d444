// SPDX-License-Identifier: Apache-2.0
// f32 by FMA: 128 x 128 of c by 256 threads, each 8 x 8 in registers; 8 of k a step in shared memory, the next one on its way in registers.
// A product with few tiles takes 64 x 64, so that more multiprocessors have work. k is added in order, so the bits do not depend on tiles.
#include "kernels/gemm/gemm.h"

#include "kernels/common/cuda.h"
#include "kernels/gemm/gemm_raster.h"

namespace gatun {
namespace {

constexpr int kThreads = 256;
// Below as many tiles of 128 x 128 a large GPU's multiprocessors are not filled. The emulated device takes them from its largest grid on.
constexpr unsigned kFewTiles = kMaxGrid < 192 ? static_cast<unsigned>(kMaxGrid) : 192;

struct FloatOperand {
  const float* data;
  int64_t leading;
  int outer;          // m or n
  bool k_contiguous;  // stored (outer, k), else (k, outer)
  bool aligned;       // four at a time
};

struct FloatProblem {
  FloatOperand a, b;
  float* c;
  int64_t ldc;
  int k;
  float alpha, beta;
  bool aligned_c;
};

// In shared memory a and b both lie as (k, outer): a thread's 8 rows and 8 columns are then neighbours. 4 more keep the rows of k that a warp
// writes at once in different banks.
template <int Tile>
struct FloatTiles {
  static constexpr int kK = 1024 / Tile, kPitch = Tile + 4, kStage = kK * kPitch;
  float *a, *b;
  __host__ __device__ explicit FloatTiles(Carve& carve) : a(carve.take<float>(2 * kStage)), b(carve.take<float>(2 * kStage)) {}
};

// A thread's four elements of a step: neighbours in memory.
template <int Tile>
struct Piece {
  static constexpr int kK = FloatTiles<Tile>::kK;
  int outer, k;

  __device__ __forceinline__ explicit Piece(bool k_contiguous) {
    const int thread = static_cast<int>(threadIdx.x);
    outer = k_contiguous ? thread / (kK / 4) : thread % (Tile / 4) * 4;
    k = k_contiguous ? thread % (kK / 4) * 4 : thread / (Tile / 4);
  }

  __device__ __forceinline__ float4 load(const FloatOperand& operand, int outer0, int k0, int k_end) const {
    const int o = outer0 + outer, kk = k0 + k;
    const int count = operand.k_contiguous ? (o < operand.outer ? k_end - kk : 0) : (kk < k_end ? operand.outer - o : 0);
    const float* from = operand.data + (operand.k_contiguous ? o * operand.leading + kk : kk * operand.leading + o);
    if (operand.aligned && count >= 4) return *reinterpret_cast<const float4*>(from);
    return make_float4(count > 0 ? from[0] : 0.0f, count > 1 ? from[1] : 0.0f, count > 2 ? from[2] : 0.0f, count > 3 ? from[3] : 0.0f);
  }

  __device__ __forceinline__ void store(float* tile, bool k_contiguous, const float4& v) const {
    constexpr int kPitch = FloatTiles<Tile>::kPitch;
    float* const to = tile + k * kPitch + outer;
    if (k_contiguous) {
      to[0] = v.x, to[kPitch] = v.y, to[2 * kPitch] = v.z, to[3 * kPitch] = v.w;
    } else {
      *reinterpret_cast<float4*>(to) = v;
    }
  }
};

__device__ __forceinline__ void unpack(const float4& v, float* to) { to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w; }

template <int Tile>
__global__ void __launch_bounds__(kThreads, 2) float_kernel(const FloatProblem p) {
  using Tiles = FloatTiles<Tile>;
  constexpr int kQuads = Tile / 64;  // groups of 4 rows and of 4 columns of a thread
  constexpr int kK = Tiles::kK;
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Tiles tiles(carve);
  const TilePlace place = tile_place(static_cast<int>(blockIdx.x), (p.a.outer + Tile - 1) / Tile, (p.b.outer + Tile - 1) / Tile);
  const int row0 = place.row * Tile, column0 = place.column * Tile;
  // 8 lanes along the columns, 4 along the rows: what a warp reads of a tile at once is 128 bytes or less.
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int row = warp / 2 * (16 * kQuads) + lane / 8 * 4, column = warp % 2 * (32 * kQuads) + lane % 8 * 4;

  const Piece<Tile> piece_a(p.a.k_contiguous), piece_b(p.b.k_contiguous);
  const int steps = (p.k + kK - 1) / kK;
  float4 next_a{}, next_b{};
  if (steps > 0) {
    piece_a.store(tiles.a, p.a.k_contiguous, piece_a.load(p.a, row0, 0, p.k));
    piece_b.store(tiles.b, p.b.k_contiguous, piece_b.load(p.b, column0, 0, p.k));
  }
  __syncthreads();
  float sum[4 * kQuads][4 * kQuads] = {};
  for (int step = 0; step < steps; ++step) {
    const bool more = step + 1 < steps;
    if (more) {
      next_a = piece_a.load(p.a, row0, (step + 1) * kK, p.k);
      next_b = piece_b.load(p.b, column0, (step + 1) * kK, p.k);
    }
    const float* tile_a = tiles.a + step % 2 * Tiles::kStage;
    const float* tile_b = tiles.b + step % 2 * Tiles::kStage;
    GATUN_UNROLL
    for (int k = 0; k < kK; ++k) {
      float a[4 * kQuads], b[4 * kQuads];
      GATUN_UNROLL
      for (int q = 0; q < kQuads; ++q) {
        unpack(*reinterpret_cast<const float4*>(tile_a + k * Tiles::kPitch + row + q * 16), a + 4 * q);
        unpack(*reinterpret_cast<const float4*>(tile_b + k * Tiles::kPitch + column + q * 32), b + 4 * q);
      }
      GATUN_UNROLL
      for (int i = 0; i < 4 * kQuads; ++i) {
        GATUN_UNROLL
        for (int j = 0; j < 4 * kQuads; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
      }
    }
    if (more) {
      const int other = (step + 1) % 2 * Tiles::kStage;
      piece_a.store(tiles.a + other, p.a.k_contiguous, next_a);
      piece_b.store(tiles.b + other, p.b.k_contiguous, next_b);
    }
    __syncthreads();
  }

  GATUN_UNROLL
  for (int i = 0; i < 4 * kQuads; ++i) {
    const int r = row0 + row + i / 4 * 16 + i % 4;
    if (r >= p.a.outer) continue;
    GATUN_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      const int c = column0 + column + q * 32, count = p.b.outer - c;
      float* const to = p.c + r * p.ldc + c;
      const bool four = p.aligned_c && count >= 4;
      float old[4] = {}, result[4];
      if (p.beta != 0.0f) {
        if (four) unpack(*reinterpret_cast<const float4*>(to), old);
        else for (int j = 0; j < 4; ++j) old[j] = j < count ? to[j] : 0.0f;
      }
      GATUN_UNROLL
      for (int j = 0; j < 4; ++j) {
        const float product = p.k == 0 ? 0.0f : p.alpha * sum[i][4 * q + j];
        result[j] = p.beta == 0.0f ? product : fmaf(p.beta, old[j], product);
      }
      if (four) *reinterpret_cast<float4*>(to) = make_float4(result[0], result[1], result[2], result[3]);
      else for (int j = 0; j < 4; ++j) if (j < count) to[j] = result[j];
    }
  }
}

template <int Tile>
void launch_float(const Stream& stream, const FloatProblem& problem) {
  Carve carve(nullptr);
  const FloatTiles<Tile> tiles(carve);
  enqueue(stream, float_kernel<Tile>, tile_count(problem.a.outer, problem.b.outer, Tile), kThreads, carve.bytes(), problem);
}

}  // namespace

void gemm(const Stream& stream, const GemmCall& call) {
  if (call.shape.m == 0 || call.shape.n == 0) return;
  if (call.dtype != GATUN_F32) return gemm_half(stream, call);
  const auto aligned = [](const void* data, int64_t leading) { return reinterpret_cast<uintptr_t>(data) % 16 == 0 && leading % 4 == 0; };
  const int m = static_cast<int>(call.shape.m), n = static_cast<int>(call.shape.n);
  const FloatProblem problem{
      {static_cast<const float*>(call.a.data), call.a.leading, m, !call.a.transposed, aligned(call.a.data, call.a.leading)},
      {static_cast<const float*>(call.b.data), call.b.leading, n, call.b.transposed, aligned(call.b.data, call.b.leading)},
      static_cast<float*>(call.c), call.ldc, static_cast<int>(call.shape.k), call.alpha, call.beta, aligned(call.c, call.ldc)};
  if (tile_count(m, n, 128) < kFewTiles) launch_float<64>(stream, problem);
  else launch_float<128>(stream, problem);
}

}  // namespace gatun

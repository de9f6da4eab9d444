// SPDX-License-Identifier: Apache-2.0
// Forward and backward-data as one matrix product: rows are target pixels, columns are outputs, the sum runs over the channels of all
// taps. The matrix of patches exists only as tiles in shared memory, filled by asynchronous copies a few steps ahead.
#include "kernels/convolution/convolution_cuda.h"
#include "kernels/convolution/tile_cuda.h"

namespace gatun {
namespace {

template <class Tile>
struct Stages {
  typename Tile::T *a, *b;
  int64_t* target;  // offset of each row's pixel, -1 where there is none
  __host__ __device__ explicit Stages(Carve& carve)
      : a(carve.take<typename Tile::T>(kStages * Tile::kM * Tile::kDepth)),
        b(carve.take<typename Tile::T>(kStages * Tile::kN * Tile::kDepth)),
        target(carve.take<int64_t>(Tile::kM)) {}
};

// Where this thread's chunk of the next step lies: a tap and a channel.
struct Cursor {
  int first = 0;  // channel of the block of channels
  int within;     // the block
  int row = 0, column = 0;

  __device__ __forceinline__ void advance(int count, const GatherArguments& g, const Phase& phase) {
    within += count;
    while (within >= g.block) {
      within -= g.block;
      if (++column == phase.columns.count) {
        column = 0;
        if (++row == phase.rows.count) {
          row = 0;
          first += g.block;
        }
      }
    }
  }
};

template <class Tile, bool Wide>
struct Loader {
  using T = typename Tile::T;
  static constexpr int kRows = Tile::kThreads / 4;  // of a tile, filled at a time
  static constexpr int kA = Tile::kM / kRows, kB = Tile::kN / kRows;
  static_assert(kA * kRows == Tile::kM && kB * kRows == Tile::kN);
  const GatherArguments& g;
  const Phase& phase;
  const T *source, *weights;
  int column0;             // of the group
  int64_t weight_stride;   // of an output
  int64_t base[kA];        // source offset of the row's pixel under tap offset (0, 0)
  int y[kA], x[kA];        // and that pixel, which may lie outside the image
  Cursor cursor;

  __device__ __forceinline__ Loader(const GatherArguments& g, const Phase& phase, const T* source, const T* weights, int64_t* target, int row0,
                                    int column0, int group)
      : g(g), phase(phase), source(source), column0(column0), weight_stride(static_cast<int64_t>(g.taps) * g.channels) {
    this->weights = weights + static_cast<int64_t>(group) * g.outputs * weight_stride;
    const int per_image = phase.rows.positions * phase.columns.positions;
    for (int i = 0; i < kA; ++i) {
      const int row = static_cast<int>(threadIdx.x) / 4 + i * kRows, position = row0 + row;
      const int image = position / per_image, pixel = position % per_image;
      const int down = pixel / phase.columns.positions, right = pixel % phase.columns.positions;
      const bool inside = position < phase.positions;
      y[i] = inside ? down * phase.rows.step + phase.rows.offset : -0x40000000;  // so far outside that every tap is
      x[i] = right * phase.columns.step + phase.columns.offset;
      base[i] = image * g.source.batch_stride + y[i] * g.source.row_stride + x[i] * g.source.pixel_stride + static_cast<int64_t>(group) * g.channels;
      if (threadIdx.x % 4 == 0) {
        target[row] = inside ? image * g.target.batch_stride + (down * phase.rows.target_step + phase.rows.target) * g.target.row_stride +
                                   (right * phase.columns.target_step + phase.columns.target) * g.target.pixel_stride +
                                   static_cast<int64_t>(group) * g.outputs
                             : -1;
      }
    }
    cursor.within = 0;
    cursor.advance(static_cast<int>(threadIdx.x % 4) * kVector<T>, g, phase);
  }

  // copy(tile offset within a chunk, where it comes from, whether it exists) for the element or chunk at the cursor, in every row
  template <class CopyA, class CopyB>
  __device__ __forceinline__ void at(const Cursor& c, CopyA&& copy_a, CopyB&& copy_b) const {
    const int channel = c.first + c.within;
    const bool live = channel < g.channels;
    const int down = c.row * phase.rows.offset_step, right = c.column * phase.columns.offset_step;
    const int64_t tap = down * g.source.row_stride + right * g.source.pixel_stride + channel;
    for (int i = 0; i < kA; ++i) {
      const bool inside = live && static_cast<unsigned>(y[i] + down) < static_cast<unsigned>(g.source.height) &&
                          static_cast<unsigned>(x[i] + right) < static_cast<unsigned>(g.source.width);
      copy_a(static_cast<int>(threadIdx.x) / 4 + i * kRows, inside ? source + base[i] + tap : source, inside);
    }
    const int kernel = (phase.rows.kernel + c.row * phase.rows.kernel_step) * g.kernel_width + phase.columns.kernel + c.column * phase.columns.kernel_step;
    const int64_t weight = static_cast<int64_t>(kernel) * g.channels + channel;
    for (int i = 0; i < kB; ++i) {
      const int row = static_cast<int>(threadIdx.x) / 4 + i * kRows;
      const bool inside = live && column0 + row < g.outputs;
      copy_b(row, inside ? weights + (column0 + row) * weight_stride + weight : weights, inside);
    }
  }

  __device__ __forceinline__ void load(T* a, T* b) {
    const int chunk = static_cast<int>(threadIdx.x % 4);
    if constexpr (Wide) {
      at(cursor, [&](int row, const T* from, bool inside) { copy_chunk_cached(a + turned<T>(row, chunk), from, inside); },
         [&](int row, const T* from, bool inside) { copy_chunk(b + turned<T>(row, chunk), from, inside); });
      cursor.advance(Tile::kDepth, g, phase);
    } else {
      Cursor each = cursor;
      for (int e = 0; e < kVector<T>; ++e) {
        at(each, [&](int row, const T* from, bool inside) { copy_element(a + turned<T>(row, chunk) + e, from, inside); },
           [&](int row, const T* from, bool inside) { copy_element(b + turned<T>(row, chunk) + e, from, inside); });
        each.advance(1, g, phase);
      }
      cursor.advance(Tile::kDepth, g, phase);
    }
  }
};

// Sixteen-bit results go through shared memory, so that a row's outputs leave in whole sectors.
template <class Tile>
__device__ __forceinline__ void store_pairs(const Tile& tile, typename Tile::T* staging, const int64_t* rows, const float* bias, typename Tile::T* target,
                                            int column0, int outputs, bool wide_store) {
  using T = typename Tile::T;
  constexpr int kPitch = Tile::kN + 8;  // 16 bytes more than a row: no bank conflicts
  tile.pairs([&](int row, int column, float first, float second) {
    if (bias != nullptr) {
      first += column0 + column < outputs ? bias[column0 + column] : 0.0f;
      second += column0 + column + 1 < outputs ? bias[column0 + column + 1] : 0.0f;
    }
    staging[row * kPitch + column] = T(first);
    staging[row * kPitch + column + 1] = T(second);
  });
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kM * Tile::kN / 8; i += Tile::kThreads) {
    const int row = i / (Tile::kN / 8), column = i % (Tile::kN / 8) * 8;
    if (rows[row] < 0 || column0 + column >= outputs) continue;
    T* const to = target + rows[row] + column0 + column;
    const T* const from = staging + row * kPitch + column;
    if (wide_store) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    } else {
      for (int e = 0; e < 8 && column0 + column + e < outputs; ++e) to[e] = from[e];
    }
  }
}

template <class Tile, bool Wide>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    gather_kernel(const typename Tile::T* __restrict__ source, const typename Tile::T* __restrict__ weights, const float* __restrict__ bias,
                  typename Tile::T* __restrict__ target, const __grid_constant__ GatherArguments g) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Stages<Tile> stages(carve);
  // Blocks of one set of pixels follow each other: the pixels come from DRAM once.
  const int row_tile = static_cast<int>(blockIdx.x) / g.tiles, column_tile = static_cast<int>(blockIdx.x) % g.tiles;
  const int group_tiles = g.tiles / g.groups;
  const int group = column_tile / group_tiles, column0 = column_tile % group_tiles * Tile::kN;
  int which = 0;
  while (which + 1 < g.phase_count && row_tile >= g.phases[which + 1].first_tile) ++which;
  const Phase& phase = g.phases[which];
  Loader<Tile, Wide> loader(g, phase, source, weights, stages.target, (row_tile - phase.first_tile) * Tile::kM, column0, group);
  const int steps = (phase.rows.count * phase.columns.count * g.channels + Tile::kDepth - 1) / Tile::kDepth;
  constexpr int kSizeA = Tile::kM * Tile::kDepth, kSizeB = Tile::kN * Tile::kDepth;
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) loader.load(stages.a + step * kSizeA, stages.b + step * kSizeB);
    cp_async_commit();
  }
  Tile tile;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this step's tiles are there, and those of the step before are read: the next load may go over them
    const int next = (step + kStages - 1) % kStages;
    if (step + kStages - 1 < steps) loader.load(stages.a + next * kSizeA, stages.b + next * kSizeB);
    cp_async_commit();
    tile.multiply(stages.a + step % kStages * kSizeA, stages.b + step % kStages * kSizeB);
  }
  const float* const own_bias = bias == nullptr ? nullptr : bias + static_cast<int64_t>(group) * g.outputs;
  __syncthreads();
  if constexpr (Tile::kPairs) {
    store_pairs(tile, stages.a, stages.target, own_bias, target, column0, g.outputs, g.wide_store);
  } else {
    tile.values([&](int row, int column, float value) {
      const int output = column0 + column;
      if (stages.target[row] < 0 || output >= g.outputs) return;
      target[stages.target[row] + output] = own_bias == nullptr ? value : value + own_bias[output];
    });
  }
}

template <class Tile, bool Wide, class T>
void launch_tile(const Stream& stream, GatherArguments g, const T* source, const T* weights, const float* bias, T* target) {
  const auto tiles = [](int64_t size, int64_t each) { return static_cast<int>((size + each - 1) / each); };
  int row_tiles = 0;
  for (int i = 0; i < g.phase_count; ++i) {
    g.phases[i].first_tile = row_tiles;
    row_tiles += tiles(g.phases[i].positions, Tile::kM);
  }
  if (row_tiles == 0) return;
  g.tiles = g.groups * tiles(g.outputs, Tile::kN);
  g.block = Wide && g.channels % Tile::kDepth == 0 ? Tile::kDepth : g.channels;
  g.wide_store = wide(target, g.target, g.outputs, sizeof(T));
  Carve carve(nullptr);
  const Stages<Tile> stages(carve);
  enqueue(stream, gather_kernel<Tile, Wide>, static_cast<unsigned>(row_tiles) * static_cast<unsigned>(g.tiles), Tile::kThreads, carve.bytes(), source, weights, bias,
          target, g);
}

// Time by waves of blocks: a wave costs its tiles' area over the share of the peak that a tile of its kind can reach.
double cost(const GatherArguments& g, int m, int n, int slots, double efficiency) {
  int64_t tiles = 0;
  for (int i = 0; i < g.phase_count; ++i) tiles += (g.phases[i].positions + m - 1) / m;
  tiles *= static_cast<int64_t>(g.groups) * ((g.outputs + n - 1) / n);
  return static_cast<double>((tiles + slots - 1) / slots * slots) * m * n / efficiency;
}

}  // namespace

template <class T>
void gather_gemm(const Stream& stream, const GatherArguments& g, const T* source, const T* weights, const float* bias, T* target,
                 ConvolutionTile tile) {
  const auto run = [&]<class Tile, bool Wide>() { launch_tile<Tile, Wide>(stream, g, source, weights, bias, target); };
  const bool wide_load = wide(source, g.source, g.channels, sizeof(T)) && reinterpret_cast<uintptr_t>(weights) % 16 == 0;
  if constexpr (sizeof(T) == 4) {
    const bool square = tile == ConvolutionTile::kAuto ? cost(g, 128, 128, kTargetBlocks / 2, 1) < cost(g, 64, 64, kTargetBlocks * 2, 0.8)
                                                       : tile != ConvolutionTile::kSmall;
    if (!wide_load) run.template operator()<FmaTile<64, 64, 4, false>, false>();
    else if (square) run.template operator()<FmaTile<128, 128, 1, false>, true>();
    else run.template operator()<FmaTile<64, 64, 6, false>, true>();
  } else {
    if (tile == ConvolutionTile::kAuto) {
      const double costs[] = {cost(g, 64, 64, kTargetBlocks * 2, 0.5), cost(g, 256, 64, kTargetBlocks, 0.85), cost(g, 128, 128, kTargetBlocks, 0.9),
                              cost(g, 256, 128, kTargetBlocks / 2, 1)};
      tile = static_cast<ConvolutionTile>(std::min_element(costs, costs + 4) - costs + 1);
    }
    if (!wide_load) run.template operator()<MmaTile<T, 64, 64, 32, 32, 3>, false>();
    else if (tile == ConvolutionTile::kSmall) run.template operator()<MmaTile<T, 64, 64, 32, 32, 4>, true>();
    else if (tile == ConvolutionTile::kTall) run.template operator()<MmaTile<T, 256, 64, 64, 64, 2>, true>();
    else if (tile == ConvolutionTile::kSquare) run.template operator()<MmaTile<T, 128, 128, 64, 64, 2>, true>();
    else run.template operator()<MmaTile<T, 256, 128, 64, 64, 1>, true>();
  }
}

#define GATUN_INSTANTIATE(T) \
  template void gather_gemm(const Stream&, const GatherArguments&, const T*, const T*, const float*, T*, ConvolutionTile);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

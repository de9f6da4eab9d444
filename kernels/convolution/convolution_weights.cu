// SPDX-License-Identifier: Apache-2.0
// The gradient of the weights as a matrix product: rows are outputs, columns are (tap, channel), the sum runs over the pixels of y. A few
// tiles must keep the whole device busy, so the pixels are cut into splits, whose results are added in order.
#include "kernels/convolution/convolution_cuda.h"
#include "kernels/convolution/tile_cuda.h"

namespace gatun {
namespace {

struct WeightsArguments {
  PixelGrid x, y;
  Divisor height, width;  // of y
  int channels, outputs, groups;  // of a group
  int kernel_width, columns;      // columns: taps * channels
  int stride_height, stride_width, padding_top, padding_left, dilation_height, dilation_width;
  int positions, split_pixels;
  int row_tiles, column_tiles;
};

// A column of the product: its pixel relative to the first of a patch.
struct Column {
  int64_t offset;
  int down, right;
};

template <class Tile>
struct Stages {
  typename Tile::T *a, *b;
  Column* columns;
  __host__ __device__ explicit Stages(Carve& carve)
      : a(carve.take<typename Tile::T>(kStages * Tile::kM * Tile::kDepth)),
        b(carve.take<typename Tile::T>(kStages * Tile::kN * Tile::kDepth)),
        columns(carve.take<Column>(Tile::kN)) {}
};

__device__ __forceinline__ Column column_at(const WeightsArguments& g, int column) {
  if (column >= g.columns) return {0, -0x40000000, 0};  // so far above that it is outside every image
  const int tap = column / g.channels, channel = column % g.channels;
  const int down = tap / g.kernel_width * g.dilation_height - g.padding_top, right = tap % g.kernel_width * g.dilation_width - g.padding_left;
  return {down * g.x.row_stride + right * g.x.pixel_stride + channel, down, right};
}

struct Position {
  int image, row, column;
};

__device__ __forceinline__ Position position_at(const WeightsArguments& g, int position) {
  const int line = g.width.quotient(position), image = g.height.quotient(line);
  return {image, line - image * g.height.value, position - line * g.width.value};
}

template <class Tile, bool Wide>
struct Loader {
  using T = typename Tile::T;
  static constexpr int kChunksA = Tile::kM / kVector<T>, kChunksB = Tile::kN / kVector<T>;
  static constexpr int kRowsA = Tile::kThreads / kChunksA, kRowsB = Tile::kThreads / kChunksB;  // pixels at a time
  static_assert(Tile::kDepth % kRowsA == 0 && Tile::kDepth % kRowsB == 0);
  const WeightsArguments& g;
  const T *x, *dy;    // of the group
  const Column* columns;
  Column column;      // of this thread's chunk
  int output;         // the same
  int end;            // of the split

  __device__ __forceinline__ void load(T* a, T* b, int first) const {
    const int chunk_a = static_cast<int>(threadIdx.x) % kChunksA, chunk_b = static_cast<int>(threadIdx.x) % kChunksB;
    for (int i = 0; i < Tile::kDepth / kRowsA; ++i) {
      const int row = static_cast<int>(threadIdx.x) / kChunksA + i * kRowsA, position = first + row;
      const Position p = position_at(g, position);
      const T* const from = dy + p.image * g.y.batch_stride + p.row * g.y.row_stride + p.column * g.y.pixel_stride + output;
      T* const to = a + turned_wide<T, kChunksA>(row, chunk_a);
      if constexpr (Wide) {
        const bool inside = position < end && output < g.outputs;
        copy_chunk(to, inside ? from : dy, inside);
      } else {
        for (int e = 0; e < kVector<T>; ++e) {
          const bool inside = position < end && output + e < g.outputs;
          copy_element(to + e, inside ? from + e : dy, inside);
        }
      }
    }
    for (int i = 0; i < Tile::kDepth / kRowsB; ++i) {
      const int row = static_cast<int>(threadIdx.x) / kChunksB + i * kRowsB, position = first + row;
      const Position p = position_at(g, position);
      const int down = p.row * g.stride_height, right = p.column * g.stride_width;
      const T* const from = x + p.image * g.x.batch_stride + down * g.x.row_stride + right * g.x.pixel_stride;
      T* const to = b + turned_wide<T, kChunksB>(row, chunk_b);
      const auto copy = [&](const Column& c, auto&& copy_to) {
        const bool inside = position < end && static_cast<unsigned>(down + c.down) < static_cast<unsigned>(g.x.height) &&
                            static_cast<unsigned>(right + c.right) < static_cast<unsigned>(g.x.width);
        copy_to(inside ? from + c.offset : x, inside);
      };
      if constexpr (Wide) {
        copy(column, [&](const T* at, bool inside) { copy_chunk(to, at, inside); });
      } else {
        for (int e = 0; e < kVector<T>; ++e) {
          copy(columns[chunk_b * kVector<T> + e], [&](const T* at, bool inside) { copy_element(to + e, at, inside); });
        }
      }
    }
  }
};

template <class Tile, bool Wide>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    weights_kernel(const typename Tile::T* __restrict__ x, const typename Tile::T* __restrict__ dy, float* __restrict__ result,
                   const __grid_constant__ WeightsArguments g) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const Stages<Tile> stages(carve);
  // Blocks of one split follow each other: they read the same pixels.
  int index = static_cast<int>(blockIdx.x);
  const int column0 = index % g.column_tiles * Tile::kN;
  index /= g.column_tiles;
  const int row0 = index % g.row_tiles * Tile::kM;
  index /= g.row_tiles;
  const int group = index % g.groups, split = index / g.groups;
  const int begin = split * g.split_pixels, end = g.positions - begin < g.split_pixels ? g.positions : begin + g.split_pixels;
  if constexpr (!Wide) {
    for (int i = static_cast<int>(threadIdx.x); i < Tile::kN; i += Tile::kThreads) stages.columns[i] = column_at(g, column0 + i);
    __syncthreads();
  }
  using L = Loader<Tile, Wide>;
  using T = typename Tile::T;
  const L loader{g, x + static_cast<int64_t>(group) * g.channels, dy + static_cast<int64_t>(group) * g.outputs, stages.columns,
                 column_at(g, column0 + static_cast<int>(threadIdx.x) % L::kChunksB * kVector<T>),
                 row0 + static_cast<int>(threadIdx.x) % L::kChunksA * kVector<T>, end};
  const int steps = (end - begin + Tile::kDepth - 1) / Tile::kDepth;
  constexpr int kSizeA = Tile::kM * Tile::kDepth, kSizeB = Tile::kN * Tile::kDepth;
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) loader.load(stages.a + step * kSizeA, stages.b + step * kSizeB, begin + step * Tile::kDepth);
    cp_async_commit();
  }
  Tile tile;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this step's tiles are there, and those of the step before are read: the next load may go over them
    const int ahead = step + kStages - 1;
    if (ahead < steps) loader.load(stages.a + ahead % kStages * kSizeA, stages.b + ahead % kStages * kSizeB, begin + ahead * Tile::kDepth);
    cp_async_commit();
    tile.multiply_across(stages.a + step % kStages * kSizeA, stages.b + step % kStages * kSizeB);
  }
  float* const to = result + (static_cast<int64_t>(split) * g.groups + group) * g.outputs * g.columns;
  tile.values([&](int row, int column, float value) {
    if (row0 + row < g.outputs && column0 + column < g.columns) to[static_cast<int64_t>(row0 + row) * g.columns + column0 + column] = value;
  });
}

__global__ void __launch_bounds__(256) add_kernel(const float* __restrict__ partial, int splits, int64_t count, float* __restrict__ result) {
  for (int64_t i = blockIdx.x * int64_t{256} + threadIdx.x; i < count; i += gridDim.x * int64_t{256}) {
    float sum = 0;
    for (int split = 0; split < splits; ++split) sum += partial[split * count + i];
    result[i] = sum;
  }
}

struct TileSize {
  int m, n;
  int slots;  // blocks that the device holds
};

TileSize tile_size(ConvolutionTile tile, size_t element) {
  if (tile == ConvolutionTile::kSmall) return {64, 64, kTargetBlocks * 2};
  if (tile == ConvolutionTile::kTall) return {64, 128, kTargetBlocks * 2};
  return {128, 128, element == 4 ? kTargetBlocks / 2 : kTargetBlocks};
}

int64_t tiles(int64_t size, int64_t each) { return (size + each - 1) / each; }

template <class Tile, bool Wide, class T>
void launch_tile(const Stream& stream, WeightsArguments g, int splits, const T* x, const T* dy, float* result) {
  g.row_tiles = static_cast<int>(tiles(g.outputs, Tile::kM));
  g.column_tiles = static_cast<int>(tiles(g.columns, Tile::kN));
  Carve carve(nullptr);
  const Stages<Tile> stages(carve);
  const unsigned grid = static_cast<unsigned>(g.row_tiles) * static_cast<unsigned>(g.column_tiles) * static_cast<unsigned>(g.groups * splits);
  enqueue(stream, weights_kernel<Tile, Wide>, grid, Tile::kThreads, carve.bytes(), x, dy, result, g);
}

}  // namespace

// Splits are worth their partial results where they fill the device: time is that of the waves of blocks at about the speed of mma.sync on
// an H200, and of writing and reading the partial results. The choice depends on the shape alone, and so do the bits.
WeightsPlan weights_plan(const ConvolutionShape& s, size_t element, ConvolutionTile tile) {
  const int64_t positions = s.positions();
  if (tile == ConvolutionTile::kAuto) {
    const bool few = s.group_outputs() <= 64;
    const bool narrow = s.patch() <= 64;
    tile = few && narrow ? ConvolutionTile::kSmall : few && element != 4 ? ConvolutionTile::kTall : few ? ConvolutionTile::kSmall : ConvolutionTile::kSquare;
  }
  const TileSize size = tile_size(tile, element);
  const int64_t blocks = tiles(s.group_outputs(), size.m) * tiles(s.patch(), size.n) * s.groups;
  const double tile_seconds = 2.0 * size.m * size.n * static_cast<double>(positions) / ((element == 4 ? 5e13 : 6e14) / size.slots);
  const double split_seconds = 8.0 * static_cast<double>(s.out_channels * s.patch()) / 3e12;
  WeightsPlan best{1, static_cast<int>(positions), tile};
  double least = 1e300;
  for (int64_t splits = 1; splits <= 256; ++splits) {
    // Whole steps of pixels, at least eight.
    const int64_t pixels = tiles(tiles(positions, splits), 32) * 32;
    if (splits > 1 && pixels < 256) break;
    const double waves = static_cast<double>(tiles(blocks * splits, size.slots));
    const double seconds = waves * tile_seconds / static_cast<double>(splits) + (splits > 1 ? static_cast<double>(splits) * split_seconds + 3e-6 : 0);
    if (seconds < least) {
      least = seconds;
      best = {static_cast<int>(std::max<int64_t>(1, tiles(positions, std::max<int64_t>(1, pixels)))), static_cast<int>(pixels), tile};
    }
  }
  return best;
}

void add_splits(const Stream& stream, const float* partial, int splits, int64_t count, float* result) {
  enqueue(stream, add_kernel, grid_for(count, 256), 256, 0, partial, splits, count, result);
}

template <class T>
void weights_gemm(const Stream& stream, const ConvolutionShape& s, const WeightsPlan& plan, const T* x, const T* dy, float* dweights,
                  float* partial) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  WeightsArguments g{};
  g.x = s.x;
  g.y = s.y;
  g.height = Divisor::of(s.y.height);
  g.width = Divisor::of(s.y.width);
  g.channels = narrow(s.group_channels());
  g.outputs = narrow(s.group_outputs());
  g.groups = narrow(s.groups);
  g.kernel_width = narrow(s.kernel_width);
  g.columns = narrow(s.patch());
  g.stride_height = narrow(s.stride_height);
  g.stride_width = narrow(s.stride_width);
  g.padding_top = narrow(s.padding_top);
  g.padding_left = narrow(s.padding_left);
  g.dilation_height = narrow(s.dilation_height);
  g.dilation_width = narrow(s.dilation_width);
  g.positions = narrow(s.positions());
  g.split_pixels = plan.pixels;
  float* const result = plan.splits == 1 ? dweights : partial;
  const bool wide_load = wide(x, s.x, s.group_channels(), sizeof(T)) && wide(dy, s.y, s.group_outputs(), sizeof(T));
  const auto run = [&]<class Tile, bool Wide>() { launch_tile<Tile, Wide>(stream, g, plan.splits, x, dy, result); };
  if constexpr (sizeof(T) == 4) {
    if (!wide_load) run.template operator()<FmaTile<64, 64, 6, true>, false>();
    else if (plan.tile == ConvolutionTile::kSmall) run.template operator()<FmaTile<64, 64, 6, true>, true>();
    else run.template operator()<FmaTile<128, 128, 1, true>, true>();
  } else {
    if (!wide_load) run.template operator()<MmaTile<T, 64, 64, 32, 32, 3>, false>();
    else if (plan.tile == ConvolutionTile::kSmall) run.template operator()<MmaTile<T, 64, 64, 32, 32, 4>, true>();
    else if (plan.tile == ConvolutionTile::kTall) run.template operator()<MmaTile<T, 64, 128, 64, 64, 4>, true>();
    else run.template operator()<MmaTile<T, 128, 128, 64, 64, 2>, true>();
  }
  if (plan.splits > 1) add_splits(stream, partial, plan.splits, s.out_channels * s.patch(), dweights);
}

#define GATUN_INSTANTIATE(T) \
  template void weights_gemm(const Stream&, const ConvolutionShape&, const WeightsPlan&, const T*, const T*, float*, float*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// The first layer: so few channels that a pixel is less than a vector. A block keeps the input of 8 x 16 outputs in shared memory as it
// is and takes the fragments of the matrix of patches straight from there: a patch's row is one run of kernel_width * channels elements.
#include "kernels/convolution/convolution_cuda.h"
#include "kernels/convolution/tile_cuda.h"

namespace gatun {
namespace {

constexpr int kRows = 8, kColumns = 16, kPixels = kRows * kColumns, kOutputs = 64, kThreads = 128;
constexpr int kRunTiles = 5;  // eight columns of dweights each, a warp has at a time
constexpr size_t kSharedBytes = 96 * 1024;
constexpr int kSecondMissing = 1 << 30;  // of a pair of the table

struct StemArguments {
  PixelGrid x, y;
  int channels, outputs, kernel_height, kernel_width, stride_height, stride_width, padding_top, padding_left;
  int run;           // a kernel row's elements, one more if they are odd
  int depth;         // all rows', in whole steps of 16
  int patch_rows, patch_pixels, pitch;  // the input of a block's outputs
  Divisor across, down;                 // tiles of an image
  int tiles;
  bool pairs;        // neighbouring elements of a patch lie in one word
  bool wide;         // 16 bytes of outputs at a time

  __device__ __forceinline__ int elements() const { return kernel_width * channels; }
};

struct TilePlace {
  int image, row, column;  // of y
};

__device__ __forceinline__ TilePlace place_of(const StemArguments& g, int tile) {
  const int line = g.across.quotient(tile), image = g.down.quotient(line);
  return {image, (line - image * g.down.value) * kRows, (tile - line * g.across.value) * kColumns};
}

template <class T>
__device__ __forceinline__ void load_patch(const StemArguments& g, const TilePlace& place, const T* x, T* patch) {
  const int top = place.row * g.stride_height - g.padding_top, left = place.column * g.stride_width - g.padding_left;
  for (int i = static_cast<int>(threadIdx.x); i < g.patch_rows * g.patch_pixels; i += kThreads) {
    const int row = i / g.patch_pixels, column = i - row * g.patch_pixels;
    const bool inside = static_cast<unsigned>(top + row) < static_cast<unsigned>(g.x.height) && static_cast<unsigned>(left + column) < static_cast<unsigned>(g.x.width);
    const T* const from = inside ? x + place.image * g.x.batch_stride + (top + row) * g.x.row_stride + (left + column) * g.x.pixel_stride : x;
    T* const to = patch + row * g.pitch + column * g.channels;
    for (int c = 0; c < g.channels; ++c) to[c] = inside ? from[c] : T(0.0f);
  }
}

// Two neighbouring elements of a patch; what the table calls missing is 0, whatever lies there.
template <class T>
__device__ __forceinline__ uint32_t pair_at(const T* patch, int entry, bool word) {
  if (entry < 0) return 0;
  const T* const at = patch + (entry & ~kSecondMissing);
  const bool second = (entry & kSecondMissing) == 0;
  if (word) return *reinterpret_cast<const uint32_t*>(at) & (second ? 0xffffffffu : 0xffffu);
  const auto* bits = reinterpret_cast<const unsigned short*>(at);
  return bits[0] | (second ? static_cast<uint32_t>(bits[1]) << 16 : 0u);
}

template <class T>
struct ForwardShared {
  T *weights, *patch, *staging;
  int* table;
  __host__ __device__ ForwardShared(Carve& carve, const StemArguments& g)
      : weights(carve.take<T>(static_cast<size_t>(kOutputs) * static_cast<size_t>(g.depth + 8))),
        patch(carve.take<T>(static_cast<size_t>(g.patch_rows) * static_cast<size_t>(g.pitch))),
        staging(carve.take<T>(kPixels * (kOutputs + 8))),
        table(carve.take<int>(static_cast<size_t>(g.depth / 2))) {}
};

template <class T>
__global__ void __launch_bounds__(kThreads, 4)
    stem_kernel(const T* __restrict__ x, const T* __restrict__ weights, const float* __restrict__ bias, T* __restrict__ y,
                const __grid_constant__ StemArguments g) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const ForwardShared<T> shared(carve, g);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, output0 = static_cast<int>(blockIdx.y) * kOutputs, elements = g.elements();
  const int weights_pitch = g.depth + 8;  // 16 bytes more than a multiple of 32: ldmatrix without conflicts
  for (int i = thread; i < kOutputs * g.depth; i += kThreads) {
    const int output = i / g.depth, k = i % g.depth, row = k / g.run, e = k % g.run;
    const bool inside = output0 + output < g.outputs && row < g.kernel_height && e < elements;
    shared.weights[output * weights_pitch + k] = inside ? weights[(static_cast<int64_t>(output0 + output) * g.kernel_height + row) * elements + e] : T(0.0f);
  }
  for (int i = thread; i < g.depth / 2; i += kThreads) {
    const int row = i * 2 / g.run, e = i * 2 % g.run;
    shared.table[i] = row >= g.kernel_height ? -1 : (row * g.pitch + e) | (e + 1 < elements ? 0 : kSecondMissing);
  }
  // What a pair of an odd run reads beyond the last pixel.
  for (int i = thread; i < g.patch_rows; i += kThreads) {
    for (int e = g.patch_pixels * g.channels; e < g.pitch; ++e) shared.patch[i * g.pitch + e] = T(0.0f);
  }
  constexpr int kPitch = kOutputs + 8;
  for (int tile = static_cast<int>(blockIdx.x); tile < g.tiles; tile += static_cast<int>(gridDim.x)) {
    const TilePlace place = place_of(g, tile);
    load_patch(g, place, x, shared.patch);
    __syncthreads();
    MmaTile<T, kPixels, kOutputs, 32, 64, 4> product;
    const T* rows[2][2];  // the patches of this thread's rows of the fragments
    for (int i = 0; i < 2; ++i) {
      for (int half = 0; half < 2; ++half) {
        rows[i][half] = shared.patch + (thread / 32 * 2 + i) * g.stride_height * g.pitch + (lane / 4 + half * 8) * g.stride_width * g.channels;
      }
    }
    for (int k = 0; k < g.depth; k += 16) {
      uint32_t a[2][4], b[4][4];
      const int low = shared.table[k / 2 + lane % 4], high = shared.table[k / 2 + lane % 4 + 4];
      for (int i = 0; i < 2; ++i) {
        for (int half = 0; half < 2; ++half) {
          a[i][half] = pair_at(rows[i][half], low, g.pairs);
          a[i][half + 2] = pair_at(rows[i][half], high, g.pairs);
        }
      }
      for (int j = 0; j < 4; ++j) ldmatrix(b[j], shared.weights + (j * 16 + lane / 16 * 8 + lane % 8) * weights_pitch + k + lane / 8 % 2 * 8);
      product.multiply_fragments(a, b);
    }
    product.pairs([&](int row, int column, float first, float second) {
      if (bias != nullptr) {
        first += output0 + column < g.outputs ? bias[output0 + column] : 0.0f;
        second += output0 + column + 1 < g.outputs ? bias[output0 + column + 1] : 0.0f;
      }
      shared.staging[row * kPitch + column] = T(first);
      shared.staging[row * kPitch + column + 1] = T(second);
    });
    __syncthreads();  // the patch is read, and the results are there; they leave before the next barrier
    for (int i = thread; i < kPixels * kOutputs / 8; i += kThreads) {
      const int pixel = i / (kOutputs / 8), column = i % (kOutputs / 8) * 8, row = place.row + pixel / kColumns, across = place.column + pixel % kColumns;
      if (row >= g.y.height || across >= g.y.width || output0 + column >= g.outputs) continue;
      T* const to = y + place.image * g.y.batch_stride + row * g.y.row_stride + across * g.y.pixel_stride + output0 + column;
      const T* const from = shared.staging + pixel * kPitch + column;
      if (g.wide) {
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
      } else {
        for (int e = 0; e < 8 && output0 + column + e < g.outputs; ++e) to[e] = from[e];
      }
    }
  }
}

template <class T>
struct WeightsShared {
  T *gradients, *patch;
  __host__ __device__ WeightsShared(Carve& carve, const StemArguments& g)
      : gradients(carve.take<T>(kPixels * kOutputs)), patch(carve.take<T>(static_cast<size_t>(g.patch_rows) * static_cast<size_t>(g.pitch))) {}
};

// Rows are outputs, columns elements of the patch, the sum runs over this split's tiles: split, split + splits, ...
template <class T>
__global__ void __launch_bounds__(kThreads, 3)
    stem_weights_kernel(const T* __restrict__ x, const T* __restrict__ dy, float* __restrict__ partial, const __grid_constant__ StemArguments g) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const WeightsShared<T> shared(carve, g);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int output0 = static_cast<int>(blockIdx.z) * kOutputs, elements = g.elements(), columns = g.kernel_height * elements;
  const int column0 = static_cast<int>(blockIdx.y) * (kRunTiles * 4 * 8);
  const auto column_of = [&](int j) { return column0 + (j * 4 + warp) * 8; };
  int offset[kRunTiles];  // of this thread's column of a fragment in the patch; a column that is none reads the first element in vain
  for (int j = 0; j < kRunTiles; ++j) {
    const int column = column_of(j) + lane / 4;
    offset[j] = column < columns ? column / elements * g.pitch + column % elements : 0;
  }
  float d[4][kRunTiles][4] = {};
  for (int tile = static_cast<int>(blockIdx.x); tile < g.tiles; tile += static_cast<int>(gridDim.x)) {
    const TilePlace place = place_of(g, tile);
    load_patch(g, place, x, shared.patch);
    for (int i = thread; i < kPixels * kOutputs / 8; i += kThreads) {
      const int pixel = i / (kOutputs / 8), chunk = i % (kOutputs / 8), row = place.row + pixel / kColumns, across = place.column + pixel % kColumns;
      const bool inside = row < g.y.height && across < g.y.width;
      const T* const from = inside ? dy + place.image * g.y.batch_stride + row * g.y.row_stride + across * g.y.pixel_stride : dy;
      T* const to = shared.gradients + turned_wide<T, kOutputs / 8>(pixel, chunk);
      const int output = output0 + chunk * 8;
      if (g.wide) {
        const bool live = inside && output < g.outputs;
        copy_chunk(to, live ? from + output : dy, live);
      } else {
        for (int e = 0; e < 8; ++e) to[e] = inside && output + e < g.outputs ? from[output + e] : T(0.0f);
      }
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    const int live_rows = min(kRows, static_cast<int>(g.y.height) - place.row), live_columns = min(kColumns, static_cast<int>(g.y.width) - place.column);
    for (int row = 0; row < live_rows; ++row) {
      uint32_t a[4][4];
      for (int i = 0; i < 4; ++i) {
        const int matrix = lane / 8;
        ldmatrix_transposed(a[i], shared.gradients + turned_wide<T, kOutputs / 8>(row * kColumns + matrix / 2 * 8 + lane % 8, i * 2 + matrix % 2));
      }
      const T* const patch_row = shared.patch + row * g.stride_height * g.pitch;
      // Pixels beyond y count for nothing, though x may go on there.
      const auto element = [&](int pixel, int at) {
        return pixel < live_columns ? static_cast<uint32_t>(*reinterpret_cast<const unsigned short*>(patch_row + pixel * g.stride_width * g.channels + at)) : 0u;
      };
      GATUN_UNROLL
      for (int j = 0; j < kRunTiles; ++j) {
        if (column_of(j) >= columns) continue;  // the whole warp
        const int pixel = lane % 4 * 2;
        const uint32_t b[2] = {element(pixel, offset[j]) | element(pixel + 1, offset[j]) << 16, element(pixel + 8, offset[j]) | element(pixel + 9, offset[j]) << 16};
        for (int i = 0; i < 4; ++i) mma_m16n8k16<T>(d[i][j], a[i], b);
      }
    }
    __syncthreads();  // the next tile goes over this one
  }
  float* const to = partial + static_cast<int64_t>(blockIdx.x) * g.outputs * columns;
  GATUN_UNROLL
  for (int i = 0; i < 4; ++i) {
    GATUN_UNROLL
    for (int j = 0; j < kRunTiles; ++j) {
      GATUN_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int output = output0 + i * 16 + e / 2 * 8 + lane / 4, column = column_of(j) + lane % 4 * 2 + e % 2;
        if (output < g.outputs && column < columns) to[static_cast<int64_t>(output) * columns + column] = d[i][j][e];
      }
    }
  }
}

StemArguments stem_arguments(const ConvolutionShape& s) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  const int64_t run = round_up(s.kernel_width * s.channels, 2);
  const int64_t patch_pixels = (kColumns - 1) * s.stride_width + s.kernel_width, across = (s.y.width + kColumns - 1) / kColumns, down = (s.y.height + kRows - 1) / kRows;
  StemArguments g{};
  g.x = s.x;
  g.y = s.y;
  g.channels = narrow(s.channels);
  g.outputs = narrow(s.out_channels);
  g.kernel_height = narrow(s.kernel_height);
  g.kernel_width = narrow(s.kernel_width);
  g.stride_height = narrow(s.stride_height);
  g.stride_width = narrow(s.stride_width);
  g.padding_top = narrow(s.padding_top);
  g.padding_left = narrow(s.padding_left);
  g.run = narrow(run);
  g.depth = narrow(round_up(s.kernel_height * run, 16));
  g.patch_rows = narrow((kRows - 1) * s.stride_height + s.kernel_height);
  g.patch_pixels = narrow(patch_pixels);
  g.pitch = narrow(round_up(patch_pixels * s.channels + 1, 2));  // the last pair of an odd run reads one element more
  g.across = Divisor::of(across);
  g.down = Divisor::of(down);
  g.tiles = narrow(s.batch * across * down);
  g.pairs = s.stride_width * s.channels % 2 == 0;
  return g;
}

unsigned blocks_of(int64_t size, int64_t each) { return static_cast<unsigned>((size + each - 1) / each); }

}  // namespace

bool stem_fits(const ConvolutionShape& s) {
  constexpr int64_t kLargest = 64;  // of what follows, before the arithmetic on it
  if (s.groups != 1 || s.channels > 4 || s.dilation_height != 1 || s.dilation_width != 1 || std::max({s.kernel_height, s.kernel_width, s.stride_height, s.stride_width}) > kLargest) {
    return false;
  }
  Carve carve(nullptr);
  const ForwardShared<__half> shared(carve, stem_arguments(s));
  return carve.bytes() <= kSharedBytes;
}

template <class T>
void stem_forward(const Stream& stream, const ConvolutionShape& s, const T* x, const T* weights, const float* bias, T* y) {
  if (s.batch == 0) return;
  StemArguments g = stem_arguments(s);
  g.wide = wide(y, s.y, s.out_channels, sizeof(T));
  Carve carve(nullptr);
  const ForwardShared<T> shared(carve, g);
  // A block stays for many tiles: its weights are read once.
  const dim3 grid(std::min(grid_for(g.tiles, 1), static_cast<unsigned>(2 * kTargetBlocks)), blocks_of(s.out_channels, kOutputs));
  enqueue(stream, stem_kernel<T>, grid, kThreads, carve.bytes(), x, weights, bias, y, g);
}

int stem_splits(const ConvolutionShape& s) {
  const int64_t blocks = blocks_of(s.out_channels, kOutputs) * int64_t{blocks_of(s.patch(), kRunTiles * 32)};
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(grid_for(stem_arguments(s).tiles, 1), kTargetBlocks / blocks)));
}

template <class T>
void stem_weights(const Stream& stream, const ConvolutionShape& s, const T* x, const T* dy, float* dweights, float* partial) {
  StemArguments g = stem_arguments(s);
  g.wide = wide(dy, s.y, s.out_channels, sizeof(T));
  Carve carve(nullptr);
  const WeightsShared<T> shared(carve, g);
  const int splits = stem_splits(s);
  enqueue(stream, stem_weights_kernel<T>, dim3(static_cast<unsigned>(splits), blocks_of(s.patch(), kRunTiles * 32), blocks_of(s.out_channels, kOutputs)), kThreads,
          carve.bytes(), x, dy, partial, g);
  add_splits(stream, partial, splits, s.out_channels * s.patch(), dweights);
}

#define GATUN_INSTANTIATE(T)                                                                                                  \
  template void stem_forward(const Stream&, const ConvolutionShape&, const T*, const T*, const float*, T*);                  \
  template void stem_weights(const Stream&, const ConvolutionShape&, const T*, const T*, float*, float*);
GATUN_INSTANTIATE(__nv_bfloat16)
GATUN_INSTANTIATE(__half)

}  // namespace gatun

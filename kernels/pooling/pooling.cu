// SPDX-License-Identifier: Apache-2.0
// Bound by memory. A thread has a vector of channels of one pixel; neighbouring threads have neighbouring channels, so every access is whole
// sectors, and what windows share comes from the caches. Backward gathers: no two threads write one place, and every sum has a fixed order.
#include "kernels/pooling/pooling.h"

#include "kernels/common/channels_cuda.h"
#include "kernels/common/divisor_cuda.h"
#include "kernels/common/storage.h"

namespace gatun {
namespace {

constexpr int kBlock = 256, kBlocks = 4;  // of a multiprocessor: 64 registers a thread
constexpr int kMaxLanes = 32;  // threads across the channels of a pixel

struct Axis {
  int window, padding, size, outputs;
  Divisor stride;
  // PoolingAxis's functions, for a kernel
  __device__ __forceinline__ int begin(int output) const { return max(0, output * stride.value - padding); }
  __device__ __forceinline__ int end(int output) const { return min(size, output * stride.value - padding + window); }
  __device__ __forceinline__ int first(int input) const { return stride.quotient(max(0, input + padding - window + stride.value)); }
  __device__ __forceinline__ int last(int input) const { return min(outputs, stride.quotient(input + padding) + 1); }
};

struct Arguments {
  PixelGrid x, y;
  Axis rows, columns;
  Divisor height, width;  // of the image whose pixels the threads have
  int64_t items;          // pixels * blocks of channels
  int channels, lanes, channel_blocks;
  bool count_include_pad;

  // What an element of window (i, j) counts for in an average.
  __device__ __forceinline__ float share(int i, int j) const {
    return 1.0f / static_cast<float>(count_include_pad ? rows.window * columns.window
                                                       : (rows.end(i) - rows.begin(i)) * (columns.end(j) - columns.begin(j)));
  }
  __device__ __forceinline__ int64_t argmax(int64_t image, int i, int j) const {
    return ((image * rows.outputs + i) * columns.outputs + j) * channels;
  }
};

__device__ __forceinline__ int64_t offset(const PixelGrid& grid, int image, int row, int column) {
  return image * grid.batch_stride + row * grid.row_stride + column * grid.pixel_stride;
}

// visit(image, row, column, first channel of N) for every vector of the image that this thread has
template <int N, class Visit>
__device__ __forceinline__ void for_pixels(const Arguments& g, Visit&& visit) {
  const int lane = static_cast<int>(threadIdx.x) % g.lanes, per_block = kBlock / g.lanes;
  for (int64_t item = static_cast<int64_t>(blockIdx.x) * per_block + threadIdx.x / static_cast<unsigned>(g.lanes); item < g.items;
       item += static_cast<int64_t>(gridDim.x) * per_block) {
    const int pixel = static_cast<int>(g.channel_blocks == 1 ? item : item / g.channel_blocks);
    const int channel = (static_cast<int>(item - static_cast<int64_t>(pixel) * g.channel_blocks) * g.lanes + lane) * N;
    if (channel >= g.channels) continue;
    const int line = g.width.quotient(pixel), image = g.height.quotient(line);
    visit(image, line - image * g.height.value, pixel - line * g.width.value, channel);
  }
}

// Indices lie as the channels do; four at a time, whatever the storage type.
template <int N>
__device__ __forceinline__ void load_indices(const int32_t* from, int32_t (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = *from;
  } else {
    GATUN_UNROLL
    for (int i = 0; i < N; i += 4) {
      const int4 four = *reinterpret_cast<const int4*>(from + i);
      to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
    }
  }
}
template <int N>
__device__ __forceinline__ void store_indices(int32_t* to, const int32_t (&from)[N]) {
  if constexpr (N == 1) {
    *to = from[0];
  } else {
    GATUN_UNROLL
    for (int i = 0; i < N; i += 4) *reinterpret_cast<int4*>(to + i) = make_int4(from[i], from[i + 1], from[i + 2], from[i + 3]);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kBlock, kBlocks)
    max_forward_kernel(const T* __restrict__ x, T* __restrict__ y, int32_t* __restrict__ argmax, const __grid_constant__ Arguments g) {
  for_pixels<N>(g, [&](int image, int i, int j, int channel) {
    const int top = g.rows.begin(i), bottom = g.rows.end(i), left = g.columns.begin(j), right = g.columns.end(j);
    float best[N];
    int32_t winner[N];
    load_channels<N>(x + offset(g.x, image, top, left) + channel, best);
    GATUN_UNROLL
    for (int c = 0; c < N; ++c) winner[c] = top * g.columns.size + left;
    for (int row = top; row < bottom; ++row) {
      const T* from = x + offset(g.x, image, row, left) + channel;
      for (int column = left; column < right; ++column, from += g.x.pixel_stride) {
        float value[N];
        load_channels<N>(from, value);
        GATUN_UNROLL
        for (int c = 0; c < N; ++c) {
          // "Not at most" is true for a larger value and for a NaN; nothing beats a NaN.
          const bool better = !(value[c] <= best[c]) && best[c] == best[c];
          best[c] = better ? value[c] : best[c];
          winner[c] = better ? row * g.columns.size + column : winner[c];
        }
      }
    }
    store_channels<N>(y + offset(g.y, image, i, j) + channel, best);
    store_indices<N>(argmax + g.argmax(image, i, j) + channel, winner);
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kBlock, kBlocks) average_forward_kernel(const T* __restrict__ x, T* __restrict__ y, const __grid_constant__ Arguments g) {
  for_pixels<N>(g, [&](int image, int i, int j, int channel) {
    const int left = g.columns.begin(j), right = g.columns.end(j);
    float sum[N] = {};
    const int bottom = g.rows.end(i);
    for (int row = g.rows.begin(i); row < bottom; ++row) {
      const T* from = x + offset(g.x, image, row, left) + channel;
      for (int column = left; column < right; ++column, from += g.x.pixel_stride) {
        float value[N];
        load_channels<N>(from, value);
        GATUN_UNROLL
        for (int c = 0; c < N; ++c) sum[c] += value[c];
      }
    }
    const float share = g.share(i, j);
    GATUN_UNROLL
    for (int c = 0; c < N; ++c) sum[c] *= share;
    store_channels<N>(y + offset(g.y, image, i, j) + channel, sum);
  });
}

// Max: the gradient of a window goes to its winner; otherwise every pixel of the window has an equal share.
template <class T, int N, bool Max>
__global__ void __launch_bounds__(kBlock, kBlocks)
    backward_kernel(const T* __restrict__ dy, const int32_t* __restrict__ argmax, T* __restrict__ dx, const __grid_constant__ Arguments g) {
  for_pixels<N>(g, [&](int image, int row, int column, int channel) {
    float sum[N] = {};
    const int bottom = g.rows.last(row), left = g.columns.first(column), right = g.columns.last(column);
    for (int i = g.rows.first(row); i < bottom; ++i) {
      for (int j = left; j < right; ++j) {
        float gradient[N];
        load_channels<N>(dy + offset(g.y, image, i, j) + channel, gradient);
        if constexpr (Max) {
          int32_t winner[N];
          load_indices<N>(argmax + g.argmax(image, i, j) + channel, winner);
          GATUN_UNROLL
          for (int c = 0; c < N; ++c) sum[c] += winner[c] == row * g.columns.size + column ? gradient[c] : 0.0f;
        } else {
          const float share = g.share(i, j);
          GATUN_UNROLL
          for (int c = 0; c < N; ++c) sum[c] += gradient[c] * share;
        }
      }
    }
    store_channels<N>(dx + offset(g.x, image, row, column) + channel, sum);
  });
}

template <class T>
bool wide(const T* pointer, const PixelGrid& grid) {
  constexpr int64_t kEach = 16 / sizeof(T);
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && grid.batch_stride % kEach == 0 && grid.row_stride % kEach == 0 && grid.pixel_stride % kEach == 0;
}

Axis narrow(const PoolingAxis& a) {
  return {static_cast<int>(a.window), static_cast<int>(a.padding), static_cast<int>(a.size), static_cast<int>(a.outputs), Divisor::of(a.stride)};
}

// Calls run(N, arguments, blocks): N channels a thread, over the pixels of `image`.
template <class T, class Run>
void with_width(const PoolingShape& s, const PixelGrid& image, const T* x, const T* y, const int32_t* argmax, Run&& run) {
  if (s.batch == 0) return;
  constexpr int kWide = static_cast<int>(16 / sizeof(T));
  const bool vectors = wide(x, s.x) && wide(y, s.y) && s.channels % kWide == 0 && reinterpret_cast<uintptr_t>(argmax) % 16 == 0;
  const int64_t chunks = vectors ? s.channels / kWide : s.channels;
  int lanes = 1;
  while (lanes < chunks && lanes < kMaxLanes) lanes *= 2;
  const int64_t channel_blocks = (chunks + lanes - 1) / lanes, items = s.batch * image.height * image.width * channel_blocks;
  const Arguments g{s.x, s.y, narrow(s.rows), narrow(s.columns), Divisor::of(image.height), Divisor::of(image.width), items,
                    static_cast<int>(s.channels), lanes, static_cast<int>(channel_blocks), s.count_include_pad};
  const unsigned blocks = grid_for(items, kBlock / lanes);
  if (vectors) run(std::integral_constant<int, kWide>(), g, blocks);
  else run(std::integral_constant<int, 1>(), g, blocks);
}

}  // namespace

template <class T>
void pooling_max_forward(const Stream& stream, const PoolingShape& s, const T* x, T* y, int32_t* argmax) {
  with_width(s, s.y, x, y, argmax, [&](auto n, const Arguments& g, unsigned blocks) {
    enqueue(stream, max_forward_kernel<T, n()>, blocks, kBlock, 0, x, y, argmax, g);
  });
}

template <class T>
void pooling_average_forward(const Stream& stream, const PoolingShape& s, const T* x, T* y) {
  with_width(s, s.y, x, y, nullptr, [&](auto n, const Arguments& g, unsigned blocks) {
    enqueue(stream, average_forward_kernel<T, n()>, blocks, kBlock, 0, x, y, g);
  });
}

template <class T>
void pooling_max_backward(const Stream& stream, const PoolingShape& s, const T* dy, const int32_t* argmax, T* dx) {
  with_width<T>(s, s.x, dx, dy, argmax, [&](auto n, const Arguments& g, unsigned blocks) {
    enqueue(stream, backward_kernel<T, n(), true>, blocks, kBlock, 0, dy, argmax, dx, g);
  });
}

template <class T>
void pooling_average_backward(const Stream& stream, const PoolingShape& s, const T* dy, T* dx) {
  with_width<T>(s, s.x, dx, dy, nullptr, [&](auto n, const Arguments& g, unsigned blocks) {
    enqueue(stream, backward_kernel<T, n(), false>, blocks, kBlock, 0, dy, nullptr, dx, g);
  });
}

#define GATUN_INSTANTIATE(T)                                                                                       \
  template void pooling_max_forward(const Stream&, const PoolingShape&, const T*, T*, int32_t*);                  \
  template void pooling_max_backward(const Stream&, const PoolingShape&, const T*, const int32_t*, T*);           \
  template void pooling_average_forward(const Stream&, const PoolingShape&, const T*, T*);                        \
  template void pooling_average_backward(const Stream&, const PoolingShape&, const T*, T*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

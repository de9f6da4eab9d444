// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions. Bound by memory, were it not for the taps that read a pixel again: so a thread has a vector of channels of a strip
// of neighbouring pixels, and a row of the source is read once for all taps of a kernel row. Weights lie in shared memory as floats.
#include "kernels/common/channels_cuda.h"
#include "kernels/convolution/convolution_cuda.h"

namespace gatun {
namespace {

constexpr int kBlock = 256, kStrip = 4;
constexpr int kVectorChannels = 4;
constexpr int kMaxLanes = 16;                  // threads across channels
constexpr size_t kWeightBytes = 64 * 1024;     // of shared memory

struct Shared {
  float* weights;
  __host__ __device__ Shared(Carve& carve, int taps, int channels) : weights(carve.take<float>(static_cast<size_t>(taps) * static_cast<size_t>(channels))) {}
};

// Strips of a phase's rows, one after the other.
struct Strips {
  Divisor per_row, rows;
  int count;
  static Strips of(int64_t batch, int64_t rows, int64_t columns) {
    const int64_t strips = (columns + kStrip - 1) / kStrip;
    return {Divisor::of(std::max<int64_t>(1, strips)), Divisor::of(std::max<int64_t>(1, rows)), static_cast<int>(batch * rows * strips)};
  }
};

struct GatherStrips {
  GatherArguments gather;
  Strips strips[kPhases];
  int channels, lanes;
};

// Run: taps of a kernel row that lie next to each other in the source, as do a strip's pixels; 1 where they do not.
template <class T, int N, int Run>
__global__ void __launch_bounds__(kBlock, 2)
    depthwise_kernel(const T* __restrict__ source, const T* __restrict__ weights, const float* __restrict__ bias, T* __restrict__ target,
                     const __grid_constant__ GatherStrips g) {
  GATUN_DYNAMIC_SHARED(memory);
  Carve carve(memory);
  const int width = g.lanes * N, taps = g.gather.taps, channel0 = static_cast<int>(blockIdx.y) * width;
  const Shared shared(carve, taps, width);
  for (int i = static_cast<int>(threadIdx.x); i < taps * width; i += kBlock) {
    const int channel = channel0 + i / taps;
    shared.weights[i % taps * width + i / taps] = channel < g.channels ? static_cast<float>(weights[static_cast<int64_t>(channel) * taps + i % taps]) : 0.0f;
  }
  __syncthreads();
  const Phase& phase = g.gather.phases[blockIdx.z];
  const Strips& strips = g.strips[blockIdx.z];
  const PixelGrid &from = g.gather.source, &to = g.gather.target;
  const int lane = static_cast<int>(threadIdx.x) % g.lanes, channel = channel0 + lane * N, per_block = kBlock / g.lanes;
  for (int strip = static_cast<int>(blockIdx.x) * per_block + static_cast<int>(threadIdx.x) / g.lanes; strip < strips.count && channel < g.channels;
       strip += static_cast<int>(gridDim.x) * per_block) {
    const int line = strips.per_row.quotient(strip), image = strips.rows.quotient(line);
    const int row = line - image * strips.rows.value, column = (strip - line * strips.per_row.value) * kStrip;
    float sum[kStrip][N] = {};
    for (int u = 0; u < phase.rows.count; ++u) {
      const int y = row * phase.rows.step + phase.rows.offset + u * phase.rows.offset_step;
      if (static_cast<unsigned>(y) >= static_cast<unsigned>(from.height)) continue;
      const T* const source_row = source + image * from.batch_stride + y * from.row_stride + channel;
      const int kernel_row = (phase.rows.kernel + u * phase.rows.kernel_step) * g.gather.kernel_width + phase.columns.kernel;
      for (int v = 0; v < phase.columns.count; v += Run) {
        float weight[Run][N];
        GATUN_UNROLL
        for (int k = 0; k < Run; ++k) load_channels<N>(shared.weights + (kernel_row + (v + k) * phase.columns.kernel_step) * width + lane * N, weight[k]);
        GATUN_UNROLL
        for (int i = 0; i < kStrip + Run - 1; ++i) {
          const int x = (Run == 1 ? (column + i) * phase.columns.step : column + i) + phase.columns.offset + v * phase.columns.offset_step;
          float value[N] = {};
          if (static_cast<unsigned>(x) < static_cast<unsigned>(from.width)) load_channels<N>(source_row + x * from.pixel_stride, value);
          GATUN_UNROLL
          for (int k = 0; k < Run; ++k) {
            if (i - k < 0 || i - k >= kStrip) continue;
            GATUN_UNROLL
            for (int c = 0; c < N; ++c) sum[i - k][c] += value[c] * weight[k][c];
          }
        }
      }
    }
    T* const target_row = target + image * to.batch_stride + (row * phase.rows.target_step + phase.rows.target) * to.row_stride + channel;
    GATUN_UNROLL
    for (int i = 0; i < kStrip; ++i) {
      if (column + i >= phase.columns.positions) continue;
      if (bias != nullptr) {
        float own[N];
        load_channels<N>(bias + channel, own);
        GATUN_UNROLL
        for (int c = 0; c < N; ++c) sum[i][c] += own[c];
      }
      store_channels<N>(target_row + ((column + i) * phase.columns.target_step + phase.columns.target) * to.pixel_stride, sum[i]);
    }
  }
}

struct WeightStrips {
  PixelGrid x, y;
  Strips strips;
  int channels, lanes, taps, kernel_width;
  int stride_height, stride_width, padding_top, padding_left, dilation_height, dilation_width;
  int chunk;  // strips of a block
};

// partial[chunk][tap][channel]: grid (chunks, blocks of channels, runs of taps)
template <class T, int N, int Run>
__global__ void __launch_bounds__(kBlock, 2)
    depthwise_weights_kernel(const T* __restrict__ x, const T* __restrict__ dy, float* __restrict__ partial, const __grid_constant__ WeightStrips g) {
  __shared__ float sums[kBlock * N];
  const int lane = static_cast<int>(threadIdx.x) % g.lanes, per_block = kBlock / g.lanes;
  const int channel = (static_cast<int>(blockIdx.y) * g.lanes + lane) * N;
  const int tap0 = static_cast<int>(blockIdx.z) * Run, u = tap0 / g.kernel_width, v = tap0 % g.kernel_width;
  const int begin = static_cast<int>(blockIdx.x) * g.chunk, end = g.strips.count - begin < g.chunk ? g.strips.count : begin + g.chunk;
  float sum[Run][N] = {};
  if (channel < g.channels) {
    for (int strip = begin + static_cast<int>(threadIdx.x) / g.lanes; strip < end; strip += per_block) {
      const int line = g.strips.per_row.quotient(strip), image = g.strips.rows.quotient(line);
      const int row = line - image * g.strips.rows.value, column = (strip - line * g.strips.per_row.value) * kStrip;
      const int source_row = row * g.stride_height + u * g.dilation_height - g.padding_top;
      if (static_cast<unsigned>(source_row) >= static_cast<unsigned>(g.x.height)) continue;
      const T* const from = x + image * g.x.batch_stride + source_row * g.x.row_stride + channel;
      const T* const gradient_row = dy + image * g.y.batch_stride + row * g.y.row_stride + channel;
      float gradient[kStrip][N] = {};
      GATUN_UNROLL
      for (int i = 0; i < kStrip; ++i) {
        if (column + i < g.y.width) load_channels<N>(gradient_row + (column + i) * g.y.pixel_stride, gradient[i]);
      }
      GATUN_UNROLL
      for (int i = 0; i < kStrip + Run - 1; ++i) {
        const int at = (Run == 1 ? (column + i) * g.stride_width : column + i) + v * g.dilation_width - g.padding_left;
        float value[N] = {};
        if (static_cast<unsigned>(at) < static_cast<unsigned>(g.x.width)) load_channels<N>(from + at * g.x.pixel_stride, value);
        GATUN_UNROLL
        for (int k = 0; k < Run; ++k) {
          if (i - k < 0 || i - k >= kStrip) continue;
          // Beyond the last column of y lie no outputs, though x may go on: a NaN there must not meet a gradient of 0.
          GATUN_UNROLL
          for (int c = 0; c < N; ++c) sum[k][c] += column + i - k < g.y.width ? gradient[i - k][c] * value[c] : 0.0f;
        }
      }
    }
  }
  GATUN_UNROLL
  for (int k = 0; k < Run; ++k) {
    store_channels<N>(sums + threadIdx.x * N, sum[k]);
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < g.lanes && channel < g.channels) {
      float total[N] = {};
      for (int i = 0; i < per_block; ++i) {
        GATUN_UNROLL
        for (int c = 0; c < N; ++c) total[c] += sums[(i * g.lanes + lane) * N + c];
      }
      store_channels<N>(partial + (static_cast<int64_t>(blockIdx.x) * g.taps + tap0 + k) * g.channels + channel, total);
    }
    __syncthreads();  // the next tap's sums go over these
  }
}

// dweights[channel][tap] = sum over chunks of partial[chunk][tap][channel], in order
__global__ void __launch_bounds__(kBlock)
    depthwise_add_kernel(const float* __restrict__ partial, int chunks, int taps, int channels, float* __restrict__ dweights) {
  const int64_t count = static_cast<int64_t>(taps) * channels;
  for (int64_t i = blockIdx.x * int64_t{kBlock} + threadIdx.x; i < count; i += gridDim.x * int64_t{kBlock}) {
    float sum = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * count + i];
    dweights[i % channels * taps + i / channels] = sum;
  }
}

template <class T>
bool vectors(const T* a, const PixelGrid& a_grid, const T* b, const PixelGrid& b_grid, int64_t channels) {
  const auto fits = [](const T* pointer, const PixelGrid& grid) {
    return reinterpret_cast<uintptr_t>(pointer) % (kVectorChannels * sizeof(T)) == 0 && grid.batch_stride % kVectorChannels == 0 &&
           grid.row_stride % kVectorChannels == 0 && grid.pixel_stride % kVectorChannels == 0;
  };
  return channels % kVectorChannels == 0 && fits(a, a_grid) && fits(b, b_grid);
}

int lanes_of(int64_t vectors_of_channels, int most) {
  int lanes = 1;
  while (lanes < vectors_of_channels && lanes < most) lanes *= 2;
  return lanes;
}

// Calls run(N, Run) with what fits: vectors of channels, and a kernel row at once if its taps are neighbours.
template <class F>
void with_run(bool vector, bool neighbours, int64_t taps, F&& run) {
  using One = std::integral_constant<int, 1>;
  using Vector = std::integral_constant<int, kVectorChannels>;
  if (!vector) run(One(), One());
  else if (neighbours && taps == 3) run(Vector(), std::integral_constant<int, 3>());
  else if (neighbours && taps == 5) run(Vector(), std::integral_constant<int, 5>());
  else if (neighbours && taps == 7) run(Vector(), std::integral_constant<int, 7>());
  else run(Vector(), One());
}

struct ChunkPlan {
  int chunks, strips;
};

ChunkPlan chunk_plan(const ConvolutionShape& s) {
  const int64_t count = Strips::of(s.batch, s.y.height, s.y.width).count;
  // Independent of how the operands are aligned, as is the workspace; a chunk has some work for each of its threads.
  const int64_t wanted = std::max<int64_t>(1, 8 * kTargetBlocks * 64 / (s.channels * s.kernel_height + 63));
  const int64_t strips = std::max<int64_t>(128, (count + wanted - 1) / wanted);
  return {static_cast<int>(std::max<int64_t>(1, (count + strips - 1) / strips)), static_cast<int>(strips)};
}

}  // namespace

bool depthwise_fits(const ConvolutionShape& s) {
  return s.depthwise() && s.channels <= int64_t{1} << 19 && static_cast<size_t>(s.taps()) * kVectorChannels * sizeof(float) <= kWeightBytes;
}

size_t depthwise_floats(const ConvolutionShape& s) {
  return static_cast<size_t>(chunk_plan(s).chunks) * static_cast<size_t>(s.taps()) * static_cast<size_t>(s.channels);
}

template <class T>
void depthwise_gather(const Stream& stream, const ConvolutionShape& s, bool backward, const T* source, const T* weights, const float* bias, T* target) {
  if (s.batch == 0) return;
  const bool vector = vectors(source, s.x, target, s.y, s.channels) && vectors(source, s.y, target, s.x, s.channels) &&
                      reinterpret_cast<uintptr_t>(bias) % 16 == 0;
  for_phases(s, backward, [&](const GatherArguments& gather) {
    bool neighbours = true;
    GatherStrips g{gather, {}, static_cast<int>(s.channels), 0};
    int most = 0;
    for (int i = 0; i < gather.phase_count; ++i) {
      const PhaseAxis& columns = gather.phases[i].columns;
      neighbours = neighbours && columns.count == s.kernel_width && columns.step == 1 && columns.offset_step == 1;
      g.strips[i] = Strips::of(s.batch, gather.phases[i].rows.positions, columns.positions);
      most = std::max(most, g.strips[i].count);
    }
    if (most == 0) return;
    with_run(vector, neighbours, s.kernel_width, [&](auto n, auto run) {
      const int64_t chunks = (s.channels + n() - 1) / n();
      int lanes = lanes_of(chunks, kMaxLanes);
      while (static_cast<size_t>(s.taps()) * static_cast<size_t>(lanes * n()) * sizeof(float) > kWeightBytes) lanes /= 2;
      g.lanes = lanes;
      Carve carve(nullptr);
      const Shared shared(carve, gather.taps, lanes * n());
      const int64_t channel_blocks = (chunks + lanes - 1) / lanes;
      // Few enough blocks that reading weights is little beside a block's strips, enough to even out the last wave.
      const auto most_blocks = static_cast<unsigned>(std::max<int64_t>(1, 8 * kTargetBlocks / channel_blocks));
      const dim3 grid(std::min(grid_for(most, kBlock / lanes), most_blocks), static_cast<unsigned>(channel_blocks), static_cast<unsigned>(gather.phase_count));
      enqueue(stream, depthwise_kernel<T, n(), run()>, grid, kBlock, carve.bytes(), source, weights, bias, target, g);
    });
  });
}

template <class T>
void depthwise_weights(const Stream& stream, const ConvolutionShape& s, const T* x, const T* dy, float* dweights, float* partial) {
  const ChunkPlan plan = chunk_plan(s);
  const bool neighbours = s.stride_width == 1 && s.dilation_width == 1;
  WeightStrips g{s.x, s.y, Strips::of(s.batch, s.y.height, s.y.width), static_cast<int>(s.channels), 0, static_cast<int>(s.taps()),
                 static_cast<int>(s.kernel_width), static_cast<int>(s.stride_height), static_cast<int>(s.stride_width), static_cast<int>(s.padding_top),
                 static_cast<int>(s.padding_left), static_cast<int>(s.dilation_height), static_cast<int>(s.dilation_width), plan.strips};
  with_run(vectors(x, s.x, dy, s.y, s.channels), neighbours, s.kernel_width, [&](auto n, auto run) {
    const int64_t chunks = (s.channels + n() - 1) / n();
    g.lanes = lanes_of(chunks, kMaxLanes);
    const dim3 grid(static_cast<unsigned>(plan.chunks), static_cast<unsigned>((chunks + g.lanes - 1) / g.lanes), static_cast<unsigned>(s.taps() / run()));
    enqueue(stream, depthwise_weights_kernel<T, n(), run()>, grid, kBlock, 0, x, dy, partial, g);
  });
  enqueue(stream, depthwise_add_kernel, grid_for(s.taps() * s.channels, kBlock), kBlock, 0, partial, plan.chunks, static_cast<int>(s.taps()),
          static_cast<int>(s.channels), dweights);
}

#define GATUN_INSTANTIATE(T)                                                                                                            \
  template void depthwise_gather(const Stream&, const ConvolutionShape&, bool, const T*, const T*, const float*, T*);                  \
  template void depthwise_weights(const Stream&, const ConvolutionShape&, const T*, const T*, float*, float*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

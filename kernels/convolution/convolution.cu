// SPDX-License-Identifier: Apache-2.0
// The entry points on CUDA: which kernel a shape takes, and the small passes around the matrix products.
#include "kernels/common/channels_cuda.h"
#include "kernels/convolution/convolution_cuda.h"

namespace gatun {
namespace {

constexpr int kTile = 32, kTileRows = 8;
constexpr int64_t kVectorElements = 8;  // of 16 bits

// to[group][channel][tap][output] = from[group][output][tap][channel]: what the gradient gathers by then lies along the sum.
template <class T>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(const T* __restrict__ from, T* __restrict__ to, int groups, int taps, int outputs, int channels) {
  __shared__ T tile[kTile][kTile + 4 / sizeof(T)];  // one word more than a row: no bank conflicts
  const int down = (outputs + kTile - 1) / kTile, across = (channels + kTile - 1) / kTile;
  const int lane = static_cast<int>(threadIdx.x), line = static_cast<int>(threadIdx.y);
  for (int64_t i = blockIdx.x; i < int64_t{groups} * taps * down * across; i += gridDim.x) {
    const int channel0 = static_cast<int>(i % across) * kTile, output0 = static_cast<int>(i / across % down) * kTile;
    const int64_t plane = i / across / down, group = plane / taps, tap = plane % taps;
    for (int r = line; r < kTile; r += kTileRows) {
      if (output0 + r < outputs && channel0 + lane < channels) {
        tile[r][lane] = from[((group * outputs + output0 + r) * taps + tap) * channels + channel0 + lane];
      }
    }
    __syncthreads();
    for (int r = line; r < kTile; r += kTileRows) {
      if (channel0 + r < channels && output0 + lane < outputs) {
        to[((group * channels + channel0 + r) * taps + tap) * outputs + output0 + lane] = tile[lane][r];
      }
    }
    __syncthreads();  // the next tile goes over this one
  }
}

constexpr int kBiasRows = 8;
constexpr int64_t kBiasChunk = 512;  // pixels, at least

struct BiasPlan {
  int chunks, pixels;
};

BiasPlan bias_plan(const ConvolutionShape& s) {
  const int64_t columns = (s.out_channels + 31) / 32;
  const int64_t wanted = std::max<int64_t>(1, kTargetBlocks * 4 / columns);
  const int64_t pixels = std::max(kBiasChunk, (s.positions() + wanted - 1) / wanted);
  return {static_cast<int>(std::max<int64_t>(1, (s.positions() + pixels - 1) / pixels)), static_cast<int>(pixels)};
}

// 32 outputs by 8 pixels a step; the eight sums of an output are added in order.
template <class T>
__global__ void __launch_bounds__(32 * kBiasRows)
    bias_kernel(const T* __restrict__ dy, float* __restrict__ partial, PixelGrid grid, Divisor height, Divisor width, int outputs, int positions, int pixels) {
  __shared__ float sums[kBiasRows][32];
  const int lane = static_cast<int>(threadIdx.x), line = static_cast<int>(threadIdx.y);
  const int columns = (outputs + 31) / 32;
  const int output = static_cast<int>(blockIdx.x) % columns * 32 + lane, chunk = static_cast<int>(blockIdx.x) / columns;
  const int end = positions - chunk * pixels < pixels ? positions : chunk * pixels + pixels;
  float sum = 0;
  if (output < outputs) {
    for (int p = chunk * pixels + line; p < end; p += kBiasRows) {
      const int row = width.quotient(p), image = height.quotient(row);
      sum += static_cast<float>(dy[image * grid.batch_stride + (row - image * height.value) * grid.row_stride + (p - row * width.value) * grid.pixel_stride + output]);
    }
  }
  sums[line][lane] = sum;
  __syncthreads();
  if (line == 0 && output < outputs) {
    for (int i = 1; i < kBiasRows; ++i) sum += sums[i][lane];
    partial[static_cast<int64_t>(chunk) * outputs + output] = sum;
  }
}

// A convolution without padding on the sides reads whole runs of kernel_width * channels elements: columns of its kernel are then channels
// of one tap, and few channels become many. So are the patches of a vision transformer read 16 bytes at a time.
ConvolutionShape merged(const ConvolutionShape& s) {
  const bool dense = s.groups == 1 && s.dilation_width == 1 && s.padding_left == 0 && s.x.pixel_stride == s.channels &&
                     (s.y.width - 1) * s.stride_width + s.kernel_width <= s.x.width;
  if (!dense || s.kernel_width == 1 || s.channels % 32 == 0) return s;
  ConvolutionShape m = s;
  m.channels = s.kernel_width * s.channels;
  m.kernel_width = 1;
  m.x.width = s.y.width;
  m.x.pixel_stride = s.stride_width * s.channels;
  m.stride_width = 1;
  return m;
}

// Patches that merge into whole vectors are matrix products as they are.
template <class T>
bool stem(const ConvolutionShape& s) {
  return sizeof(T) == 2 && merged(s).channels % kVectorElements != 0 && stem_fits(s);
}

constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

size_t bias_floats(const ConvolutionShape& s) { return static_cast<size_t>(bias_plan(s).chunks) * static_cast<size_t>(s.out_channels); }

template <class T>
void bias_gradient(const Stream& stream, const ConvolutionShape& s, const T* dy, float* dbias, float* partial) {
  const BiasPlan plan = bias_plan(s);
  const unsigned grid = static_cast<unsigned>((s.out_channels + 31) / 32) * static_cast<unsigned>(plan.chunks);
  enqueue(stream, bias_kernel<T>, grid, dim3(32, kBiasRows), 0, dy, partial, s.y, Divisor::of(s.y.height), Divisor::of(s.y.width),
          static_cast<int>(s.out_channels), static_cast<int>(s.positions()), plan.pixels);
  add_splits(stream, partial, plan.chunks, s.out_channels, dbias);
}

template <class T>
size_t convolution_forward_workspace(const Stream&, const ConvolutionShape&) { return 0; }

template <class T>
size_t convolution_backward_data_workspace(const Stream&, const ConvolutionShape& s) {
  return depthwise_fits(s) ? 0 : aligned(static_cast<size_t>(s.out_channels * s.patch()) * sizeof(T));
}

template <class T>
size_t convolution_backward_weights_workspace(const Stream&, const ConvolutionShape& s, ConvolutionTile tile) {
  if (depthwise_fits(s)) return aligned((depthwise_floats(s) + bias_floats(s)) * sizeof(float));
  const int plan = stem<T>(s) ? stem_splits(s) : weights_plan(merged(s), sizeof(T), tile).splits;
  const size_t splits = plan == 1 && !stem<T>(s) ? 0 : static_cast<size_t>(plan);
  return aligned((splits * static_cast<size_t>(s.out_channels * s.patch()) + bias_floats(s)) * sizeof(float));
}

template <class T>
void convolution_forward(const Stream& stream, const ConvolutionShape& s, const T* x, const T* weights, const float* bias, T* y, float*,
                         ConvolutionTile tile) {
  if (depthwise_fits(s)) return depthwise_gather(stream, s, false, x, weights, bias, y);
  if constexpr (sizeof(T) == 2) {
    if (stem<T>(s)) return stem_forward(stream, s, x, weights, bias, y);
  }
  for_phases(merged(s), false, [&](const GatherArguments& g) { gather_gemm(stream, g, x, weights, bias, y, tile); });
}

template <class T>
void convolution_backward_data(const Stream& stream, const ConvolutionShape& s, const T* dy, const T* weights, T* dx, float* workspace,
                               ConvolutionTile tile) {
  if (s.batch == 0) return;
  if (depthwise_fits(s)) return depthwise_gather<T>(stream, s, true, dy, weights, nullptr, dx);
  T* const transposed = reinterpret_cast<T*>(workspace);
  const int64_t planes = s.groups * s.taps(), tiles = ((s.group_outputs() + kTile - 1) / kTile) * ((s.group_channels() + kTile - 1) / kTile);
  enqueue(stream, transpose_kernel<T>, grid_for(planes * tiles, 1), dim3(kTile, kTileRows), 0, weights, transposed, static_cast<int>(s.groups),
          static_cast<int>(s.taps()), static_cast<int>(s.group_outputs()), static_cast<int>(s.group_channels()));
  for_phases(s, true, [&](const GatherArguments& g) { gather_gemm<T>(stream, g, dy, transposed, nullptr, dx, tile); });
}

template <class T>
void convolution_backward_weights(const Stream& stream, const ConvolutionShape& s, const T* x, const T* dy, float* dweights, float* dbias,
                                  float* workspace, ConvolutionTile tile) {
  if (dbias != nullptr) bias_gradient(stream, s, dy, dbias, workspace);
  if (depthwise_fits(s)) return depthwise_weights(stream, s, x, dy, dweights, workspace + bias_floats(s));
  if constexpr (sizeof(T) == 2) {
    if (stem<T>(s)) return stem_weights(stream, s, x, dy, dweights, workspace + bias_floats(s));
  }
  const ConvolutionShape m = merged(s);
  const WeightsPlan plan = weights_plan(m, sizeof(T), tile);
  weights_gemm(stream, m, plan, x, dy, dweights, workspace + bias_floats(s));
}

#define GATUN_INSTANTIATE(T)                                                                                                          \
  template size_t convolution_forward_workspace<T>(const Stream&, const ConvolutionShape&);                                           \
  template size_t convolution_backward_data_workspace<T>(const Stream&, const ConvolutionShape&);                                     \
  template size_t convolution_backward_weights_workspace<T>(const Stream&, const ConvolutionShape&, ConvolutionTile);                 \
  template void convolution_forward(const Stream&, const ConvolutionShape&, const T*, const T*, const float*, T*, float*, ConvolutionTile); \
  template void convolution_backward_data(const Stream&, const ConvolutionShape&, const T*, const T*, T*, float*, ConvolutionTile);   \
  template void convolution_backward_weights(const Stream&, const ConvolutionShape&, const T*, const T*, float*, float*, float*, ConvolutionTile);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun

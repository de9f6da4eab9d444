// SPDX-License-Identifier: Apache-2.0
// Bound by memory: the statistics read x once, the normalisation reads and writes once; backward reads x and dy in each of its two calls, as it
// must, since the sums of all rows (and machines) stand between them.
#include "kernels/batch_norm/batch_norm.h"

#include "kernels/common/channel_norm.h"

namespace gatun {
namespace {

// Chunks join by mean = Σ n_k mean_k / n and centered = Σ (centered_k + n_k (mean_k − mean)²), in f64.
__global__ void __launch_bounds__(kPartialWarps * 32) join_kernel(const float* __restrict__ partial, int64_t rows, int64_t chunk, int64_t chunks, int64_t columns,
                                                                  float* __restrict__ means, float* __restrict__ centered) {
  __shared__ double scratch[kPartialWarps][32];
  const double share = rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0;
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * 32; base < columns; base += static_cast<int64_t>(gridDim.x) * 32) {
    const int64_t c = base + threadIdx.x % 32, wanted = c < columns ? chunks : 0;
    const auto rows_of = [&](int64_t k) { return static_cast<double>(k + 1 < chunks ? chunk : rows - k * chunk); };
    const double mean = share * sum_over_chunks(wanted, scratch, [&](int64_t k) { return rows_of(k) * static_cast<double>(partial[2 * k * columns + c]); });
    const double squares = sum_over_chunks(wanted, scratch, [&](int64_t k) {
      const double d = static_cast<double>(partial[2 * k * columns + c]) - mean;
      return static_cast<double>(partial[(2 * k + 1) * columns + c]) + rows_of(k) * d * d;
    });
    if (threadIdx.x < 32 && c < columns) {
      means[c] = static_cast<float>(mean);
      centered[c] = static_cast<float>(squares);
    }
  }
}

__global__ void __launch_bounds__(kChannelBlock) update_kernel(const float* mean, const float* centered, int64_t columns, double n, double epsilon, const float* momentum,
                                                               float* running_mean, float* running_variance, float* rstd) {
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * kChannelBlock + threadIdx.x; c < columns; c += static_cast<int64_t>(gridDim.x) * kChannelBlock) {
    const double squares = static_cast<double>(centered[c]);
    rstd[c] = static_cast<float>(1.0 / sqrt(squares / n + epsilon));
    if (running_mean == nullptr) continue;
    const double m = static_cast<double>(*momentum);
    running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(running_mean[c]) + m * static_cast<double>(mean[c]));
    running_variance[c] = static_cast<float>((1 - m) * static_cast<double>(running_variance[c]) + m * squares / (n - 1));
  }
}

ChannelNorm norm_of(const BatchNormChannels& channels, int64_t columns, const float* variance = nullptr, double epsilon = 0) {
  return {channels.mean, variance == nullptr ? channels.rstd : variance, channels.gamma, channels.beta, columns, 1, channels.relu, epsilon};
}

template <class T>
void apply(const Stream& stream, Rows<const T> x, const ChannelNorm& norm, Rows<T> y) {
  if (x.rows == 0 || x.columns == 0) return;
  with_pack<T>(whole_packs<kPack<T>>(x) && whole_packs<kPack<T>>(y), [&](auto n) {
    const ChannelGrid grid(1, x.rows, x.columns, n());
    enqueue(stream, apply_kernel<T, n()>, grid_for(grid.units(), 1), kChannelBlock, 0, x, norm, y, grid);
  });
}

}  // namespace

size_t batch_norm_workspace(int64_t rows, int64_t columns) {
  return static_cast<size_t>(2 * ChannelGrid(1, rows, columns).chunks * columns) * sizeof(float);
}

template <class T>
void batch_norm_statistics(const Stream& stream, Rows<const T> x, float* mean, float* centered, float* workspace) {
  if (x.columns == 0) return;
  const ChannelGrid cut(1, x.rows, x.columns);
  if (x.rows > 0) {
    with_pack<T>(whole_packs<kPack<T>>(x), [&](auto n) {
      const ChannelGrid grid(1, x.rows, x.columns, n());
      enqueue(stream, moments_kernel<T, n()>, grid_for(grid.units(), 1), kChannelBlock, 0, x, grid, workspace);
    });
  }
  enqueue(stream, join_kernel, grid_for(x.columns, 32), kPartialWarps * 32, 0, workspace, x.rows, cut.chunk, cut.chunks, x.columns, mean, centered);
}

void batch_norm_update(const Stream& stream, const float* mean, const float* centered, int64_t columns, int64_t count, double epsilon,
                       const float* momentum, float* running_mean, float* running_variance, float* rstd) {
  if (columns == 0) return;
  enqueue(stream, update_kernel, grid_for(columns, kChannelBlock), kChannelBlock, 0, mean, centered, columns, static_cast<double>(count), epsilon, momentum,
          running_mean, running_variance, rstd);
}

template <class T>
void batch_norm_apply(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, Rows<const T>, Rows<T> y) {
  apply(stream, x, norm_of(channels, x.columns), y);
}

template <class T>
void batch_norm_inference(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, const float* variance, double epsilon,
                          Rows<T> y) {
  apply(stream, x, norm_of(channels, x.columns, variance, epsilon), y);
}

template <class T>
void batch_norm_backward_sums(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, Rows<const T>, Rows<const T> dy, Rows<T>,
                              float* dgamma, float* dbeta, float* workspace) {
  if (x.rows > 0 && x.columns > 0) {
    with_pack<T>(whole_packs<kPack<T>>(x) && whole_packs<kPack<T>>(dy), [&](auto n) {
      const ChannelGrid grid(1, x.rows, x.columns, n());
      enqueue(stream, gradient_sums_kernel<T, n()>, grid_for(grid.units(), 1), kChannelBlock, 0, x, norm_of(channels, x.columns), dy, grid, workspace);
    });
  }
  add_partials(stream, workspace, ChannelGrid(1, x.rows, x.columns).chunks, 2 * x.columns, x.columns, dgamma, dbeta);
}

template <class T>
void batch_norm_backward(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, Rows<const T> dy, const float* dgamma,
                         const float* dbeta, int64_t count, Rows<T> dx) {
  if (x.rows == 0 || x.columns == 0) return;
  with_pack<T>(whole_packs<kPack<T>>(x) && whole_packs<kPack<T>>(dy) && whole_packs<kPack<T>>(dx), [&](auto n) {
    const ChannelGrid grid(1, x.rows, x.columns, n());
    enqueue(stream, input_gradient_kernel<T, n(), false>, grid_for(grid.units(), 1), kChannelBlock, 0, x, norm_of(channels, x.columns), dy,
            GradientMeans{dgamma, dbeta, 1.0f / static_cast<float>(count)}, dx, grid);
  });
}

#define GATUN_INSTANTIATE(T)                                                                                                            \
  template void batch_norm_statistics(const Stream&, Rows<const T>, float*, float*, float*);                                            \
  template void batch_norm_apply(const Stream&, Rows<const T>, const BatchNormChannels&, Rows<const T>, Rows<T>);                       \
  template void batch_norm_inference(const Stream&, Rows<const T>, const BatchNormChannels&, const float*, double, Rows<T>);            \
  template void batch_norm_backward_sums(const Stream&, Rows<const T>, const BatchNormChannels&, Rows<const T>, Rows<const T>, Rows<T>, float*, float*, float*); \
  template void batch_norm_backward(const Stream&, Rows<const T>, const BatchNormChannels&, Rows<const T>, const float*, const float*, int64_t, Rows<T>);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)
#undef GATUN_INSTANTIATE

}  // namespace gatun

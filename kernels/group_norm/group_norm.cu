// SPDX-License-Identifier: Apache-2.0
// Bound by memory. Sums are taken channel by channel, so that rows are swept in whole packs whatever the width of a group (channel_norm.h); groups
// are formed from the sums of their channels. Each direction is two sweeps; the second begins with what the first read last.
#include "kernels/group_norm/group_norm.h"

#include "kernels/common/channel_norm.h"

namespace gatun {
namespace {

constexpr int kGroupBlock = 256;

__device__ __forceinline__ double warp_sum(double value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullMask, value, offset);
  return value;
}

// Σ of f(part, channel) over the chunks and channels of a group, which a warp takes; the same bits in every lane.
template <class F>
__device__ __forceinline__ double sum_over_group(const ChannelGrid& grid, int64_t sample, int64_t group, int64_t width, F&& f) {
  double total = 0;
  for (int64_t j = threadIdx.x % 32; j < grid.chunks * width; j += 32) total += f(j / width, sample * grid.chunks + j / width, group * width + j % width);
  return warp_sum(total);
}

// A group's mean and rstd from the moments of its channels in each chunk.
__global__ void __launch_bounds__(kGroupBlock, 2) join_kernel(const float* __restrict__ partial, ChannelGrid grid, int64_t channels, int64_t groups, double epsilon,
                                                           float* __restrict__ means, float* __restrict__ rstds) {
  const int64_t width = channels / groups, step = static_cast<int64_t>(gridDim.x) * (kGroupBlock / 32);
  const double share = 1.0 / static_cast<double>(grid.rows * width);
  for (int64_t g = blockIdx.x * (kGroupBlock / 32) + threadIdx.x / 32; g < grid.samples * groups; g += step) {
    const auto rows_of = [&](int64_t chunk) { return static_cast<double>(chunk + 1 < grid.chunks ? grid.chunk : grid.rows - chunk * grid.chunk); };
    const double mean = share * sum_over_group(grid, g / groups, g % groups, width, [&](int64_t chunk, int64_t part, int64_t c) {
      return rows_of(chunk) * static_cast<double>(partial[2 * part * channels + c]);
    });
    const double squares = sum_over_group(grid, g / groups, g % groups, width, [&](int64_t chunk, int64_t part, int64_t c) {
      const double d = static_cast<double>(partial[2 * part * channels + c]) - mean;
      return static_cast<double>(partial[(2 * part + 1) * channels + c]) + rows_of(chunk) * d * d;
    });
    if (threadIdx.x % 32 == 0) {
      means[g] = static_cast<float>(mean);
      rstds[g] = static_cast<float>(1.0 / sqrt(squares * share + epsilon));
    }
  }
}

// A group's Σ dy gamma x̂ and Σ dy gamma from the sums of its channels in each chunk.
__global__ void __launch_bounds__(kGroupBlock, 2) join_gradient_kernel(const float* __restrict__ partial, ChannelGrid grid, int64_t channels, int64_t groups,
                                                                    const float* __restrict__ gamma, float* __restrict__ projections, float* __restrict__ sums) {
  const int64_t width = channels / groups, step = static_cast<int64_t>(gridDim.x) * (kGroupBlock / 32);
  for (int64_t g = blockIdx.x * (kGroupBlock / 32) + threadIdx.x / 32; g < grid.samples * groups; g += step) {
    const auto sum_of = [&](int64_t which) {
      return sum_over_group(grid, g / groups, g % groups, width, [&](int64_t, int64_t part, int64_t c) {
        return static_cast<double>(partial[(2 * part + which) * channels + c]) * (gamma == nullptr ? 1.0 : static_cast<double>(gamma[c]));
      });
    };
    const double projection = sum_of(0), sum = sum_of(1);
    if (threadIdx.x % 32 == 0) {
      projections[g] = static_cast<float>(projection);
      sums[g] = static_cast<float>(sum);
    }
  }
}

ChannelGrid grid_of(const GroupNormShape& shape, int64_t pack = 1) { return ChannelGrid(shape.samples, shape.positions, shape.channels, pack); }

bool nothing(const GroupNormShape& shape) { return shape.samples == 0 || shape.positions == 0 || shape.channels == 0; }

}  // namespace

// Partial sums of each sample's chunks, two a channel; then two values a group.
size_t group_norm_workspace(const GroupNormShape& shape) {
  return static_cast<size_t>(2 * shape.samples * (grid_of(shape).chunks * shape.channels + shape.groups)) * sizeof(float);
}

template <class T>
void group_norm_forward(const Stream& stream, const GroupNormShape& shape, Rows<const T> x, const float* gamma, const float* beta, Rows<T> y,
                        float* mean, float* rstd, float epsilon, float* workspace) {
  const int64_t groups = shape.samples * shape.groups;
  const ChannelGrid cut = grid_of(shape);
  const bool packs = whole_packs<kPack<T>>(x) && whole_packs<kPack<T>>(y);
  if (!nothing(shape)) {
    with_pack<T>(packs, [&](auto n) {
      const ChannelGrid grid = grid_of(shape, n());
      enqueue(stream, moments_kernel<T, n()>, grid_for(grid.units(), 1), kChannelBlock, 0, x, grid, workspace);
    });
  }
  if (groups > 0) {
    enqueue(stream, join_kernel, grid_for(groups, kGroupBlock / 32), kGroupBlock, 0, workspace, cut, shape.channels, shape.groups,
            static_cast<double>(epsilon), mean, rstd);
  }
  if (nothing(shape)) return;
  with_pack<T>(packs, [&](auto n) {
    const ChannelGrid grid = grid_of(shape, n());
    enqueue(stream, apply_kernel<T, n()>, grid_for(grid.units(), 1), kChannelBlock, 0, x,
            ChannelNorm{mean, rstd, gamma, beta, shape.groups, shape.width(), false, 0.0}, y, grid);
  });
}

template <class T>
void group_norm_backward(const Stream& stream, const GroupNormShape& shape, Rows<const T> x, const float* gamma, const float* mean,
                         const float* rstd, Rows<const T> dy, Rows<T> dx, float* dgamma, float* dbeta, float* workspace) {
  const ChannelGrid cut = grid_of(shape);
  const int64_t groups = shape.samples * shape.groups;
  float* const projections = workspace + 2 * shape.samples * cut.chunks * shape.channels;
  const ChannelNorm norm{mean, rstd, gamma, nullptr, shape.groups, shape.width(), false, 0.0};
  if (!nothing(shape)) {
    with_pack<T>(whole_packs<kPack<T>>(x) && whole_packs<kPack<T>>(dy) && whole_packs<kPack<T>>(dx), [&](auto n) {
      const ChannelGrid grid = grid_of(shape, n());
      enqueue(stream, gradient_sums_kernel<T, n()>, grid_for(grid.units(), 1), kChannelBlock, 0, x, norm, dy, grid, workspace);
      enqueue(stream, join_gradient_kernel, grid_for(groups, kGroupBlock / 32), kGroupBlock, 0, workspace, cut, shape.channels, shape.groups, gamma, projections,
              projections + groups);
      const GradientMeans means{projections, projections + groups, static_cast<float>(1.0 / static_cast<double>(shape.positions * shape.width()))};
      enqueue(stream, input_gradient_kernel<T, n(), true>, grid_for(grid.units(), 1), kChannelBlock, 0, x, norm, dy, means, dx, grid);
    });
  }
  if (dgamma != nullptr || dbeta != nullptr) {
    add_partials(stream, workspace, shape.samples * cut.chunks, 2 * shape.channels, shape.channels, dgamma, dbeta);
  }
}

#define GATUN_INSTANTIATE(T)                                                                                                                         \
  template void group_norm_forward(const Stream&, const GroupNormShape&, Rows<const T>, const float*, const float*, Rows<T>, float*, float*, float, \
                                   float*);                                                                                                          \
  template void group_norm_backward(const Stream&, const GroupNormShape&, Rows<const T>, const float*, const float*, const float*, Rows<const T>,    \
                                    Rows<T>, float*, float*, float*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)
#undef GATUN_INSTANTIATE

}  // namespace gatun

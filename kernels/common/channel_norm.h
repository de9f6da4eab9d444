// SPDX-License-Identifier: Apache-2.0
// What batch_norm and group_norm share on CUDA: sweeps over rows in which a thread owns a few neighbouring channels, whose parameters and sums stay
// in its registers. Rows of a sample are cut into chunks by the shape alone; each chunk leaves partial sums, which are joined in a fixed order.
#pragma once

#include "kernels/common/packs.h"
#include "kernels/common/partial_sums.h"

namespace gatun {

inline constexpr int kChannelBlock = 256;

// How samples of (rows, channels) are cut. A block is `width` threads along the channels times `slots` rows; a unit of work is a tile of
// channels of a chunk of rows of a sample.
struct ChannelGrid {
  int64_t samples, rows, packs, tiles, chunk, chunks;
  int width = 1, slots;

  // About four blocks for each of 132 multiprocessors, in chunks of 16 rows or more. The cut depends on the shape alone: not on the
  // storage type, so that a workspace can be asked for without it, nor on the device, so that the bits are the same everywhere.
  ChannelGrid(int64_t samples, int64_t rows, int64_t channels, int64_t pack = 1) : samples(samples), rows(rows), packs(channels / pack) {
    while (width < 32 && width < packs) width *= 2;
    slots = kChannelBlock / width;
    tiles = chunk_count(packs, width);
    const int64_t sweep = samples * chunk_count(channels, 128), wanted = sweep > 0 ? 528 / sweep : 1, most = chunk_count(rows, 16);
    const int64_t cut = wanted < most ? wanted : most;
    chunk = rows > 0 ? chunk_count(rows, cut > 1 ? cut : 1) : 1;
    chunks = chunk_count(rows, chunk);
  }
  int64_t units() const { return samples * chunks * tiles; }
};

// A thread's place in one unit of a ChannelGrid.
struct ChannelPlace {
  int thread, slot;
  int64_t pack, sample, part;  // part: of all samples' chunks
  int64_t first, last;         // rows of all samples
  bool inside;

  __device__ __forceinline__ ChannelPlace(const ChannelGrid& grid, int64_t unit)
      : thread(static_cast<int>(threadIdx.x) % grid.width), slot(static_cast<int>(threadIdx.x) / grid.width),
        pack(unit % grid.tiles * grid.width + thread), part(unit / grid.tiles) {
    sample = part / grid.chunks;
    const int64_t begin = part % grid.chunks * grid.chunk, end = begin + grid.chunk;
    first = sample * grid.rows + begin;
    last = sample * grid.rows + (end < grid.rows ? end : grid.rows);
    inside = pack < grid.packs;
  }
};

// The statistics and parameters of channel c of a sample: of index sample * groups + c / width. batch_norm has one sample and groups of one.
struct ChannelNorm {
  const float *mean, *rstd;  // rstd holds variances where epsilon is not 0
  const float *gamma, *beta;  // may be NULL
  int64_t groups, width;
  bool relu;
  double epsilon;
};

// The same in the registers of a thread.
template <int N>
struct ChannelValues {
  Floats<N> mean, rstd, scale, shift;

  __device__ __forceinline__ ChannelValues(const ChannelNorm& norm, const ChannelPlace& place) {
    for (int i = 0; i < N; ++i) {
      const int64_t c = place.inside ? place.pack * N + i : 0, at = place.sample * norm.groups + c / norm.width;
      mean.at[i] = norm.mean[at];
      rstd.at[i] = norm.epsilon == 0 ? norm.rstd[at] : static_cast<float>(1.0 / sqrt(static_cast<double>(norm.rstd[at]) + norm.epsilon));
      scale.at[i] = norm.gamma == nullptr ? rstd.at[i] : __fmul_rn(rstd.at[i], norm.gamma[c]);
      shift.at[i] = norm.beta == nullptr ? 0.0f : norm.beta[c];
    }
  }
  // Forward and backward share this line, with its rounding, so that the mask of the rectifier is the same to the bit.
  __device__ __forceinline__ float normalized(float x, int i) const { return __fmaf_rn(__fsub_rn(x, mean.at[i]), scale.at[i], shift.at[i]); }
};

// The packs of R rows, row, row + slots, ..., of which `count` exist; the others are zeros.
template <int R, int N, class T>
__device__ __forceinline__ void load_rows(const Rows<const T>& x, const ChannelPlace& place, int64_t row, int slots, int count, Pack<T, N> (&rows)[R]) {
  GATUN_UNROLL
  for (int k = 0; k < R; ++k) {
    if (k < count) rows[k] = reinterpret_cast<const Pack<T, N>*>(row_of(x, row + k * slots))[place.pack];
    else rows[k] = narrow<T>(filled<N>(0.0f));
  }
}

// body(row, count) for every R rows of a slot: of those `count` exist.
template <int R, class Body>
__device__ __forceinline__ void for_row_groups(const ChannelGrid& grid, const ChannelPlace& place, Body&& body) {
  if (!place.inside) return;
  for (int64_t row = place.first + place.slot; row < place.last; row += R * grid.slots) {
    const int64_t left = (place.last - row + grid.slots - 1) / grid.slots;
    body(row, left < R ? static_cast<int>(left) : R);
  }
}

namespace {

// partial: for each sample and chunk the means (channels), then the centered sums of squares (channels).
template <class T, int N>
__global__ void __launch_bounds__(kChannelBlock, 3) moments_kernel(Rows<const T> x, ChannelGrid grid, float* __restrict__ partial) {
  __shared__ Floats<N> means[kChannelBlock], squares[kChannelBlock];
  constexpr int kR = N == 8 ? 4 : 8;
  for (int64_t unit = blockIdx.x; unit < grid.samples * grid.chunks * grid.tiles; unit += gridDim.x) {
    const ChannelPlace place(grid, unit);
    Floats<N> mean = filled<N>(0.0f), centered = filled<N>(0.0f);
    float before = 0;
    for_row_groups<kR>(grid, place, [&](int64_t row, int count) {
      Pack<T, N> rows[kR];
      load_rows(x, place, row, grid.slots, count, rows);
      // The mean and squares of these rows, exact to a rounding, join those before (Chan, Golub and LeVeque, 1979).
      // Divisions need no last digit: weight moves the mean along a difference, and the squares are taken about whatever center there is.
      const float here = static_cast<float>(count), weight = __fdividef(here, before + here), inverse = __fdividef(1.0f, here);
      for (int i = 0; i < N; ++i) {
        float sum = 0, square = 0;
        for (int k = 0; k < kR; ++k) sum += widen(rows[k]).at[i];
        const float center = sum * inverse;
        for (int k = 0; k < kR; ++k) {
          const float d = k < count ? widen(rows[k]).at[i] - center : 0.0f;
          square += d * d;
        }
        const float delta = center - mean.at[i];
        mean.at[i] += delta * weight;
        centered.at[i] += square + delta * delta * (before * weight);
      }
      before += here;
    });
    means[threadIdx.x] = mean;
    squares[threadIdx.x] = centered;
    __syncthreads();
    const int columns = grid.width * N;
    const int64_t channels = grid.packs * N, first = unit % grid.tiles * columns;
    const float* const each_mean = reinterpret_cast<const float*>(means);
    const float* const each_square = reinterpret_cast<const float*>(squares);
    for (int j = static_cast<int>(threadIdx.x); j < columns && first + j < channels; j += kChannelBlock) {
      const float rows = static_cast<float>(place.last - place.first);
      // Slot s has the rows s, s + slots, ...
      const auto rows_of = [&](int s) { return static_cast<float>((place.last - place.first - s + grid.slots - 1) / grid.slots); };
      float sum = 0, total = 0;
      for (int s = 0; s < grid.slots && s < place.last - place.first; ++s) sum += each_mean[s * columns + j] * rows_of(s);
      const float center = sum / rows;
      for (int s = 0; s < grid.slots && s < place.last - place.first; ++s) {
        const float d = each_mean[s * columns + j] - center;
        total += each_square[s * columns + j] + d * d * rows_of(s);
      }
      partial[2 * place.part * channels + first + j] = center;
      partial[(2 * place.part + 1) * channels + first + j] = total;
    }
    __syncthreads();  // the next unit writes means again
  }
}

// y may be x. Units are taken from the last to the first: what the sweep before read last is still in the L2.
template <class T, int N>
__global__ void __launch_bounds__(kChannelBlock, 2) apply_kernel(Rows<const T> x, ChannelNorm norm, Rows<T> y, ChannelGrid grid) {
  constexpr int kR = 4;
  const int64_t units = grid.samples * grid.chunks * grid.tiles;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const ChannelPlace place(grid, units - 1 - unit);
    const ChannelValues<N> values(norm, place);
    for_row_groups<kR>(grid, place, [&](int64_t row, int count) {
      Pack<T, N> rows[kR];
      load_rows(x, place, row, grid.slots, count, rows);
      GATUN_UNROLL
      for (int k = 0; k < kR; ++k) {
        if (k >= count) continue;
        Floats<N> v = widen(rows[k]);
        for (int i = 0; i < N; ++i) {
          const float value = values.normalized(v.at[i], i);
          v.at[i] = norm.relu && value <= 0.0f ? 0.0f : value;  // NaN stays
        }
        reinterpret_cast<Pack<T, N>*>(row_of(y, row + k * grid.slots))[place.pack] = narrow<T>(v);
      }
    });
  }
}

// partial: for each sample and chunk Σ dy x̂ (channels), then Σ dy (channels).
template <class T, int N>
__global__ void __launch_bounds__(kChannelBlock, 2) gradient_sums_kernel(Rows<const T> x, ChannelNorm norm, Rows<const T> dy, ChannelGrid grid, float* __restrict__ partial) {
  __shared__ Floats<N> projections[kChannelBlock], sums[kChannelBlock];
  constexpr int kR = N == 8 ? 3 : 4;
  for (int64_t unit = blockIdx.x; unit < grid.samples * grid.chunks * grid.tiles; unit += gridDim.x) {
    const ChannelPlace place(grid, unit);
    const ChannelValues<N> values(norm, place);
    Floats<N> projection = filled<N>(0.0f), sum = filled<N>(0.0f);
    for_row_groups<kR>(grid, place, [&](int64_t row, int count) {
      Pack<T, N> rows[kR], upstream[kR];
      load_rows(x, place, row, grid.slots, count, rows);
      load_rows(dy, place, row, grid.slots, count, upstream);  // zeros where there is no row
      GATUN_UNROLL
      for (int k = 0; k < kR; ++k) {
        const Floats<N> v = widen(rows[k]), g = widen(upstream[k]);
        for (int i = 0; i < N; ++i) {
          const float gradient = k >= count || (norm.relu && values.normalized(v.at[i], i) <= 0.0f) ? 0.0f : g.at[i];
          projection.at[i] += gradient * (v.at[i] - values.mean.at[i]);
          sum.at[i] += gradient;
        }
      }
    });
    for (int i = 0; i < N; ++i) projection.at[i] *= values.rstd.at[i];
    projections[threadIdx.x] = projection;
    sums[threadIdx.x] = sum;
    __syncthreads();
    const int columns = grid.width * N;
    const int64_t channels = grid.packs * N, first = unit % grid.tiles * columns;
    for (int j = static_cast<int>(threadIdx.x); j < 2 * columns; j += kChannelBlock) {
      const int c = j % columns;
      const float* const from = reinterpret_cast<const float*>(j < columns ? projections : sums);
      float total = 0;
      for (int s = 0; s < grid.slots; ++s) total += from[s * columns + c];
      if (first + c < channels) partial[(2 * place.part + (j < columns ? 0 : 1)) * channels + first + c] = total;
    }
    __syncthreads();  // the next unit writes sums again
  }
}

// Σ dy x̂ and Σ dy over what shares a mean, times `share`: 1 / its elements. Of index sample * groups + c / width.
struct GradientMeans {
  const float *projection, *sum;
  float share;
};

// dx = a (dy b - mean(dy b) - x̂ mean(dy b x̂)), where gamma is in a for batch_norm, since all of the mean shares it, and in b for group_norm
// (GammaInside). The product with a comes last: rounding it into the three terms would cost digits where they cancel. dx may be dy.
template <class T, int N, bool GammaInside>
__global__ void __launch_bounds__(kChannelBlock, 2) input_gradient_kernel(Rows<const T> x, ChannelNorm norm, Rows<const T> dy, GradientMeans means, Rows<T> dx, ChannelGrid grid) {
  constexpr int kR = N == 8 ? 3 : 4;
  const int64_t units = grid.samples * grid.chunks * grid.tiles;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const ChannelPlace place(grid, units - 1 - unit);
    const ChannelValues<N> values(norm, place);
    Floats<N> inner, common, slope;
    for (int i = 0; i < N; ++i) {
      const int64_t c = place.inside ? place.pack * N + i : 0, at = place.sample * norm.groups + c / norm.width;
      inner.at[i] = norm.gamma == nullptr ? 1.0f : norm.gamma[c];
      common.at[i] = means.sum[at] * means.share;
      slope.at[i] = means.projection[at] * means.share * values.rstd.at[i];
    }
    for_row_groups<kR>(grid, place, [&](int64_t row, int count) {
      Pack<T, N> rows[kR], upstream[kR];
      load_rows(x, place, row, grid.slots, count, rows);
      load_rows(dy, place, row, grid.slots, count, upstream);
      GATUN_UNROLL
      for (int k = 0; k < kR; ++k) {
        if (k >= count) continue;
        const Floats<N> v = widen(rows[k]), g = widen(upstream[k]);
        Floats<N> result;
        for (int i = 0; i < N; ++i) {
          float gradient = g.at[i];
          if constexpr (GammaInside) gradient *= inner.at[i];
          else gradient = norm.relu && values.normalized(v.at[i], i) <= 0.0f ? 0.0f : gradient;
          const float tangent = gradient - common.at[i] - (v.at[i] - values.mean.at[i]) * slope.at[i];
          result.at[i] = (GammaInside ? values.rstd.at[i] : values.scale.at[i]) * tangent;
        }
        reinterpret_cast<Pack<T, N>*>(row_of(dx, row + k * grid.slots))[place.pack] = narrow<T>(result);
      }
    });
  }
}

}  // namespace

// Calls f(pack) with the elements that a thread takes at once, as an integral constant.
template <class T, class F>
void with_pack(bool packs, F&& f) {
  if (packs) f(std::integral_constant<int, kPack<T>>());
  else f(std::integral_constant<int, 1>());
}

}  // namespace gatun

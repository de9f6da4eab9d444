// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution on padded bands (band-inl.h): there every tap of every target is an ordinary load.
#include "kernels/convolution/depthwise.h"

#include <omp.h>

#include <algorithm>
#include <type_traits>

#include "kernels/common/isa.h"
#include "kernels/convolution/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/depthwise.cpp"
#include "hwy/foreach_target.h"
#include "kernels/convolution/band-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// A gather whose taps bring all channels at once, and its bands.
struct DepthwiseGather {
  Gather g;
  int64_t channel_stride;  // of the packed weights: whole vectors
  BandPlan bands;

  explicit DepthwiseGather(const Gather& gather, int64_t channels)
      : g(with_channels(gather, channels)), channel_stride(round_up(channels, 16)), bands(g, 1, static_cast<double>(g.depth()) / 16) {}
  static Gather with_channels(Gather g, int64_t channels) {
    g.channels = channels;
    return g;
  }
  int64_t packed_floats() const { return g.rows.count * g.columns.count * channel_stride; }
  size_t workspace(int threads) const { return static_cast<size_t>(packed_floats() + threads * bands.floats()) * sizeof(float); }
};

// Strides of one line of targets. Whole vectors may be read behind the last channel (the band and the packed weights have room).
struct DepthwiseLine {
  int64_t taps_rows;
  int64_t taps_columns;
  int64_t row_step;     // in the copy: kernel rows, kernel columns, targets
  int64_t column_step;
  int64_t position_step;
  int64_t target_step;
  int64_t channel_stride;
};

// kPositions neighbouring targets, one vector of channels. With kSliding (stride and dilation 1, kSliding kernel columns) a loaded pixel
// serves all targets that it touches.
template <int kPositions, int kSliding>
HWY_INLINE void depthwise_positions(const DepthwiseLine& line, const float* HWY_RESTRICT copy, const float* HWY_RESTRICT packed, VF start,
                                    int64_t live, float* HWY_RESTRICT target) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kPositions];
#pragma GCC unroll 8
  for (int p = 0; p < kPositions; ++p) acc[p] = start;
  for (int64_t u = 0; u < line.taps_rows; ++u) {
    const float* from = copy + u * line.row_step;
    if constexpr (kSliding > 0) {
      VF weight[kSliding];
#pragma GCC unroll 8
      for (int v = 0; v < kSliding; ++v) weight[v] = hn::LoadU(d, packed + v * line.channel_stride);
#pragma GCC unroll 16
      for (int t = 0; t < kPositions + kSliding - 1; ++t) {
        const VF x = hn::LoadU(d, from + t * line.position_step);
#pragma GCC unroll 8
        for (int v = 0; v < kSliding; ++v) {
          if (t - v >= 0 && t - v < kPositions) acc[t - v] = hn::MulAdd(x, weight[v], acc[t - v]);
        }
      }
    } else {
      for (int64_t v = 0; v < line.taps_columns; ++v) {
        const VF weight = hn::LoadU(d, packed + v * line.channel_stride);
#pragma GCC unroll 8
        for (int p = 0; p < kPositions; ++p) {
          acc[p] = hn::MulAdd(hn::LoadU(d, from + v * line.column_step + p * line.position_step), weight, acc[p]);
        }
      }
    }
    packed += line.taps_columns * line.channel_stride;
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPositions; ++p) gemm_store(acc[p], d, target + p * line.target_step, live, lanes);
}

template <int kSliding>
static void depthwise_line(const DepthwiseLine& line, int64_t positions, int64_t channels, const float* copy, const float* packed,
                           const float* bias, float* target) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t live = channels - c;
    const VF start = bias == nullptr ? hn::Zero(d) : gemm_load(d, bias + c, live, lanes);
    int64_t j = 0;
    const auto advance = [&](auto count) HWY_ATTR {
      depthwise_positions<count.value, kSliding>(line, copy + j * line.position_step + c, packed + c, start, live, target + j * line.target_step + c);
      j += count.value;
    };
    while (j + 8 <= positions) advance(std::integral_constant<int, 8>());
    if (j + 4 <= positions) advance(std::integral_constant<int, 4>());
    if (j + 2 <= positions) advance(std::integral_constant<int, 2>());
    if (j < positions) advance(std::integral_constant<int, 1>());
  }
}

static void depthwise_gather(int threads, const Gather& gather, int64_t channels, const float* source, const float* weights, const float* bias,
                             float* target, float* workspace) {
  const DepthwiseGather plan(gather, channels);
  const Gather& g = plan.g;
  if (g.positions() == 0) return;
  const int64_t kernel = g.weight_output * g.weight_channel;  // one of them is 1, the other the size of a channel's kernel
  const DepthwiseLine line{g.rows.count,
                           g.columns.count,
                           g.rows.offset_step * plan.bands.row_stride,
                           g.columns.offset_step * plan.bands.pixel_stride,
                           g.columns.step * plan.bands.pixel_stride,
                           g.columns.target_step * g.target.pixel_stride,
                           plan.channel_stride};
  const bool dense = g.columns.step == 1 && g.columns.offset_step == 1;
  const auto run = dense && g.columns.count == 3   ? &depthwise_line<3>
                   : dense && g.columns.count == 5 ? &depthwise_line<5>
                   : dense && g.columns.count == 7 ? &depthwise_line<7>
                                                   : &depthwise_line<0>;
  float* packed = workspace;
#pragma omp parallel num_threads(threads)
  {
    float* copy = workspace + plan.packed_floats() + omp_get_thread_num() * plan.bands.floats();
#pragma omp for schedule(static)
    for (int64_t tap = 0; tap < g.rows.count * g.columns.count; ++tap) {
      const int64_t u = g.rows.kernel + tap / g.columns.count * g.rows.kernel_step;
      const int64_t v = g.columns.kernel + tap % g.columns.count * g.columns.kernel_step;
      float* to = packed + tap * plan.channel_stride;
      for (int64_t c = 0; c < channels; ++c) to[c] = weights[c * kernel + u * g.weight_row + v * g.weight_column];
      std::fill(to + channels, to + plan.channel_stride, 0.0f);
    }
#pragma omp for schedule(dynamic)
    for (int64_t index = 0; index < plan.bands.count; ++index) {
      const Band band(plan.bands, g, index);
      copy_band(g, plan.bands, band, source, copy);
      for (int64_t l = 0; l < band.lines(); ++l) {
        const int64_t n = l / band.rows;
        const int64_t i = l % band.rows;
        run(line, g.columns.positions, channels, copy + n * plan.bands.image_stride + i * g.rows.step * plan.bands.row_stride, packed, bias,
            target + g.target.offset(band.image + n, g.rows.target + (band.row + i) * g.rows.target_step, g.columns.target));
      }
    }
  }
}

size_t depthwise_forward_bytes(int threads, const ConvolutionShape& s) {
  return DepthwiseGather(forward_gather(s), s.channels).workspace(threads);
}

void depthwise_forward_run(int threads, const ConvolutionShape& s, const float* x, const float* weights, const float* bias, float* y,
                           float* workspace) {
  depthwise_gather(threads, forward_gather(s), s.channels, x, weights, bias, y, workspace);
}

size_t depthwise_backward_data_bytes(int threads, const ConvolutionShape& s) {
  size_t bytes = 0;
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      bytes = std::max(bytes, DepthwiseGather(backward_gather(s, i, j), s.channels).workspace(threads));
    }
  }
  return bytes;
}

void depthwise_backward_data_run(int threads, const ConvolutionShape& s, const float* dy, const float* weights, float* dx, float* workspace) {
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      depthwise_gather(threads, backward_gather(s, i, j), s.channels, dy, weights, nullptr, dx, workspace);
    }
  }
}

// Chunks of bands by the shape alone; a chunk's partial sums are [tap][channel], the bias behind the last tap.
struct DepthwiseWeights {
  DepthwiseGather gather;
  int64_t partial;
  int64_t chunks;
  int64_t chunk_bands;

  explicit DepthwiseWeights(const ConvolutionShape& s)
      : gather(forward_gather(s), s.channels), partial(gather.packed_floats() + gather.channel_stride) {
    const int64_t most = std::clamp<int64_t>((int64_t{4} << 20) / partial, 1, 64);
    chunks = std::clamp<int64_t>(std::min(s.positions() / 256, gather.bands.count), 1, most);
    chunk_bands = (gather.bands.count + chunks - 1) / chunks;
  }
};

// Sums of kRows x kColumns taps for one vector of channels over the lines of a band.
template <int kRows, int kColumns>
HWY_INLINE void depthwise_taps(const DepthwiseLine& line, const GemmLines& lines, const float* HWY_RESTRICT dy, const float* HWY_RESTRICT copy,
                               int64_t live, float* HWY_RESTRICT sums) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows][kColumns];
#pragma GCC unroll 4
  for (int u = 0; u < kRows; ++u) {
#pragma GCC unroll 8
    for (int v = 0; v < kColumns; ++v) acc[u][v] = hn::LoadU(d, sums + (u * line.taps_columns + v) * line.channel_stride);
  }
  for (int64_t l = 0; l < lines.lines; ++l) {
    const float* gradient = dy + lines.a_offset[l];
    const float* x = copy + lines.b_offset[l];
    for (int64_t j = 0; j < lines.length; ++j, gradient += lines.a_step, x += lines.b_step) {
      const VF factor = gemm_load(d, gradient, live, lanes);
#pragma GCC unroll 4
      for (int u = 0; u < kRows; ++u) {
#pragma GCC unroll 8
        for (int v = 0; v < kColumns; ++v) acc[u][v] = hn::MulAdd(hn::LoadU(d, x + u * line.row_step + v * line.column_step), factor, acc[u][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int u = 0; u < kRows; ++u) {
#pragma GCC unroll 8
    for (int v = 0; v < kColumns; ++v) hn::StoreU(acc[u][v], d, sums + (u * line.taps_columns + v) * line.channel_stride);
  }
}

// All taps of one vector of channels.
static void depthwise_all_taps(const DepthwiseLine& line, const GemmLines& lines, const float* dy, const float* copy, int64_t live, float* sums) {
  int64_t u = 0;
  if (line.taps_rows == 3 && line.taps_columns == 3) {
    depthwise_taps<3, 3>(line, lines, dy, copy, live, sums);
    u = 3;
  }
  for (; u < line.taps_rows; ++u) {
    int64_t v = 0;
    while (v < line.taps_columns) {
      const int64_t left = line.taps_columns - v;
      const float* x = copy + u * line.row_step + v * line.column_step;
      float* to = sums + (u * line.taps_columns + v) * line.channel_stride;
      if (left >= 7) {
        depthwise_taps<1, 7>(line, lines, dy, x, live, to);
        v += 7;
      } else if (left >= 3) {
        depthwise_taps<1, 3>(line, lines, dy, x, live, to);
        v += 3;
      } else {
        depthwise_taps<1, 1>(line, lines, dy, x, live, to);
        v += 1;
      }
    }
  }
}

static void depthwise_chunk(const ConvolutionShape& s, const DepthwiseWeights& plan, int64_t chunk, const float* x, const float* dy, bool bias,
                            float* partial, float* copy) {
  const Gather& g = plan.gather.g;
  const BandPlan& bands = plan.gather.bands;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const DepthwiseLine line{g.rows.count,
                           g.columns.count,
                           g.rows.offset_step * bands.row_stride,
                           g.columns.offset_step * bands.pixel_stride,
                           g.columns.step * bands.pixel_stride,
                           0,
                           plan.gather.channel_stride};
  std::fill_n(partial, plan.partial, 0.0f);
  float* bias_sums = partial + plan.gather.packed_floats();
  for (int64_t index = chunk * plan.chunk_bands; index < std::min(bands.count, (chunk + 1) * plan.chunk_bands); ++index) {
    const Band band(bands, g, index);
    copy_band(g, bands, band, x, copy);
    for (int64_t first = 0; first < band.lines(); first += kSegmentPositions) {
      const int64_t count = std::min(kSegmentPositions, band.lines() - first);
      int64_t dy_line[kSegmentPositions];
      int64_t copy_line[kSegmentPositions];
      for (int64_t l = 0; l < count; ++l) {
        const int64_t n = (first + l) / band.rows;
        const int64_t i = (first + l) % band.rows;
        dy_line[l] = s.y.offset(band.image + n, band.row + i, 0);
        copy_line[l] = n * bands.image_stride + i * g.rows.step * bands.row_stride;
      }
      const GemmLines lines{count, s.y.width, s.y.pixel_stride, line.position_step, dy_line, copy_line};
      for (int64_t c = 0; c < s.channels; c += lanes) {
        const int64_t live = s.channels - c;
        depthwise_all_taps(line, lines, dy + c, copy + c, live, partial + c);
        if (!bias) continue;
        VF sum = hn::LoadU(d, bias_sums + c);
        for (int64_t l = 0; l < count; ++l) {
          for (int64_t j = 0; j < s.y.width; ++j) sum = hn::Add(sum, gemm_load(d, dy + dy_line[l] + j * s.y.pixel_stride + c, live, lanes));
        }
        hn::StoreU(sum, d, bias_sums + c);
      }
    }
  }
}

size_t depthwise_backward_weights_bytes(int threads, const ConvolutionShape& s) {
  const DepthwiseWeights plan(s);
  return static_cast<size_t>(plan.chunks * plan.partial + threads * plan.gather.bands.floats()) * sizeof(float);
}

void depthwise_backward_weights_run(int threads, const ConvolutionShape& s, const float* x, const float* dy, float* dweights, float* dbias,
                                    float* partials) {
  const DepthwiseWeights plan(s);
  float* copies = partials + plan.chunks * plan.partial;
#pragma omp parallel num_threads(threads)
  {
    float* copy = copies + omp_get_thread_num() * plan.gather.bands.floats();
#pragma omp for schedule(dynamic)
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
      depthwise_chunk(s, plan, chunk, x, dy, dbias != nullptr, partials + chunk * plan.partial, copy);
    }
#pragma omp for schedule(static)
    for (int64_t tap = 0; tap <= s.taps(); ++tap) {
      if (tap == s.taps() && dbias == nullptr) continue;
      float* to = tap == s.taps() ? dbias : dweights + tap;
      const int64_t step = tap == s.taps() ? 1 : s.taps();
      for (int64_t c = 0; c < s.channels; ++c) {
        float sum = 0.0f;
        for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) sum += partials[chunk * plan.partial + tap * plan.gather.channel_stride + c];
        to[c * step] = sum;
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

size_t depthwise_forward_workspace(const Stream& stream, const ConvolutionShape& shape) {
  return GATUN_DISPATCH(depthwise_forward_bytes)(stream.threads(), shape);
}

size_t depthwise_backward_data_workspace(const Stream& stream, const ConvolutionShape& shape) {
  return GATUN_DISPATCH(depthwise_backward_data_bytes)(stream.threads(), shape);
}

size_t depthwise_backward_weights_workspace(const Stream& stream, const ConvolutionShape& shape) {
  return GATUN_DISPATCH(depthwise_backward_weights_bytes)(stream.threads(), shape);
}

void depthwise_forward(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias, float* y,
                       float* workspace) {
  GATUN_DISPATCH(depthwise_forward_run)(stream.threads(), shape, x, weights, bias, y, workspace);
}

void depthwise_backward_data(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                             float* workspace) {
  GATUN_DISPATCH(depthwise_backward_data_run)(stream.threads(), shape, dy, weights, dx, workspace);
}

void depthwise_backward_weights(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                float* dbias, float* workspace) {
  GATUN_DISPATCH(depthwise_backward_weights_run)(stream.threads(), shape, x, dy, dweights, dbias, workspace);
}

}  // namespace gatun
#endif

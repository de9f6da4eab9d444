// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution: in place where that is possible (depthwise_in_place-inl.h), else on padded bands (band-inl.h), where every tap of every
// target is an ordinary load.
#include "kernels/convolution/depthwise.h"

#include <omp.h>

#include <algorithm>
#include <type_traits>

#include "hwy/cache_control.h"
#include "kernels/common/isa.h"
#include "kernels/convolution/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/depthwise.cpp"
#include "hwy/foreach_target.h"
#include "kernels/convolution/band-inl.h"
#include "kernels/convolution/depthwise_in_place-inl.h"
#include "kernels/convolution/depthwise_weights_in_place-inl.h"

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
  bool in_place() const { return depthwise_in_place(g, g.channels); }
  size_t workspace(int threads) const {
    return static_cast<size_t>(packed_floats() + (in_place() ? 0 : threads * bands.floats())) * sizeof(float);
  }
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

// Weights as [tap][channel]; every thread of a parallel region calls it.
static void depthwise_pack(const DepthwiseGather& plan, const float* weights, float* packed) {
  const Gather& g = plan.g;
  const int64_t kernel = g.weight_output * g.weight_channel;  // one of them is 1, the other the size of a channel's kernel
#pragma omp for schedule(static)
  for (int64_t tap = 0; tap < g.rows.count * g.columns.count; ++tap) {
    const int64_t u = g.rows.kernel + tap / g.columns.count * g.rows.kernel_step;
    const int64_t v = g.columns.kernel + tap % g.columns.count * g.columns.kernel_step;
    float* to = packed + tap * plan.channel_stride;
    for (int64_t c = 0; c < g.channels; ++c) to[c] = weights[c * kernel + u * g.weight_row + v * g.weight_column];
    std::fill(to + g.channels, to + plan.channel_stride, 0.0f);
  }
}

[[maybe_unused]] static void depthwise_gather_in_place(int threads, const DepthwiseGather& plan, const float* source, const float* weights, const float* bias,
                                      float* target, float* packed) {
  const Gather& g = plan.g;
  const int64_t bytes = static_cast<int64_t>(sizeof(float)) * g.channels * g.batch * (g.source.height * g.source.width + g.target.height * g.target.width);
  const bool stream = bytes >= kStreamedBytes && in_place_streams(g, target);
  const InPlaceImage image{g.source, g.target, g.rows.count, g.rows.offset, g.channels, plan.channel_stride, bytes >= kFetchedBytes, stream};
  const bool eight = in_place_chunk(g.source.width) == 8;
  const auto run = g.columns.count == 3   ? eight ? &in_place_image<3, 8> : &in_place_image<3, 7>
                   : g.columns.count == 5 ? eight ? &in_place_image<5, 8> : &in_place_image<5, 7>
                   : eight                ? &in_place_image<7, 8>
                                          : &in_place_image<7, 7>;
  const int64_t parts = (kBandCount + g.batch - 1) / g.batch;
  const int64_t rows = round_up((g.rows.positions + parts - 1) / parts, kInPlaceRows);
  const int64_t bands = (g.rows.positions + rows - 1) / rows;
#pragma omp parallel num_threads(threads)
  {
    depthwise_pack(plan, weights, packed);
#pragma omp for schedule(static) nowait
    for (int64_t item = 0; item < g.batch * bands; ++item) {
      const int64_t b = item / bands;
      const int64_t row = item % bands * rows;
      run(image, source + b * g.source.batch_stride, packed, bias, target + b * g.target.batch_stride, row, std::min(g.rows.positions, row + rows));
    }
    if (stream) hwy::FlushStream();
  }
}

static void depthwise_gather(int threads, const Gather& gather, int64_t channels, const float* source, const float* weights, const float* bias,
                             float* target, float* workspace) {
  const DepthwiseGather plan(gather, channels);
  const Gather& g = plan.g;
  if (g.positions() == 0) return;
  if constexpr (kInPlace) {
    if (plan.in_place()) return depthwise_gather_in_place(threads, plan, source, weights, bias, target, workspace);
  }
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
    depthwise_pack(plan, weights, packed);
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
  bool in_place;
  int64_t partial;
  int64_t rows;       // of a band that is read in place
  int64_t row_bands;  // bands of an image, in place
  int64_t bands;      // in all
  int64_t chunks;
  int64_t chunk_bands;

  explicit DepthwiseWeights(const ConvolutionShape& s)
      : gather(forward_gather(s), s.channels),
        in_place(depthwise_weights_in_place(gather.g, s.channels)),
        partial(gather.packed_floats() + gather.channel_stride),
        rows(std::clamp<int64_t>(kInPlaceBandFloats / (2 * s.y.width * s.channels), 1, s.y.height)),
        row_bands((s.y.height + rows - 1) / rows),
        bands(in_place ? s.batch * row_bands : gather.bands.count) {
    const int64_t most = std::clamp<int64_t>((int64_t{4} << 20) / partial, 1, 64);
    chunks = std::clamp<int64_t>(std::min(s.positions() / 256, bands), 1, most);
    chunk_bands = std::max<int64_t>(1, (bands + chunks - 1) / chunks);
    chunks = std::max<int64_t>(1, (bands + chunk_bands - 1) / chunk_bands);
  }
  int64_t copy_floats() const { return in_place ? 0 : gather.bands.floats(); }
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
  for (int64_t index = chunk * plan.chunk_bands; index < std::min(plan.bands, (chunk + 1) * plan.chunk_bands); ++index) {
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

// depthwise_chunk() without copies.
[[maybe_unused]] static void depthwise_chunk_in_place(const ConvolutionShape& s, const DepthwiseWeights& plan, int64_t chunk, const float* x, const float* dy,
                                     float* partial) {
  const Gather& g = plan.gather.g;
  const InPlaceImage image{s.x, s.y, g.rows.count, g.rows.offset, s.channels, plan.gather.channel_stride, false, false};
  const bool eight = in_place_chunk(s.x.width) == 8;
  const auto run = g.columns.count == 3   ? eight ? &in_place_weights<3, 8> : &in_place_weights<3, 7>
                   : g.columns.count == 5 ? eight ? &in_place_weights<5, 8> : &in_place_weights<5, 7>
                   : eight                ? &in_place_weights<7, 8>
                                          : &in_place_weights<7, 7>;
  std::fill_n(partial, plan.partial, 0.0f);
  const int64_t end = std::min(plan.bands, (chunk + 1) * plan.chunk_bands);
  for (int64_t index = chunk * plan.chunk_bands; index < end; ++index) {
    const int64_t b = index / plan.row_bands, row = index % plan.row_bands * plan.rows;
    InPlaceBand band{row, std::min(s.y.height, row + plan.rows), nullptr, nullptr};
    if (index + 1 < end) {
      const int64_t next = (index + 1) / plan.row_bands, next_row = (index + 1) % plan.row_bands * plan.rows;
      band.next_x = x + s.x.offset(next, next_row, 0);
      band.next_dy = dy + s.y.offset(next, next_row, 0);
    }
    run(image, band, x + b * s.x.batch_stride, dy + b * s.y.batch_stride, partial, partial + plan.gather.packed_floats());
  }
}

// The chunks' sums in their order, for one tap (or, behind the last, the bias); to: of the first channel.
static void depthwise_reduce(const DepthwiseWeights& plan, int64_t tap, const float* partials, float* to, int64_t step) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float sums[HWY_MAX_BYTES / sizeof(float)];
  for (int64_t next = 0; next < plan.gather.g.channels; next += lanes) {
    const int64_t c = plan.in_place ? std::min(next, plan.gather.g.channels - lanes) : next;
    const float* from = partials + tap * plan.gather.channel_stride + next;
    VF sum = hn::Zero(d);
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) sum = hn::Add(sum, hn::LoadU(d, from + chunk * plan.partial));
    hn::Store(sum, d, sums);
    for (int64_t i = 0; i < std::min(lanes, plan.gather.g.channels - c); ++i) to[(c + i) * step] = sums[i];
  }
}

size_t depthwise_backward_weights_bytes(int threads, const ConvolutionShape& s) {
  const DepthwiseWeights plan(s);
  return static_cast<size_t>(plan.chunks * plan.partial + threads * plan.copy_floats()) * sizeof(float);
}

void depthwise_backward_weights_run(int threads, const ConvolutionShape& s, const float* x, const float* dy, float* dweights, float* dbias,
                                    float* partials) {
  const DepthwiseWeights plan(s);
  float* copies = partials + plan.chunks * plan.partial;
#pragma omp parallel num_threads(threads)
  {
    float* copy = copies + omp_get_thread_num() * plan.copy_floats();
#pragma omp for schedule(static)
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
      float* partial = partials + chunk * plan.partial;
      if constexpr (kInPlace) {
        if (plan.in_place) {
          depthwise_chunk_in_place(s, plan, chunk, x, dy, partial);
          continue;
        }
      }
      depthwise_chunk(s, plan, chunk, x, dy, dbias != nullptr, partial, copy);
    }
#pragma omp for schedule(static)
    for (int64_t tap = 0; tap <= s.taps(); ++tap) {
      if (tap < s.taps()) {
        depthwise_reduce(plan, tap, partials, dweights + tap, s.taps());
      } else if (dbias != nullptr) {
        depthwise_reduce(plan, tap, partials, dbias, 1);
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

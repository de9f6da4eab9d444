// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution/depthwise.h"

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/convolution/gather.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/depthwise.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// A whole vector from memory that has room for one, or the first n elements.
HWY_INLINE VF load_part(F32 d, const float* p, int64_t n, int64_t lanes) { return n >= lanes ? hn::LoadU(d, p) : load_tail(d, p, n); }
HWY_INLINE void store_part(VF value, F32 d, float* p, int64_t n, int64_t lanes) {
  if (n >= lanes) {
    hn::StoreU(value, d, p);
  } else {
    store_tail(value, d, p, n);
  }
}

// Positions whose source pixel of the tap with this offset lies inside [0, size): [begin, end).
struct Range {
  int64_t begin, end;
};
HWY_INLINE Range inside(const GatherAxis& axis, int64_t tap, int64_t size) {
  const int64_t offset = axis.offset + tap * axis.offset_step;
  const int64_t begin = offset >= 0 ? 0 : (-offset + axis.step - 1) / axis.step;
  const int64_t end = size <= offset ? 0 : (size - offset + axis.step - 1) / axis.step;
  return {std::min(begin, axis.positions), std::clamp(end, std::min(begin, axis.positions), axis.positions)};
}

// kPixels neighbouring targets of one row, one vector of channels; taps of kernel rows [top, bottom), kernel columns [left, right).
template <int kPixels>
HWY_INLINE void depthwise_pixels(const Gather& g, const float* source, int64_t row, int64_t column, int64_t top, int64_t bottom,
                                 int64_t left, int64_t right, const float* packed, int64_t channel_stride, VF start, int64_t live,
                                 float* target) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kPixels];
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) acc[p] = start;
  const int64_t pixel = g.columns.step * g.source.pixel_stride;
  for (int64_t u = top; u < bottom; ++u) {
    const float* line = source + (row * g.rows.step + g.rows.offset + u * g.rows.offset_step) * g.source.row_stride +
                        (column * g.columns.step + g.columns.offset) * g.source.pixel_stride;
    const float* weights = packed + u * g.columns.count * channel_stride;
    for (int64_t v = left; v < right; ++v) {
      const VF weight = hn::LoadU(d, weights + v * channel_stride);
      const float* x = line + v * g.columns.offset_step * g.source.pixel_stride;
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) acc[p] = hn::MulAdd(load_part(d, x + p * pixel, live, lanes), weight, acc[p]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) store_part(acc[p], d, target + p * g.columns.target_step * g.target.pixel_stride, live, lanes);
}

// All targets of row `row` of image b.
static void depthwise_row(const Gather& g, int64_t channels, int64_t channel_stride, int64_t b, int64_t row, const float* source,
                          const float* packed, const float* bias, float* target) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr int kPixels = 8;
  source += b * g.source.batch_stride;
  target += g.target.offset(b, g.rows.target + row * g.rows.target_step, g.columns.target);
  // Kernel rows and columns that lie inside the image are intervals, since offsets ascend.
  const auto interval = [](const GatherAxis& axis, int64_t position, int64_t size) HWY_ATTR {
    Range taps{0, axis.count};
    const int64_t first = position * axis.step + axis.offset;
    while (taps.begin < taps.end && first + taps.begin * axis.offset_step < 0) ++taps.begin;
    while (taps.end > taps.begin && first + (taps.end - 1) * axis.offset_step >= size) --taps.end;
    return taps;
  };
  const Range rows = interval(g.rows, row, g.source.height);
  Range interior{0, g.columns.positions};
  if (g.columns.count > 0) {
    interior.begin = inside(g.columns, 0, g.source.width).begin;
    interior.end = std::max(interior.begin, inside(g.columns, g.columns.count - 1, g.source.width).end);
  }
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t live = std::min(lanes, channels - c);
    const VF start = bias == nullptr ? hn::Zero(d) : load_part(d, bias + c, live, lanes);
    for (int64_t j = 0; j < g.columns.positions;) {
      float* to = target + j * g.columns.target_step * g.target.pixel_stride + c;
      if (j >= interior.begin && j + kPixels <= interior.end) {
        depthwise_pixels<kPixels>(g, source + c, row, j, rows.begin, rows.end, 0, g.columns.count, packed + c, channel_stride, start, live, to);
        j += kPixels;
      } else {
        const Range columns = interval(g.columns, j, g.source.width);
        depthwise_pixels<1>(g, source + c, row, j, rows.begin, rows.end, columns.begin, columns.end, packed + c, channel_stride, start, live, to);
        ++j;
      }
    }
  }
}

void depthwise_gather(int threads, const Gather& g, int64_t channels, const float* source, const float* weights, const float* bias,
                      float* target, float* packed) {
  const int64_t channel_stride = round_up(channels, 16);
  const int64_t kernel = g.weight_output * g.weight_channel;  // one of them is 1, the other the size of a channel's kernel
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int64_t tap = 0; tap < g.rows.count * g.columns.count; ++tap) {
      const int64_t u = g.rows.kernel + tap / g.columns.count * g.rows.kernel_step;
      const int64_t v = g.columns.kernel + tap % g.columns.count * g.columns.kernel_step;
      float* to = packed + tap * channel_stride;
      for (int64_t c = 0; c < channels; ++c) to[c] = weights[c * kernel + u * g.weight_row + v * g.weight_column];
      std::fill(to + channels, to + channel_stride, 0.0f);
    }
#pragma omp for schedule(dynamic)
    for (int64_t row = 0; row < g.batch * g.rows.positions; ++row) {
      depthwise_row(g, channels, channel_stride, row / g.rows.positions, row % g.rows.positions, source, packed, bias, target);
    }
  }
}

// The part of dweights (and dbias behind it) that output rows [first, last) of all images give, for the channels from c on.
static void depthwise_chunk(const ConvolutionShape& s, const Gather& g, int64_t first, int64_t last, int64_t c, int64_t live, const float* x,
                            const float* dy, bool bias, float* partial, int64_t channel_stride) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t tap = 0; tap <= s.taps(); ++tap) hn::StoreU(hn::Zero(d), d, partial + tap * channel_stride + c);
  const int64_t pixel = g.columns.step * s.x.pixel_stride;
  for (int64_t row = first; row < last; ++row) {
    const int64_t b = row / s.y.height;
    const int64_t i = row % s.y.height;
    const float* gradient = dy + s.y.offset(b, i, 0) + c;
    if (bias) {
      float* to = partial + s.taps() * channel_stride + c;
      VF sum = hn::LoadU(d, to);
      for (int64_t j = 0; j < s.y.width; ++j) sum = hn::Add(sum, load_part(d, gradient + j * s.y.pixel_stride, live, lanes));
      hn::StoreU(sum, d, to);
    }
    for (int64_t u = 0; u < g.rows.count; ++u) {
      const int64_t source_row = i * g.rows.step + g.rows.offset + u * g.rows.offset_step;
      if (source_row < 0 || source_row >= s.x.height) continue;
      const float* line = x + s.x.offset(b, source_row, 0) + c;
      for (int64_t v = 0; v < g.columns.count; ++v) {
        const Range range = inside(g.columns, v, s.x.width);
        const int64_t offset = (g.columns.offset + v * g.columns.offset_step) * s.x.pixel_stride;
        float* to = partial + (u * g.columns.count + v) * channel_stride + c;
        VF even = hn::LoadU(d, to);
        VF odd = hn::Zero(d);
        int64_t j = range.begin;
        for (; j + 2 <= range.end; j += 2) {
          const float* at = line + offset + j * pixel;
          even = hn::MulAdd(load_part(d, at, live, lanes), load_part(d, gradient + j * s.y.pixel_stride, live, lanes), even);
          odd = hn::MulAdd(load_part(d, at + pixel, live, lanes), load_part(d, gradient + (j + 1) * s.y.pixel_stride, live, lanes), odd);
        }
        if (j < range.end) {
          even = hn::MulAdd(load_part(d, line + offset + j * pixel, live, lanes),
                            load_part(d, gradient + j * s.y.pixel_stride, live, lanes), even);
        }
        hn::StoreU(hn::Add(even, odd), d, to);
      }
    }
  }
}

struct DepthwisePlan {
  int64_t channel_stride;
  int64_t rows;  // output rows of all images
  int64_t chunks;
  int64_t chunk_rows;
  int64_t partial;

  explicit DepthwisePlan(const ConvolutionShape& s) {
    channel_stride = round_up(s.channels, 16);
    rows = s.batch * s.y.height;
    partial = (s.taps() + 1) * channel_stride;
    const int64_t most = std::clamp<int64_t>((int64_t{4} << 20) / partial, 1, 64);
    chunks = std::clamp<int64_t>(rows * s.y.width / 256, 1, std::min(most, std::max<int64_t>(rows, 1)));
    chunk_rows = (rows + chunks - 1) / chunks;
  }
};

size_t depthwise_weights_workspace(const ConvolutionShape& s) {
  const DepthwisePlan plan(s);
  return static_cast<size_t>(plan.chunks * plan.partial) * sizeof(float);
}

void depthwise_weights(int threads, const ConvolutionShape& s, const float* x, const float* dy, float* dweights, float* dbias,
                       float* partials) {
  const Gather g = forward_gather(s);
  const DepthwisePlan plan(s);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t vectors = (s.channels + lanes - 1) / lanes;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < plan.chunks * vectors; ++item) {
      const int64_t chunk = item / vectors;
      const int64_t c = item % vectors * lanes;
      depthwise_chunk(s, g, std::min(plan.rows, chunk * plan.chunk_rows), std::min(plan.rows, (chunk + 1) * plan.chunk_rows), c,
                      std::min(lanes, s.channels - c), x, dy, dbias != nullptr, partials + chunk * plan.partial, plan.channel_stride);
    }
#pragma omp for schedule(static)
    for (int64_t tap = 0; tap <= s.taps(); ++tap) {
      if (tap == s.taps() && dbias == nullptr) continue;
      float* to = tap == s.taps() ? dbias : dweights + tap;
      const int64_t step = tap == s.taps() ? 1 : s.taps();
      for (int64_t c = 0; c < s.channels; ++c) {
        float sum = 0.0f;
        for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) sum += partials[chunk * plan.partial + tap * plan.channel_stride + c];
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

size_t depthwise_gather_workspace(const ConvolutionShape& shape) {
  return static_cast<size_t>(shape.taps() * round_up(shape.channels, 16)) * sizeof(float);
}

size_t depthwise_backward_weights_workspace(const ConvolutionShape& shape) { return GATUN_DISPATCH(depthwise_weights_workspace)(shape); }

void depthwise_forward(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias, float* y,
                       float* workspace) {
  GATUN_DISPATCH(depthwise_gather)(stream.threads(), forward_gather(shape), shape.channels, x, weights, bias, y, workspace);
}

void depthwise_backward_data(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                             float* workspace) {
  for (int64_t i = 0; i < std::min(shape.stride_height, shape.x.height); ++i) {
    for (int64_t j = 0; j < std::min(shape.stride_width, shape.x.width); ++j) {
      GATUN_DISPATCH(depthwise_gather)
      (stream.threads(), backward_gather(shape, i, j), shape.channels, dy, weights, nullptr, dx, workspace);
    }
  }
}

void depthwise_backward_weights(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                float* dbias, float* workspace) {
  GATUN_DISPATCH(depthwise_weights)(stream.threads(), shape, x, dy, dweights, dbias, workspace);
}

}  // namespace gatun
#endif

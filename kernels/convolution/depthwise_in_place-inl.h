// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions of stride and dilation 1 whose padding keeps the width: x is read where it lies. Lines are taken kChunk targets at a
// time; taps beside the image are left out when compiled (chunks at the left and at the right end are functions of their own), rows
// above and below it at run time. Channels are taken in groups so narrow that what neighbouring target rows share stays in the nearest caches, yet wide,
// since memory likes whole pixels. The next rows are fetched ahead: without that, half of the time is waiting. Re-included per instruction set.
#if defined(GATUN_DEPTHWISE_IN_PLACE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_DEPTHWISE_IN_PLACE_INL_H_
#undef GATUN_DEPTHWISE_IN_PLACE_INL_H_
#else
#define GATUN_DEPTHWISE_IN_PLACE_INL_H_
#endif

#include <algorithm>

#include "kernels/common/gemm-inl.h"
#include "kernels/common/prefetch.h"
#include "kernels/convolution/gather.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Target rows computed together: they share the loads of x.
constexpr int kInPlaceRows = kGemmRegisters == 32 ? 2 : 1;
constexpr int64_t kInPlaceFloats = 24 << 10;  // of the source rows that a channel group of one line needs

// One image of a gather. Pointers and strides in floats; taps are packed [tap][channel].
struct InPlaceImage {
  PixelGrid source;
  PixelGrid target;
  int64_t taps_rows;
  int64_t row_offset;  // of the first tap's source row from the target row
  int64_t channels;
  int64_t channel_stride;  // of the packed taps
  bool fetch;              // the next rows are fetched ahead
  bool stream;             // targets bypass the caches
};

// From these many bytes of source and target on: the second-level caches do not hold them; the third does not hold them for who reads them next.
constexpr int64_t kFetchedBytes = int64_t{2} << 20, kStreamedBytes = int64_t{16} << 20;

// Streaming stores take whole lines: a part of one would be written to memory by itself.
inline bool in_place_streams(const Gather& g, const float* target) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const PixelGrid& t = g.target;
  return lanes == 16 && reinterpret_cast<uintptr_t>(target) % 64 == 0 && (g.channels | t.batch_stride | t.row_stride | t.pixel_stride) % lanes == 0;
}

// Positions of one line that are computed together: 7 or 8, whichever leaves less to be computed twice.
inline int in_place_chunk(int64_t width) { return width >= 8 && (width + 7) / 8 * 8 < (width + 6) / 7 * 7 ? 8 : 7; }

// Not worth its code without vectors.
constexpr bool kInPlace = HWY_TARGET != HWY_SCALAR;

inline bool depthwise_in_place(const Gather& g, int64_t channels) {
  if constexpr (!kInPlace) return false;
  const int64_t taps = g.columns.count;
  const int64_t chunk = in_place_chunk(g.source.width);
  const auto dense = [](const GatherAxis& axis) { return axis.step == 1 && axis.offset_step == 1 && axis.target_step == 1; };
  return dense(g.rows) && dense(g.columns) && (taps == 3 || taps == 5 || taps == 7) && g.columns.offset == -(taps / 2) && g.columns.positions == g.source.width &&
         (g.source.width == chunk || g.source.width >= chunk + taps / 2) && channels >= static_cast<int64_t>(hn::Lanes(F32()));
}

// The products of one source row with one kernel row: acc[p] += x[p + v - kTaps / 2] taps[v]. kFirst and kSecond: for the first and the second
// of two target rows, whose kernel rows are neighbours.
template <int kTaps, int kChunk, bool kLeft, bool kRight, bool kFirst, bool kSecond>
HWY_INLINE void in_place_slide(const float* HWY_RESTRICT x, int64_t pixel_stride, const float* HWY_RESTRICT first, const float* HWY_RESTRICT second,
                               int64_t channel_stride, VF (&a)[kChunk], VF (&b)[kChunk]) {
  const F32 d;
  VF v[kTaps], w[kTaps];
#pragma GCC unroll 8
  for (int k = 0; k < kTaps; ++k) {
    if constexpr (kFirst) v[k] = hn::LoadU(d, first + k * channel_stride);
    if constexpr (kSecond) w[k] = hn::LoadU(d, second + k * channel_stride);
  }
  constexpr int kBegin = kLeft ? kTaps / 2 : 0, kEnd = kChunk + kTaps - 1 - (kRight ? kTaps / 2 : 0);
  const float* from = x + (kBegin - kTaps / 2) * pixel_stride;
#pragma GCC unroll 16
  for (int t = kBegin; t < kEnd; ++t, from += pixel_stride) {
    const VF value = hn::LoadU(d, from);
#pragma GCC unroll 8
    for (int k = 0; k < kTaps; ++k) {
      if (t - k < 0 || t - k >= kChunk) continue;
      if constexpr (kFirst) a[t - k] = hn::MulAdd(value, v[k], a[t - k]);
      if constexpr (kSecond) b[t - k] = hn::MulAdd(value, w[k], b[t - k]);
    }
  }
}

// kRows rows of a chunk from `offset` after base on, as they will be read (kWrite 0) or written.
template <int kChunk, int kRows, int kWrite>
HWY_INLINE void in_place_fetch(const float* base, int64_t offset, const PixelGrid& grid) {
#pragma GCC unroll 2
  for (int r = 0; r < kRows; ++r, offset += grid.row_stride) {
#pragma GCC unroll 8
    for (int p = 0; p < kChunk; ++p) __builtin_prefetch(address_after(base, offset + p * grid.pixel_stride), kWrite, 3);
  }
}

template <int kChunk>
HWY_INLINE void in_place_store(const VF (&values)[kChunk], float* to, int64_t pixel_stride, bool stream) {
  const F32 d;
#pragma GCC unroll 8
  for (int p = 0; p < kChunk; ++p, to += pixel_stride) {
    if (stream) {
      hn::Stream(values[p], d, to);
    } else {
      hn::StoreU(values[p], d, to);
    }
  }
}

// kRows target rows of one chunk, vectors of channels from `begin` to `end`. The last vector of all ends with the last channel and may compute
// some channels twice.
template <int kTaps, int kChunk, int kRows, bool kLeft, bool kRight>
static void in_place_rows(const InPlaceImage& g, const float* source, const float* taps, const float* bias, float* target, int64_t row,
                          int64_t column, int64_t begin, int64_t end) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t first = row + g.row_offset, kernel_row = kTaps * g.channel_stride;
  for (int64_t next = begin; next < end; next += lanes) {
    const int64_t c = std::min(next, g.channels - lanes);
    const VF start = bias == nullptr ? hn::Zero(d) : hn::LoadU(d, bias + c);
    VF a[kChunk], b[kChunk];
#pragma GCC unroll 8
    for (int p = 0; p < kChunk; ++p) a[p] = b[p] = start;
    const int64_t place = g.source.offset(0, first, column) + c;  // of a row that may lie above the image
    const auto line = [&](int64_t u) { return source + (place + u * g.source.row_stride); };
    const float* tap = taps + c;
    const auto inside = [&](int64_t u) { return first + u >= 0 && first + u < g.source.height; };
    if constexpr (kRows == 1) {
      const int64_t last = std::min(g.taps_rows, g.source.height - first);
      for (int64_t u = std::max<int64_t>(0, -first); u < last; ++u) {
        in_place_slide<kTaps, kChunk, kLeft, kRight, true, false>(line(u), g.source.pixel_stride, tap + u * kernel_row, nullptr, g.channel_stride, a, b);
      }
    } else {
      if (inside(0)) in_place_slide<kTaps, kChunk, kLeft, kRight, true, false>(line(0), g.source.pixel_stride, tap, nullptr, g.channel_stride, a, b);
      const int64_t last = std::min(g.taps_rows, g.source.height - first);
      for (int64_t u = std::max<int64_t>(1, -first); u < last; ++u) {
        const float* at = tap + u * kernel_row;
        in_place_slide<kTaps, kChunk, kLeft, kRight, true, true>(line(u), g.source.pixel_stride, at, at - kernel_row, g.channel_stride, a, b);
      }
      const int64_t u = g.taps_rows;
      if (inside(u)) {
        in_place_slide<kTaps, kChunk, kLeft, kRight, false, true>(line(u), g.source.pixel_stride, nullptr, tap + (u - 1) * kernel_row, g.channel_stride, a, b);
      }
    }
    if (g.fetch) in_place_fetch<kChunk, kRows, 0>(source, place + g.source.row_stride * (g.taps_rows + kRows - 1), g.source);
    float* to = target + g.target.offset(0, row, column) + c;
    if (g.stream) {
      in_place_store<kChunk>(a, to, g.target.pixel_stride, true);
      if constexpr (kRows == 2) in_place_store<kChunk>(b, to + g.target.row_stride, g.target.pixel_stride, true);
      continue;
    }
    if (g.fetch) in_place_fetch<kChunk, kRows, 1>(to, g.target.row_stride * kRows, g.target);
    in_place_store<kChunk>(a, to, g.target.pixel_stride, false);
    if constexpr (kRows == 2) in_place_store<kChunk>(b, to + g.target.row_stride, g.target.pixel_stride, false);
  }
}

// Target rows [row, last) of one image.
template <int kTaps, int kChunk>
static void in_place_image(const InPlaceImage& g, const float* source, const float* taps, const float* bias, float* target, int64_t row, int64_t last) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t width = g.source.width;
  const int64_t row_vectors = width * (g.taps_rows + kInPlaceRows - 1);
  const int64_t group = std::max<int64_t>(1, kInPlaceFloats / (row_vectors * lanes)) * lanes;
  for (int64_t begin = 0; begin < g.channels; begin += group) {
    const int64_t end = std::min(g.channels, begin + group);
    const auto line = [&](auto rows, int64_t i) HWY_ATTR {
      constexpr int kRows = decltype(rows)::value;
      if (width == kChunk) return in_place_rows<kTaps, kChunk, kRows, true, true>(g, source, taps, bias, target, i, 0, begin, end);
      in_place_rows<kTaps, kChunk, kRows, true, false>(g, source, taps, bias, target, i, 0, begin, end);
      int64_t j = kChunk;
      // A chunk in the middle reads kTaps / 2 pixels on both sides.
      for (; j + kChunk + kTaps / 2 <= width; j += kChunk) in_place_rows<kTaps, kChunk, kRows, false, false>(g, source, taps, bias, target, i, j, begin, end);
      if (j + kChunk < width) {
        j = width - kChunk - kTaps / 2;
        in_place_rows<kTaps, kChunk, kRows, false, false>(g, source, taps, bias, target, i, j, begin, end);
      }
      in_place_rows<kTaps, kChunk, kRows, false, true>(g, source, taps, bias, target, i, width - kChunk, begin, end);
    };
    int64_t i = row;
    for (; i + kInPlaceRows <= last; i += kInPlaceRows) line(std::integral_constant<int, kInPlaceRows>(), i);
    if constexpr (kInPlaceRows > 1) {
      for (; i < last; ++i) line(std::integral_constant<int, 1>(), i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
// Gradients of depthwise weights where x and dy are read in place (depthwise_in_place-inl.h). The sums of some kernel rows stay in registers while a
// chunk of columns is walked down. Re-included per instruction set.
#if defined(GATUN_DEPTHWISE_WEIGHTS_IN_PLACE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_DEPTHWISE_WEIGHTS_IN_PLACE_INL_H_
#undef GATUN_DEPTHWISE_WEIGHTS_IN_PLACE_INL_H_
#else
#define GATUN_DEPTHWISE_WEIGHTS_IN_PLACE_INL_H_
#endif

#include <algorithm>

#include "kernels/convolution/depthwise_in_place-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kInPlaceBandFloats = 96 << 10;  // of x and dy in a band: two bands fit into the second-level cache

// Kernel rows whose sums are in registers together, beside a chunk of dy.
constexpr int in_place_sum_rows(int taps) { return kGemmRegisters == 32 ? taps == 7 ? 2 : 3 : taps == 3 ? 2 : 1; }

// Chunks never overlap here: what is counted twice would be wrong.
inline bool depthwise_weights_in_place(const Gather& g, int64_t channels) {
  return depthwise_in_place(g, channels) && g.source.width % in_place_chunk(g.source.width) == 0;
}

// Rows [row, last) of dy of one image, and where the next band begins (NULL: nowhere). While a band is summed, the next is fetched from its
// first element to its last: columns, in whose order a band is read, are too far apart for memory.
struct InPlaceBand {
  int64_t row;
  int64_t last;
  const float* next_x;
  const float* next_dy;
};

// kRows kernel rows from x on, for rows of dy from `dy` on: sums are [kernel row][kTaps], channel_stride apart. bias may be null. Of the next
// band, what follows its first `fetched` elements is fetched.
template <int kTaps, int kChunk, int kRows, bool kLeft, bool kRight>
HWY_NOINLINE void in_place_sums(const InPlaceImage& g, const float* HWY_RESTRICT x, const float* HWY_RESTRICT dy, int64_t rows, const float* next_x,
                                const float* next_dy, int64_t fetched, float* HWY_RESTRICT sums, float* HWY_RESTRICT bias) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows + 1][kTaps];
#pragma GCC unroll 4
  for (int u = 0; u < kRows; ++u) {
#pragma GCC unroll 8
    for (int k = 0; k < kTaps; ++k) acc[u][k] = hn::LoadU(d, sums + (u * kTaps + k) * g.channel_stride);
  }
  VF total = bias == nullptr ? hn::Zero(d) : hn::LoadU(d, bias);
  constexpr int kBegin = kLeft ? kTaps / 2 : 0, kEnd = kChunk + kTaps - 1 - (kRight ? kTaps / 2 : 0);
  const int64_t pixel = g.source.pixel_stride, line = g.source.row_stride;
  x += (kBegin - kTaps / 2) * pixel;
  for (int64_t i = 0; i < rows; ++i, x += line, dy += g.target.row_stride) {
    VF factor[kChunk];
    const float* at = dy;
#pragma GCC unroll 8
    for (int p = 0; p < kChunk; ++p, at += g.target.pixel_stride) factor[p] = hn::LoadU(d, at);
    if (next_x != nullptr) {
#pragma GCC unroll 8
      for (int p = 0; p < kChunk; ++p) {
        __builtin_prefetch(address_after(next_x, fetched + p * lanes), 0, 2);
        __builtin_prefetch(address_after(next_dy, fetched + p * lanes), 0, 2);
      }
      fetched += kChunk * lanes;
    }
    total = hn::Add(total, hn::Add(hn::Add(hn::Add(factor[0], factor[1]), hn::Add(factor[2], factor[3])),
                                   hn::Add(hn::Add(factor[4], factor[5]), kChunk == 8 ? hn::Add(factor[6], factor[7 % kChunk]) : factor[6])));
    const float* from = x;
#pragma GCC unroll 16
    for (int t = kBegin; t < kEnd; ++t, from += pixel) {
#pragma GCC unroll 4
      for (int u = 0; u < kRows; ++u) {
        const VF value = hn::LoadU(d, from + u * line);
#pragma GCC unroll 8
        for (int k = 0; k < kTaps; ++k) {
          if (t - k >= 0 && t - k < kChunk) acc[u][k] = hn::MulAdd(value, factor[t - k], acc[u][k]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int u = 0; u < kRows; ++u) {
#pragma GCC unroll 8
    for (int k = 0; k < kTaps; ++k) hn::StoreU(acc[u][k], d, sums + (u * kTaps + k) * g.channel_stride);
  }
  if (bias != nullptr) hn::StoreU(total, d, bias);
}

// Adds one band's part to sums and bias, which have whole vectors a tap; the last vector ends with the last channel.
template <int kTaps, int kChunk>
static void in_place_weights(const InPlaceImage& g, const InPlaceBand& band, const float* x, const float* dy, float* sums, float* bias) {
  constexpr int kMost = in_place_sum_rows(kTaps);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t width = g.source.width;
  int64_t fetched = 0;  // of the next band
  const auto chunk = [&](auto left, auto right, int64_t j) HWY_ATTR {
    constexpr bool kLeft = decltype(left)::value, kRight = decltype(right)::value;
    for (int64_t next = 0; next < g.channels; next += lanes) {
      const int64_t c = std::min(next, g.channels - lanes);
      for (int64_t top = 0; top < g.taps_rows; top += kMost) {
        // Kernel rows [begin, end) of this block meet rows of the image for row i of dy.
        const int64_t bottom = std::min<int64_t>(top + kMost, g.taps_rows);
        const auto begin = [&](int64_t i) { return std::clamp<int64_t>(-(i + g.row_offset), top, bottom); };
        const auto end = [&](int64_t i) { return std::clamp<int64_t>(g.source.height - (i + g.row_offset), begin(i), bottom); };
        for (int64_t i = band.row; i < band.last;) {
          const int64_t u = begin(i), count = end(i) - u;
          int64_t last = i + 1;
          while (last < band.last && begin(last) == u && end(last) == u + count) ++last;
          const float* from = x + g.source.offset(0, i + g.row_offset + u, j) + c;
          const float* gradient = dy + g.target.offset(0, i, j) + c;
          float* to = sums + u * kTaps * g.channel_stride + next;
          float* total = top == 0 ? bias + next : nullptr;
          const float* next_x = top == 0 ? band.next_x : nullptr;
          const int64_t after = fetched;
          if (top == 0) fetched += (last - i) * kChunk * lanes;
          if (count == 0) {
            if (total != nullptr) in_place_sums<kTaps, kChunk, 0, kLeft, kRight>(g, from, gradient, last - i, next_x, band.next_dy, after, to, total);
          } else if (count == 1) {
            in_place_sums<kTaps, kChunk, 1, kLeft, kRight>(g, from, gradient, last - i, next_x, band.next_dy, after, to, total);
          } else if (count == 2) {
            if constexpr (kMost >= 2) in_place_sums<kTaps, kChunk, 2, kLeft, kRight>(g, from, gradient, last - i, next_x, band.next_dy, after, to, total);
          } else {
            if constexpr (kMost >= 3) in_place_sums<kTaps, kChunk, 3, kLeft, kRight>(g, from, gradient, last - i, next_x, band.next_dy, after, to, total);
          }
          i = last;
        }
      }
    }
  };
  if (width == kChunk) return chunk(std::true_type(), std::true_type(), 0);
  chunk(std::true_type(), std::false_type(), 0);
  for (int64_t j = kChunk; j + kChunk < width; j += kChunk) chunk(std::false_type(), std::false_type(), j);
  chunk(std::false_type(), std::true_type(), width - kChunk);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
// What both directions of Winograd's filtering share: tiles and the transform of pixels. Re-included per instruction set.
#if defined(GATUN_WINOGRAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_WINOGRAD_INL_H_
#undef GATUN_WINOGRAD_INL_H_
#else
#define GATUN_WINOGRAD_INL_H_
#endif

#include <algorithm>

#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/patches.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// A tile of kTile x kTile outputs reads kTile + 2 pixels along each axis, which become as many frequencies. Interpolation is at 0, ±1 and
// infinity, and at ±2 for the large tile.
template <int kTile>
constexpr int kSpan = kTile + 2;

// Both axes of a transform of kFrom x kFrom vectors to kTo x kTo: `line` transforms each column, then each row of what came of them.
// load(i, j) reads row i, column j; store(i, j, result) takes a result.
template <int kFrom, int kTo, class Line, class Load, class Store>
HWY_INLINE void transform_square(const Line& line, const Load& load, const Store& store) {
  VF half[kTo][kFrom];
#pragma GCC unroll 6
  for (int j = 0; j < kFrom; ++j) {
    VF column[kFrom], results[kTo];
#pragma GCC unroll 6
    for (int i = 0; i < kFrom; ++i) column[i] = load(i, j);
    line(column, results);
#pragma GCC unroll 6
    for (int i = 0; i < kTo; ++i) half[i][j] = results[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kTo; ++i) {
    VF results[kTo];
    line(half[i], results);
#pragma GCC unroll 6
    for (int j = 0; j < kTo; ++j) store(i, j, results[j]);
  }
}

// One axis of the transform of pixels.
template <int kTile>
HWY_INLINE void pixels_line(const VF (&x)[kSpan<kTile>], VF (&to)[kSpan<kTile>]) {
  const F32 d;
  if constexpr (kTile == 2) {
    to[0] = hn::Sub(x[0], x[2]);
    to[1] = hn::Add(x[1], x[2]);
    to[2] = hn::Sub(x[2], x[1]);
    to[3] = hn::Sub(x[1], x[3]);
  } else {
    const VF two = hn::Set(d, 2.0f), four = hn::Set(d, 4.0f), five = hn::Set(d, 5.0f);
    const VF even = hn::NegMulAdd(four, x[2], x[4]), odd = hn::NegMulAdd(four, x[1], x[3]);
    const VF near = hn::Sub(x[4], x[2]), far = hn::Mul(two, hn::Sub(x[3], x[1]));
    to[0] = hn::NegMulAdd(five, x[2], hn::MulAdd(four, x[0], x[4]));
    to[1] = hn::Add(even, odd);
    to[2] = hn::Sub(even, odd);
    to[3] = hn::Add(near, far);
    to[4] = hn::Sub(near, far);
    to[5] = hn::NegMulAdd(five, x[3], hn::MulAdd(four, x[1], x[5]));
  }
}

// The tiles of a gather: of an image along its axes, of all images.
template <int kTile>
struct TileGrid {
  int64_t rows, columns, count;
  explicit TileGrid(const Gather& g)
      : rows((g.rows.positions + kTile - 1) / kTile), columns((g.columns.positions + kTile - 1) / kTile), count(g.batch * rows * columns) {}
};

// Where a tile lies: its image and the first target's row and column.
struct TilePlace {
  int64_t image, row, column;
  template <int kTile>
  HWY_INLINE TilePlace(const TileGrid<kTile>& grid, int64_t tile)
      : image(tile / (grid.rows * grid.columns)), row(tile / grid.columns % grid.rows * kTile), column(tile % grid.columns * kTile) {}
};

// Adds the pixels of the rows that tiles [first, end) see, `before` rows above their targets and `after` below, where all lie at one distance.
template <int kTile>
HWY_INLINE void add_tiles(Later& later, const TileGrid<kTile>& tiles, int64_t first, int64_t end, const PixelGrid& grid, int64_t before, int64_t after,
                          const float* from, int64_t channels) {
  if (first >= end || grid.row_stride != grid.width * grid.pixel_stride || grid.batch_stride != grid.height * grid.row_stride) return;
  const TilePlace top(tiles, first), bottom(tiles, end - 1);
  const int64_t begin = top.image * grid.height + std::clamp<int64_t>(top.row - before, 0, grid.height);
  const int64_t last = bottom.image * grid.height + std::clamp<int64_t>(bottom.row + kTile + after, 0, grid.height);
  later.add(from + begin * grid.row_stride, (last - begin) * grid.width, grid.pixel_stride, channels);
}

// The first `channels` channels of a tile's pixels, transformed; `frequency` floats lie between the results' frequencies.
template <int kTile>
HWY_INLINE void transform_pixels(const Gather& g, const TilePlace& place, int64_t channels, const float* source, float* to, int64_t frequency) {
  constexpr int kA = kSpan<kTile>;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t row = place.row + g.rows.offset, column = place.column + g.columns.offset;
  const int64_t top = std::clamp<int64_t>(-row, 0, kA), bottom = std::clamp<int64_t>(g.source.height - row, top, kA);
  const int64_t left = std::clamp<int64_t>(-column, 0, kA), right = std::clamp<int64_t>(g.source.width - column, left, kA);
  const int64_t first = g.source.offset(place.image, row + top, column + left);  // of a tile in the padding: none's
  for (int64_t c = 0; c < channels; c += lanes) {
    transform_square<kA, kA>(
        pixels_line<kTile>,
        [&](int i, int j) HWY_ATTR {
          if (i < top || i >= bottom || j < left || j >= right) return hn::Zero(d);
          const int64_t at = first + (i - top) * g.source.row_stride + (j - left) * g.source.pixel_stride + c;
          return gemm_load(d, source + at, channels - c, lanes);
        },
        [&](int i, int j, VF result) HWY_ATTR { hn::StoreU(result, d, to + (i * kA + j) * frequency + c); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

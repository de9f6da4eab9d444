// SPDX-License-Identifier: Apache-2.0
// Copies the patches of some target pixels into the rows of a tile. Re-included per instruction set.
#if defined(GATUN_PATCHES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_PATCHES_INL_H_
#undef GATUN_PATCHES_INL_H_
#else
#define GATUN_PATCHES_INL_H_
#endif

#include <algorithm>

#include "kernels/common/simd-inl.h"
#include "kernels/convolution/gather.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Copies n floats and may write up to one vector of zeros behind them: rows are filled from left to right and have room at the end.
HWY_INLINE void copy_run(const float* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i < n) hn::StoreU(load_tail(d, from + i, n - i), d, to + i);
}

HWY_INLINE void zero_run(float* to, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; i += lanes) hn::StoreU(hn::Zero(d), d, to + i);
}

// Elements [begin, end) of the patch of one target: image points at the source image.
HWY_INLINE void copy_patch(const Gather& g, const float* image, int64_t row_position, int64_t column_position, int64_t begin, int64_t end,
                           float* to) {
  const int64_t per_row = g.columns.count * g.channels;
  const bool contiguous = g.columns.offset_step == 1 && g.source.pixel_stride == g.channels;
  const int64_t first_column = column_position * g.columns.step + g.columns.offset;
  for (int64_t position = begin; position < end;) {
    const int64_t u = position / per_row;
    const int64_t from = position - u * per_row;
    const int64_t until = std::min(per_row, end - u * per_row);
    position += until - from;
    const int64_t i = row_position * g.rows.step + g.rows.offset + u * g.rows.offset_step;
    if (i < 0 || i >= g.source.height) {
      zero_run(to, until - from);
      to += until - from;
      continue;
    }
    const float* source = image + i * g.source.row_stride;
    if (contiguous) {
      // Left of low lies padding, right of high as well.
      const int64_t low = std::clamp(-first_column * g.channels, from, until);
      const int64_t high = std::clamp((g.source.width - first_column) * g.channels, low, until);
      zero_run(to, low - from);
      if (high > low) copy_run(source + first_column * g.channels + low, to + (low - from), high - low);
      zero_run(to + (high - from), until - high);
      to += until - from;
    } else {
      for (int64_t at = from; at < until;) {
        const int64_t v = at / g.channels;
        const int64_t c = at - v * g.channels;
        const int64_t n = std::min(g.channels - c, until - at);
        const int64_t j = first_column + v * g.columns.offset_step;
        if (j < 0 || j >= g.source.width) {
          zero_run(to, n);
        } else {
          copy_run(source + j * g.source.pixel_stride + c, to, n);
        }
        to += n;
        at += n;
      }
    }
  }
}

// Walks over target positions in (batch, row, column) order.
struct TargetCursor {
  int64_t b, i, j;
  TargetCursor(const Gather& g, int64_t position) {
    j = position % g.columns.positions;
    i = position / g.columns.positions % g.rows.positions;
    b = position / g.columns.positions / g.rows.positions;
  }
  void advance(const Gather& g) {
    if (++j < g.columns.positions) return;
    j = 0;
    if (++i < g.rows.positions) return;
    i = 0;
    ++b;
  }
};

// Elements [begin, end) of the patches of `count` targets from position `first` on, one a tile row.
HWY_INLINE void copy_patches(const Gather& g, const float* source, int64_t first, int64_t count, int64_t begin, int64_t end, float* tile,
                             int64_t stride) {
  TargetCursor at(g, first);
  for (int64_t r = 0; r < count; ++r, at.advance(g)) {
    copy_patch(g, source + at.b * g.source.batch_stride, at.i, at.j, begin, end, tile + r * stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

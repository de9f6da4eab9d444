// SPDX-License-Identifier: Apache-2.0
// Depthwise work is cut into bands: some output rows of one image, or some whole images. The source pixels of a band, with the padding around
// them, are copied once into the workspace, where every tap of every target is an ordinary load. (Dense products read the source in place:
// patches.h.) Re-included per instruction set.
#if defined(GATUN_BAND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_BAND_INL_H_
#undef GATUN_BAND_INL_H_
#else
#define GATUN_BAND_INL_H_
#endif

#include <algorithm>

#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/gather.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kBandPositions = 512;      // most target positions of a band, unless one row has more
constexpr int64_t kBandFloats = 48 << 10;    // most floats of its copy, unless one row needs more
constexpr int64_t kBandCount = 16;           // bands wanted at least, for threads to share
constexpr int64_t kSegmentPositions = 256;   // positions handed to a product at a time

// How a gather is cut into bands: by the shape alone.
struct BandPlan {
  int64_t rows;          // target rows of a band
  int64_t images;        // images of a band: 1, or more with all rows
  int64_t row_bands;     // bands of an image
  int64_t count;         // bands in all
  int64_t height;        // of the copy of one image
  int64_t width;
  int64_t pixel_stride;  // of the copy
  int64_t row_stride;
  int64_t image_stride;

  int64_t floats() const { return images * image_stride; }

  // Positions are computed block_rows at a time, each in about `cycles`.
  BandPlan(const Gather& g, int64_t block_rows, double cycles) {
    width = extent(g.columns, g.columns.positions);
    // Pixels a large power of two apart would compete for the same few cache lines. Runs of taps need them side by side.
    const bool apart = g.columns.count == 1 && g.channels % 64 == 0;
    pixel_stride = apart ? g.channels + 16 : g.channels;
    row_stride = width * pixel_stride;
    rows = 1;
    images = 1;
    double best = 0;
    const auto cost = [&](int64_t band_rows, int64_t band_images) {
      const int64_t positions = band_rows * g.columns.positions * band_images;
      const int64_t floats = extent(g.rows, band_rows) * row_stride * band_images;
      return (static_cast<double>(round_up(positions, block_rows)) * cycles + static_cast<double>(floats) / 4 + 200) / static_cast<double>(positions);
    };
    const auto consider = [&](int64_t band_rows, int64_t band_images) {
      const bool first = best == 0;
      if (!first && band_rows * g.columns.positions * band_images > kBandPositions) return;
      if (!first && extent(g.rows, band_rows) * row_stride * band_images > kBandFloats) return;
      const int64_t bands = (g.batch + band_images - 1) / band_images * ((g.rows.positions + band_rows - 1) / band_rows);
      if (!first && bands < kBandCount) return;
      // The last band of an image is as short as what is left.
      const int64_t left = g.rows.positions % band_rows;
      double total = cost(band_rows, band_images) * static_cast<double>(g.rows.positions - left);
      if (left > 0) total += cost(left, band_images) * static_cast<double>(left);
      if (!first && total >= best) return;
      best = total;
      rows = band_rows;
      images = band_images;
    };
    if (g.rows.positions > 0 && g.columns.positions > 0) {
      for (int64_t r = 1; r <= g.rows.positions && r <= kBandPositions; ++r) consider(r, 1);
      for (int64_t n = 2; n <= g.batch && n <= kBandPositions; ++n) consider(g.rows.positions, n);
    }
    row_bands = (g.rows.positions + rows - 1) / rows;
    count = (g.batch + images - 1) / images * row_bands;
    height = extent(g.rows, rows);
    // Whole vectors are read behind the last pixel.
    image_stride = round_up(height * row_stride, 16) + 64;
  }

  static int64_t extent(const GatherAxis& axis, int64_t positions) {
    return axis.count == 0 ? 0 : (positions - 1) * axis.step + (axis.count - 1) * axis.offset_step + 1;
  }
};

// A product needs one multiply-add of whole vectors for each element of a patch; two units do them.
HWY_INLINE double product_cycles(const Gather& g) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  return static_cast<double>(g.depth() * ((g.outputs + lanes - 1) / lanes)) / 2;
}

// One band: targets [row, row + rows) of images [image, image + images).
struct Band {
  int64_t image, images, row, rows;
  Band(const BandPlan& plan, const Gather& g, int64_t index) {
    image = index / plan.row_bands * plan.images;
    images = std::min(plan.images, g.batch - image);
    row = index % plan.row_bands * plan.rows;
    rows = std::min(plan.rows, g.rows.positions - row);
  }
  int64_t lines() const { return images * rows; }
};

// Copies n floats; whole vectors, so up to one vector behind them is overwritten with zeros.
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

// Fills the copy from left to right, top to bottom.
HWY_INLINE void copy_band(const Gather& g, const BandPlan& plan, const Band& band, const float* source, float* copy) {
  if (plan.height == 0 || plan.width == 0) return;
  const int64_t first_column = g.columns.offset;
  const int64_t left = std::clamp<int64_t>(-first_column, 0, plan.width);
  const int64_t right = std::clamp<int64_t>(g.source.width - first_column, left, plan.width);
  const int64_t height = BandPlan::extent(g.rows, band.rows);
  for (int64_t n = 0; n < band.images; ++n) {
    for (int64_t i = 0; i < height; ++i) {
      float* to = copy + n * plan.image_stride + i * plan.row_stride;
      const int64_t row = band.row * g.rows.step + g.rows.offset + i;
      if (row < 0 || row >= g.source.height || left == right) {
        zero_run(to, plan.row_stride);
        continue;
      }
      const float* from = source + g.source.offset(band.image + n, row, first_column + left);
      zero_run(to, left * plan.pixel_stride);
      if (g.source.pixel_stride == plan.pixel_stride) {
        // What a view of some channels leaves between its pixels is copied along, and never read.
        copy_run(from, to + left * plan.pixel_stride, (right - left - 1) * plan.pixel_stride + g.channels);
      } else {
        for (int64_t j = left; j < right; ++j, from += g.source.pixel_stride) copy_run(from, to + j * plan.pixel_stride, g.channels);
      }
      zero_run(to + right * plan.pixel_stride, (plan.width - right) * plan.pixel_stride);
    }
    zero_run(copy + n * plan.image_stride + height * plan.row_stride, 48);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
// How dense convolutions on the CPU walk over an image without a padded copy of it: positions in stretches whose taps lie inside, in bands
// that the second-level cache holds; and what a later band reads is fetched while one is computed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/prefetch.h"
#include "kernels/convolution/gather.h"

namespace gatun {

// Target positions [begin, end) of an axis, whose taps [tap, tap + taps) lie inside the source.
struct Stretch {
  int64_t tap, taps, begin, end;
};

// The positions of one tap, in a source of `size` pixels.
inline Stretch tap_stretch(const GatherAxis& axis, int64_t size, int64_t tap) {
  const int64_t offset = axis.offset + tap * axis.offset_step;
  const int64_t begin = std::min(offset >= 0 ? 0 : (-offset + axis.step - 1) / axis.step, axis.positions);
  const int64_t end = offset >= size ? begin : std::clamp((size - 1 - offset) / axis.step + 1, begin, axis.positions);
  return {tap, 1, begin, end};
}

// Calls f with each stretch of positions from `begin` to `end` that have the same taps inside, of which there may be none.
template <class F>
void for_stretches(const GatherAxis& axis, int64_t size, int64_t begin, int64_t end, F&& f) {
  Stretch open{0, 0, begin, begin};
  for (int64_t p = begin; p < end; ++p) {
    const int64_t first = p * axis.step + axis.offset;
    const auto reach = [&](int64_t pixel) {
      return pixel <= first ? 0 : std::min((pixel - first + axis.offset_step - 1) / axis.offset_step, axis.count);
    };
    const int64_t tap = reach(0), taps = reach(size) - tap;
    if (p > begin && (tap != open.tap || taps != open.taps)) {
      f(open);
      open.begin = p;
    }
    open = {tap, taps, open.begin, p + 1};
  }
  if (open.end > open.begin) f(open);
}

// Some target rows of an image, or some whole images: by the shape alone.
struct Bands {
  int64_t rows, images, row_bands, count;

  // Of at most `positions` targets that read at most `floats` of the source, unless one row has more.
  Bands(const Gather& g, int64_t positions, int64_t floats) {
    const int64_t width = std::max<int64_t>(g.columns.positions, 1), height = std::max<int64_t>(g.rows.positions, 1);
    const int64_t most = std::max<int64_t>(1, std::min(positions, floats / (g.rows.step * g.columns.step * std::max<int64_t>(g.channels, 1))));
    const int64_t most_rows = std::max<int64_t>(1, most / width);
    row_bands = (height + most_rows - 1) / most_rows;
    rows = (height + row_bands - 1) / row_bands;
    row_bands = (height + rows - 1) / rows;
    images = row_bands == 1 ? std::clamp<int64_t>(most / (height * width), 1, std::max<int64_t>(g.batch, 1)) : 1;
    count = row_bands * ((g.batch + images - 1) / images);
  }
};

// Target rows [row, row + rows) of images [image, image + images).
struct TargetBand {
  int64_t image, images, row, rows;
  TargetBand(const Bands& bands, const Gather& g, int64_t index)
      : image(index / bands.row_bands * bands.images), images(std::min(bands.images, g.batch - image)), row(index % bands.row_bands * bands.rows),
        rows(std::min(bands.rows, g.rows.positions - row)) {}
};

// Bands as threads take them: the last ones, one for each, in parts, so that threads end together.
struct BandItems {
  static constexpr int64_t kParts = 4;
  int64_t whole, count;

  BandItems(const Bands& bands, int threads) : whole(std::max<int64_t>(0, bands.count - threads)), count(whole + (bands.count - whole) * kParts) {}

  // A band of an index beyond the count is not to be read.
  TargetBand band(const Bands& bands, const Gather& g, int64_t index) const {
    if (index < whole) return TargetBand(bands, g, index);
    TargetBand band(bands, g, whole + (index - whole) / kParts);
    const int64_t part = (index - whole) % kParts;
    int64_t& first = band.images > 1 ? band.image : band.row;
    int64_t& extent = band.images > 1 ? band.images : band.rows;
    const int64_t begin = extent * part / kParts, end = extent * (part + 1) / kParts;
    first += begin;
    extent = end - begin;
    return band;
  }
};

// Lines of the cache that are read later, fetched while a block computes, at even intervals: memory must not be asked for all at once.
struct Ahead {
  const float* from = nullptr;
  int64_t step = 0;  // floats from a line to the next
  int64_t lines = 0;
  int64_t interval = 0;
  int64_t wait = INT64_MAX;
  int64_t at = 0;

  // A line that the block writes at its end is on its way while it computes.
  void result(const float* line) { __builtin_prefetch(line, 1, 3); }
  // Before a block of so many steps.
  void spread(int64_t steps) {
    if (lines <= 0) return;
    interval = std::max<int64_t>(1, steps / lines);
    wait = 1;
  }
  void fetch() {
    if (--wait > 0) return;
    __builtin_prefetch(address_after(from, at), 0, 2);
    at += step;
    wait = --lines > 0 ? interval : INT64_MAX;
  }
};

// What comes next, as a sequence of lines that blocks fetch in turn: runs of pixels at one distance, one line of all pixels after another.
class Later {
 public:
  void add(const float* from, int64_t pixels, int64_t pixel_stride, int64_t channels) {
    if (pixels <= 0 || channels <= 0) return;
    if (pixel_stride < 16) {  // several pixels a line
      channels = 16;
      pixels = (pixels * pixel_stride + 15) / 16;
      pixel_stride = 16;
    }
    parts_[count_++] = {from, pixels, pixel_stride, (channels + 15) / 16};
    total_ += pixels * ((channels + 15) / 16);
  }

  // Pixels of target rows or source rows [row, row + rows) of each of a band's images, where they lie at one distance.
  void add(const float* base, const PixelGrid& grid, const TargetBand& band, int64_t row, int64_t rows, int64_t channels) {
    if (grid.row_stride != grid.width * grid.pixel_stride || (band.images > 1 && grid.batch_stride != grid.height * grid.row_stride)) return;
    add(base + grid.offset(band.image, row, 0), ((band.images - 1) * grid.height + rows) * grid.width, grid.pixel_stride, channels);
  }

  // To be fetched by so many blocks.
  void share(int64_t blocks) { quota_ = (total_ + blocks - 1) / std::max<int64_t>(blocks, 1); }

  Ahead next() {
    if (part_ == count_) return {};
    const Part& part = parts_[part_];
    const Ahead ahead{part.from + line_ * 16 + pixel_ * part.stride, part.stride, std::min(quota_, part.pixels - pixel_)};
    pixel_ += ahead.lines;
    if (pixel_ == part.pixels) {
      pixel_ = 0;
      if (++line_ == part.lines) {
        line_ = 0;
        ++part_;
      }
    }
    return ahead;
  }

 private:
  struct Part {
    const float* from;
    int64_t pixels, stride, lines;
  };
  Part parts_[2];
  int count_ = 0, part_ = 0;
  int64_t total_ = 0, quota_ = 0, line_ = 0, pixel_ = 0;
};

// Source rows that taps [tap, end) of target rows [row, row + rows) read: the first, and how many.
struct SourceRows {
  int64_t first, count;
  SourceRows(const Gather& g, const TargetBand& band, int64_t tap, int64_t end)
      : first(std::clamp<int64_t>(source(g, band.row, tap), 0, g.source.height)),
        count(std::clamp<int64_t>(source(g, band.row + band.rows - 1, end - 1) + 1, first, g.source.height) - first) {}

 private:
  static int64_t source(const Gather& g, int64_t row, int64_t tap) { return row * g.rows.step + g.rows.offset + tap * g.rows.offset_step; }
};

}  // namespace gatun

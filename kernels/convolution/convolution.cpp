// SPDX-License-Identifier: Apache-2.0
// Forward and backward-data of grouped convolutions: an implicit matrix product over patches (gather.h), which are read where they lie in the
// source, each with the taps that lie inside it.
#include "kernels/convolution/convolution.h"

#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/common/spin_barrier.h"
#include "kernels/convolution/depthwise.h"
#include "kernels/convolution/patches.h"
#include "kernels/convolution/winograd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/convolution.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Longest stretch of the depth in one pass over a band: a panel of weights of that depth stays in the cache.
constexpr int64_t kGatherDepth = 768;
constexpr int64_t kGatherPositions = 1024;    // positions of a band, unless one row has more
constexpr int64_t kGatherSource = 64 << 10;   // floats of the source that it reads, unless one row needs more
constexpr int64_t kGatherClasses = 32;

static Bands gather_bands(const Gather& g) { return Bands(g, kGatherPositions, kGatherSource); }

// Positions with the same taps inside the source.
struct PatchClass {
  Stretch rows, columns;
  int64_t first, count;  // in the lists of positions
};

// Positions gathered until there is room for no more; then multiplied with all panels of weights.
class PatchList {
 public:
  PatchList(const Gather& g, const float* source, const float* packed, const float* bias, bool accumulate, float* target)
      : g_(g), source_(source), packed_(packed), bias_(bias), accumulate_(accumulate), target_(target),
        merged_(g.columns.offset_step == 1 && g.source.pixel_stride == g.channels),
        kernel_rows_(std::max<int64_t>(1, kGatherDepth / std::max<int64_t>(1, g.columns.count * g.channels))),
        slices_(std::max<int64_t>(1, (g.rows.count + kernel_rows_ - 1) / kernel_rows_)) {
    for (int64_t n = 0; n < g.outputs; n += gemm_panel_vectors(g.outputs - n) * static_cast<int64_t>(hn::Lanes(F32()))) ++panels_;
  }

  // What is fetched while the positions from here on are multiplied: the band that comes next.
  void following(const TargetBand* band) { following_ = band; }

  void add(const TargetBand& band, const Stretch& rows, const Stretch& columns) {
    for (int64_t n = 0; n < band.images; ++n) {
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        for (int64_t j = columns.begin; j < columns.end;) {
          if (count_ == kGatherPositions || classes_count_ == kGatherClasses) multiply();
          if (classes_count_ == 0 || !same(classes_[classes_count_ - 1], rows, columns)) classes_[classes_count_++] = {rows, columns, count_, 0};
          const int64_t end = std::min(columns.end, j + kGatherPositions - count_);
          int64_t from = g_.source.offset(band.image + n, i * g_.rows.step + g_.rows.offset, j * g_.columns.step + g_.columns.offset);
          int64_t to = g_.target.offset(band.image + n, g_.rows.target + i * g_.rows.target_step, g_.columns.target + j * g_.columns.target_step);
          classes_[classes_count_ - 1].count += end - j;
          for (; j < end; ++j, ++count_) {
            from_[count_] = from;
            to_[count_] = to;
            from += g_.columns.step * g_.source.pixel_stride;
            to += g_.columns.target_step * g_.target.pixel_stride;
          }
        }
      }
    }
  }

  void multiply() {
    int64_t blocks = 0;
    for (int64_t i = 0; i < classes_count_; ++i) blocks += (classes_[i].count + kRowsAtLeast - 1) / kRowsAtLeast;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32())), passes = slices_ * panels_;
    for (int64_t slice = 0, pass = 0; slice < slices_; ++slice) {
      int64_t n = 0;
      for (int64_t panel = 0; panel < panels_; ++panel, ++pass) {
        const int vectors = gemm_panel_vectors(g_.outputs - n);
        Later later;
        if (passes > 1) fetch_weights(pass + 1 == passes ? 0 : pass + 1, later);
        if (following_ != nullptr) {
          const SourceRows rows(g_, *following_, 0, g_.rows.count);
          const int64_t begin = rows.count * pass / passes, end = rows.count * (pass + 1) / passes;
          later.add(source_, g_.source, *following_, rows.first + begin, end - begin, g_.channels);
        }
        later.share(blocks);
        for (int64_t i = 0; i < classes_count_; ++i) multiply(classes_[i], slice, n, vectors, later);
        n += vectors * lanes;
      }
    }
    count_ = classes_count_ = 0;
  }

 private:
  static constexpr int64_t kRowsAtLeast = 6;

  static bool same(const PatchClass& a, const Stretch& rows, const Stretch& columns) {
    return a.rows.tap == rows.tap && a.rows.taps == rows.taps && a.columns.tap == columns.tap && a.columns.taps == columns.taps;
  }

  void fetch_weights(int64_t pass, Later& later) const {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32())), slice = pass / panels_;
    int64_t n = 0;
    for (int64_t panel = 0; panel < pass % panels_; ++panel) n += gemm_panel_vectors(g_.outputs - n) * lanes;
    const int64_t row = g_.columns.count * g_.channels, width = gemm_panel_vectors(g_.outputs - n) * lanes;
    const int64_t rows = std::min(kernel_rows_, g_.rows.count - slice * kernel_rows_) * row;
    later.add(packed_ + n * g_.depth() + slice * kernel_rows_ * row * width, rows * width / 16, 16, 16);
  }

  void multiply(const PatchClass& c, int64_t slice, int64_t n, int vectors, Later& later) const {
    const bool none = c.rows.taps == 0 || c.columns.taps == 0;
    const int64_t first = std::max(slice * kernel_rows_, c.rows.tap), end = std::min((slice + 1) * kernel_rows_, c.rows.tap + c.rows.taps);
    if (none ? slice > 0 : first >= end) return;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
    GemmRuns runs{none ? 0 : end - first, g_.rows.offset_step * g_.source.row_stride,
                  c.columns.taps,         g_.columns.offset_step * g_.source.pixel_stride,
                  g_.channels,            (g_.columns.count - c.columns.taps) * g_.channels};
    if (merged_ && !none) {
      runs.length *= runs.columns;
      runs.columns = 1;
    }
    const float* source = source_;
    const float* weights = packed_ + n * g_.depth();
    if (!none) {
      source += first * runs.row_step + c.columns.tap * g_.columns.offset_step * g_.source.pixel_stride;
      weights += (first * g_.columns.count + c.columns.tap) * g_.channels * vectors * lanes;
    }
    gemm_panel(vectors, source, from_ + c.first, runs, weights, target_ + n, to_ + c.first, c.count, g_.outputs - n,
               bias_ == nullptr ? nullptr : bias_ + n, accumulate_ || (!none && first > c.rows.tap), [&] { return later.next(); });
  }

  const Gather& g_;
  const float* source_;
  const float* packed_;
  const float* bias_;
  bool accumulate_;
  float* target_;
  bool merged_;
  int64_t kernel_rows_, slices_, panels_ = 0;
  const TargetBand* following_ = nullptr;
  int64_t count_ = 0, classes_count_ = 0;
  PatchClass classes_[kGatherClasses];
  int64_t from_[kGatherPositions], to_[kGatherPositions];
};

static int64_t packed_floats(const Gather& g) { return round_up(g.depth() * padded_outputs(g.outputs), 16); }

// accumulate: the targets have values that the products are added to; without a bias
static void gather_product(int threads, const Gather& g, double allowed_error, const float* source, const float* weights, const float* bias,
                           bool accumulate, float* target, float* workspace) {
  if (g.positions() == 0) return;
  if (const int tile = winograd_tile(g, allowed_error)) return winograd_gather(threads, g, tile, source, weights, bias, accumulate, target, workspace);
  float* packed = workspace;
  const Bands bands = gather_bands(g);
  const BandItems items(bands, threads);
  int64_t taken = 0;
  SpinBarrier barrier;
#pragma omp parallel num_threads(threads)
  {
    pack_weights(g, weights, packed);
    barrier.wait();
    PatchList list(g, source, packed, bias, accumulate, target);
    const auto take = [&] {
      int64_t index;
#pragma omp atomic capture
      index = taken++;
      return index;
    };
    // A band is taken before the last is computed, so that it can be fetched.
    for (int64_t index = take(), next; index < items.count; index = next) {
      next = take();
      const TargetBand band = items.band(bands, g, index), following = items.band(bands, g, next);
      list.following(next < items.count ? &following : nullptr);
      for_stretches(g.rows, g.source.height, band.row, band.row + band.rows, [&](const Stretch& rows) {
        for_stretches(g.columns, g.source.width, 0, g.columns.positions, [&](const Stretch& columns) { list.add(band, rows, columns); });
      });
      list.multiply();
    }
  }
}

static size_t gather_workspace(int threads, const Gather& g, double allowed_error) {
  if (const int tile = winograd_tile(g, allowed_error)) return winograd_workspace(threads, g, tile);
  return static_cast<size_t>(packed_floats(g)) * sizeof(float);
}

size_t dense_forward_workspace(int threads, const ConvolutionShape& s) { return gather_workspace(threads, forward_gather(s), s.allowed_error); }

size_t dense_backward_data_workspace(int threads, const ConvolutionShape& s) {
  size_t bytes = 0;
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      bytes = std::max(bytes, gather_workspace(threads, backward_gather(s, i, j), s.allowed_error));
    }
  }
  return bytes;
}

void dense_forward(int threads, const ConvolutionShape& s, const float* x, const float* weights, const float* bias, float* y,
                   float* workspace) {
  const Gather gather = forward_gather(s);
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t output = group * s.group_outputs();
    gather_product(threads, gather, s.allowed_error, x + group * s.group_channels(), weights + output * s.patch(),
                   bias == nullptr ? nullptr : bias + output, false, y + output, workspace);
  }
}

void dense_backward_data(int threads, const ConvolutionShape& s, const float* dy, const float* weights, float* dx, float* workspace) {
  for (int64_t i = 0; i < std::min(s.stride_height, s.x.height); ++i) {
    for (int64_t j = 0; j < std::min(s.stride_width, s.x.width); ++j) {
      const Gather gather = backward_gather(s, i, j);
      for (int64_t group = 0; group < s.groups; ++group) {
        const int64_t output = group * s.group_outputs();
        gather_product(threads, gather, s.allowed_error, dy + output, weights + output * s.patch(), nullptr, s.accumulate,
                       dx + group * s.group_channels(), workspace);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
size_t convolution_forward_workspace<float>(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_forward_workspace(stream, shape);
  return GATUN_DISPATCH(dense_forward_workspace)(stream.threads(), shape);
}

template <>
size_t convolution_backward_data_workspace<float>(const Stream& stream, const ConvolutionShape& shape) {
  if (shape.depthwise()) return depthwise_backward_data_workspace(stream, shape);
  return GATUN_DISPATCH(dense_backward_data_workspace)(stream.threads(), shape);
}

template <>
void convolution_forward<float>(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias,
                                float* y, float* workspace, ConvolutionTile) {
  if (shape.depthwise()) return depthwise_forward(stream, shape, x, weights, bias, y, workspace);
  GATUN_DISPATCH(dense_forward)(stream.threads(), shape, x, weights, bias, y, workspace);
}

template <>
void convolution_backward_data<float>(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                                      float* workspace, ConvolutionTile) {
  if (shape.depthwise()) return depthwise_backward_data(stream, shape, dy, weights, dx, workspace);
  GATUN_DISPATCH(dense_backward_data)(stream.threads(), shape, dy, weights, dx, workspace);
}

}  // namespace gatun
#endif

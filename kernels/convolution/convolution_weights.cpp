// SPDX-License-Identifier: Apache-2.0
// Backward-weights: dweights[o][k] = Σ over output positions m of dy[m][o] · patch[m][k], a product whose depth is B·OH·OW. The depth is
// cut into chunks by the shape alone; partial sums are added in the order of the chunks. Both operands are read where they lie: for each
// tap over the positions at which it lies inside the image, so that padding costs nothing.
#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/common/spin_barrier.h"
#include "kernels/convolution/convolution.h"
#include "kernels/convolution/depthwise.h"
#include "kernels/convolution/patches.h"
#include "kernels/convolution/winograd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/convolution_weights.cpp"
#include "hwy/foreach_target.h"
#include "kernels/convolution/outer-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kChunkPositions = 1536;      // fewest positions a chunk is worth: its partial sums are written, and read once more
constexpr int64_t kChunks = 32;                // most chunks
constexpr int64_t kPartials = 5 << 19;         // most floats of partial sums, but for one chunk
constexpr int64_t kItemOutputs = 64;           // output channels of a work item
constexpr int64_t kItemSums = 40 << 10;        // most floats of its sums, unless one kernel row has more: the second-level cache holds them
constexpr int64_t kItemPositions = 512;        // most positions of a band, unless one row has more
constexpr int64_t kItemSource = 72 << 10;      // most floats of x that it reads, unless one row needs more

struct WeightsPlan {
  bool merged;  // the taps of a kernel row lie side by side, and are one run
  bool turned;  // sums have outputs along their vectors, else the elements of a patch: whichever wastes fewer lanes
  Bands bands;
  int64_t run, row_run;                              // elements of a run, of a kernel row
  int64_t columns, partial;                          // of a chunk's sums: of one row; all, and then the bias
  int64_t chunks, chunk_bands;
  int64_t blocks, groups, group_rows;  // work items of a chunk: blocks of outputs times groups of kernel rows

  WeightsPlan(const ConvolutionShape& s, const Gather& g) : bands(g, kItemPositions, kItemSource) {
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32())), outputs = s.group_outputs(), channels = g.channels;
    merged = g.columns.offset_step == 1 && g.source.pixel_stride == channels && channels % lanes != 0;
    row_run = g.columns.count * channels;
    run = merged ? row_run : channels;
    turned = round_up(outputs, lanes) * run < round_up(run, lanes) * outputs;
    columns = round_up(turned ? outputs : s.patch(), 16);
    partial = (turned ? s.patch() : outputs) * columns + round_up(outputs, 16);
    const int64_t most = std::clamp<int64_t>(std::min(s.positions() / kChunkPositions, kPartials / partial), 1, kChunks);
    chunk_bands = std::max<int64_t>(1, (bands.count + most - 1) / most);
    chunks = std::max<int64_t>(1, (bands.count + chunk_bands - 1) / chunk_bands);
    blocks = (outputs + kItemOutputs - 1) / kItemOutputs;
    group_rows = std::clamp<int64_t>(kItemSums / (std::min(outputs, kItemOutputs) * row_run), 1, g.rows.count);
    groups = (g.rows.count + group_rows - 1) / group_rows;
  }

  int64_t items() const { return chunks * blocks * groups; }
};

size_t dense_backward_weights_workspace(int, const ConvolutionShape& s) {
  const WeightsPlan plan(s, forward_gather(s));
  return static_cast<size_t>(plan.chunks * plan.partial) * sizeof(float);
}

// sum[o] += dy of `count` positions; sum is whole vectors
HWY_INLINE void add_rows(const float* dy, int64_t stride, int64_t count, int64_t outputs, float* sum) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t o = 0;
  for (; o + 4 * lanes <= outputs; o += 4 * lanes) {
    VF total[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) total[v] = hn::LoadU(d, sum + o + v * lanes);
    for (int64_t r = 0; r < count; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) total[v] = hn::Add(total[v], hn::LoadU(d, dy + r * stride + o + v * lanes));
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) hn::StoreU(total[v], d, sum + o + v * lanes);
  }
  for (; o < outputs; o += lanes) {
    VF total = hn::LoadU(d, sum + o);
    for (int64_t r = 0; r < count; ++r) total = hn::Add(total, gemm_load(d, dy + r * stride + o, outputs - o, lanes));
    hn::StoreU(total, d, sum + o);
  }
}

// A work item: its chunk, outputs from `first` on, and kernel rows [row, end), of each the columns [column, column_end).
struct WeightsItem {
  int64_t chunk, first, outputs, row, end, column = 0, column_end;
  WeightsItem(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, int64_t item)
      : chunk(item / (plan.blocks * plan.groups)),
        first(item / plan.groups % plan.blocks * kItemOutputs),
        outputs(std::min(kItemOutputs, s.group_outputs() - first)),
        row(item % plan.groups * plan.group_rows),
        end(std::min(row + plan.group_rows, g.rows.count)),
        column_end(g.columns.count) {}

  bool empty() const { return row == end || column == column_end; }

  // One of `parts` of its kernel rows, or, where it is one row of separate columns, of these.
  void take_part(bool merged, int64_t part, int64_t parts) {
    const bool rows = merged || end - row > 1;
    int64_t& from = rows ? row : column;
    int64_t& to = rows ? end : column_end;
    const int64_t begin = from, extent = to - from;
    from = begin + extent * part / parts;
    to = begin + extent * (part + 1) / parts;
  }
};

// Items as threads take them: the last ones, one for each, in parts, so that threads end together.
struct WeightsItems {
  int64_t parts, whole, count;
  WeightsItems(const Gather& g, const WeightsPlan& plan, int threads)
      : parts(plan.group_rows > 1 ? plan.group_rows : plan.merged ? 1 : g.columns.count), whole(std::max<int64_t>(0, plan.items() - threads)),
        count(whole + (plan.items() - whole) * parts) {}

  WeightsItem item(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, int64_t index) const {
    if (index < whole) return WeightsItem(s, g, plan, index);
    WeightsItem item(s, g, plan, whole + (index - whole) / parts);
    item.take_part(plan.merged, (index - whole) % parts, parts);
    return item;
  }
};

static Later later_of(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, int64_t index, const WeightsItem& item, const float* x,
                      const float* dy) {
  Later later;
  const TargetBand band(plan.bands, g, index);
  later.add(dy + item.first, s.y, band, band.row, band.rows, item.outputs);
  const SourceRows rows(g, band, item.row, item.end);
  later.add(x, s.x, band, rows.first, rows.count, g.channels);
  return later;
}

// Adds one kernel row's products of a band: sums begins at the kernel row's first element (and the first output), dy at the first output.
// begin: nothing is there yet, which only taps that are runs of their own need to be told.
static void add_kernel_row(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, const TargetBand& band, const WeightsItem& item,
                           int64_t u, const float* x, const float* dy, float* sums, bool begin, Later& later) {
  const Stretch rows = tap_stretch(g.rows, g.source.height, u);
  const int64_t top = std::clamp(rows.begin, band.row, band.row + band.rows), bottom = std::clamp(rows.end, top, band.row + band.rows);
  int64_t x_line[kItemPositions], dy_line[kItemPositions];
  int64_t lines = 0;
  const auto add = [&](const Stretch& columns) {
    const int64_t run = columns.taps * g.channels;
    const int64_t length = columns.end - columns.begin, x_step = g.columns.step * s.x.pixel_stride;
    const int64_t count = length == 0 ? 0 : lines;
    const int64_t source = columns.begin * g.columns.step + g.columns.offset + columns.tap * g.columns.offset_step;
    const float* const from_x = count == 0 ? x : x + source * s.x.pixel_stride;
    const float* const from_dy = count == 0 ? dy : dy + columns.begin * s.y.pixel_stride;
    const auto ahead = [&] { return later.next(); };
    if (plan.turned) {
      const GemmLines at{count, length, x_step, s.y.pixel_stride, x_line, dy_line};
      outer_product(from_x, from_dy, at, sums + columns.tap * g.channels * plan.columns, plan.columns, run, item.outputs, begin, ahead);
    } else {
      const GemmLines at{count, length, s.y.pixel_stride, x_step, dy_line, x_line};
      outer_product(from_dy, from_x, at, sums + columns.tap * g.channels, plan.columns, item.outputs, run, begin, ahead);
    }
  };
  const auto multiply = [&] {
    if (plan.merged) {
      for_stretches(g.columns, g.source.width, 0, g.columns.positions, [&](const Stretch& columns) {
        if (columns.taps > 0) add(columns);
      });
    } else {
      for (int64_t v = item.column; v < item.column_end; ++v) {
        const Stretch columns = tap_stretch(g.columns, g.source.width, v);
        if (begin || columns.end > columns.begin) add(columns);
      }
    }
    lines = 0;
    begin = false;
  };
  for (int64_t image = band.image; image < band.image + band.images; ++image) {
    for (int64_t row = top; row < bottom; ++row) {
      dy_line[lines] = s.y.offset(image, row, 0);
      x_line[lines] = s.x.offset(image, row * g.rows.step + g.rows.offset + u * g.rows.offset_step, 0);
      if (++lines == kItemPositions) multiply();
    }
  }
  if (lines > 0 || begin) multiply();
}

// The sums of an item over its chunk. partial: of the chunk; bias: nullptr where not asked for; following: the item that this thread takes next.
static void weights_item(const ConvolutionShape& s, const Gather& g, const WeightsPlan& plan, const WeightsItem& item, const WeightsItem* following,
                         const float* x, const float* dy, float* partial, float* bias) {
  if (item.empty()) return;
  const int64_t kernel_row = plan.row_run;
  float* sums = partial + (plan.turned ? item.first : item.first * plan.columns);
  const auto kernel_sums = [&](int64_t u) { return sums + u * kernel_row * (plan.turned ? plan.columns : 1); };
  if (plan.merged) {
    const int64_t elements = (item.end - item.row) * kernel_row;
    const auto clear = [&](int64_t rows, int64_t n) {
      for (int64_t r = 0; r < rows; ++r) std::fill_n(kernel_sums(item.row) + r * plan.columns, n, 0.0f);
    };
    if (plan.turned) clear(elements, item.outputs);
    else clear(item.outputs, elements);
  }
  if (bias != nullptr) std::fill_n(bias, round_up(item.outputs, 16), 0.0f);
  const int64_t begin = item.chunk * plan.chunk_bands, last = std::min(plan.bands.count, begin + plan.chunk_bands);
  for (int64_t index = begin; index < last; ++index) {
    const TargetBand band(plan.bands, g, index);
    Later later = index + 1 < last ? later_of(s, g, plan, index + 1, item, x, dy)
                  : following != nullptr ? later_of(s, g, plan, following->chunk * plan.chunk_bands, *following, x, dy) : Later();
    const int64_t runs = plan.merged ? 1 : item.column_end - item.column;
    const int64_t down = plan.turned ? plan.run : item.outputs, across = plan.turned ? item.outputs : plan.run;
    later.share((item.end - item.row) * runs * outer_row_blocks(down) * outer_column_blocks(across));
    if (bias != nullptr) {
      for (int64_t n = 0; n < band.images; ++n) {
        for (int64_t i = 0; i < band.rows; ++i) {
          add_rows(dy + item.first + s.y.offset(band.image + n, band.row + i, 0), s.y.pixel_stride, s.y.width, item.outputs, bias);
        }
      }
    }
    const bool fresh = !plan.merged && index == begin;
    for (int64_t u = item.row; u < item.end; ++u) add_kernel_row(s, g, plan, band, item, u, x, dy + item.first, kernel_sums(u), fresh, later);
  }
}

// Sums of all chunks for outputs [first, first + outputs), which lie along the vectors of the partial sums, as rows of dweights.
HWY_INLINE void combine_turned(const float* partials, const WeightsPlan& plan, int64_t patch, int64_t first, int64_t outputs, bool accumulate,
                                float* dweights) {
  HWY_ALIGN float sums[kItemOutputs];
  for (int64_t k = 0; k < patch; ++k) {
    combine_partials(partials + k * plan.columns + first, plan.chunks, plan.partial, outputs, false, sums);
    for (int64_t o = 0; o < outputs; ++o) {
      float& to = dweights[(first + o) * patch + k];
      to = accumulate ? sums[o] + to : sums[o];
    }
  }
}

void dense_backward_weights(int threads, const ConvolutionShape& s, const float* x, const float* dy, float* dweights, float* dbias,
                            float* workspace) {
  const Gather g = forward_gather(s);
  const WeightsPlan plan(s, g);
  const int64_t outputs = s.group_outputs(), bias_at = plan.partial - round_up(outputs, 16);
  for (int64_t group = 0; group < s.groups; ++group) {
    const float* group_x = x + group * s.group_channels();
    const float* group_dy = dy + group * outputs;
    float* group_weights = dweights + group * outputs * s.patch();
    const WeightsItems items(g, plan, threads);
    int64_t taken = 0;
    SpinBarrier barrier;
#pragma omp parallel num_threads(threads)
    {
      const auto take = [&] {
        int64_t item;
#pragma omp atomic capture
        item = taken++;
        return item;
      };
      // An item is taken before the last is computed, so that its operands can be fetched.
      for (int64_t index = take(), next; index < items.count; index = next) {
        next = take();
        const WeightsItem item = items.item(s, g, plan, index), following = items.item(s, g, plan, next);
        float* partial = workspace + item.chunk * plan.partial;
        weights_item(s, g, plan, item, next < items.count ? &following : nullptr, group_x, group_dy, partial,
                     dbias != nullptr && item.row == 0 && item.column == 0 ? partial + bias_at + item.first : nullptr);
      }
      barrier.wait();
      if (plan.turned) {
#pragma omp for schedule(static) nowait
        for (int64_t first = 0; first < outputs; first += 16) {
          combine_turned(workspace, plan, s.patch(), first, std::min<int64_t>(16, outputs - first), s.accumulate, group_weights);
        }
      } else {
#pragma omp for schedule(static) nowait
        for (int64_t o = 0; o < outputs; ++o) {
          combine_partials(workspace + o * plan.columns, plan.chunks, plan.partial, s.patch(), s.accumulate, group_weights + o * s.patch());
        }
      }
#pragma omp single nowait
      if (dbias != nullptr) combine_partials(workspace + bias_at, plan.chunks, plan.partial, outputs, s.accumulate, dbias + group * outputs);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
size_t convolution_backward_weights_workspace<float>(const Stream& stream, const ConvolutionShape& shape, ConvolutionTile) {
  if (shape.depthwise()) return depthwise_backward_weights_workspace(stream, shape);
  if (const int tile = winograd_weights_tile(shape)) return winograd_weights_workspace(stream.threads(), shape, tile);
  return GATUN_DISPATCH(dense_backward_weights_workspace)(stream.threads(), shape);
}

template <>
void convolution_backward_weights<float>(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                         float* dbias, float* workspace, ConvolutionTile) {
  if (shape.positions() == 0) {
    if (shape.accumulate) return;
    std::fill_n(dweights, shape.out_channels * shape.patch(), 0.0f);
    if (dbias != nullptr) std::fill_n(dbias, shape.out_channels, 0.0f);
    return;
  }
  if (shape.depthwise()) return depthwise_backward_weights(stream, shape, x, dy, dweights, dbias, workspace);
  if (const int tile = winograd_weights_tile(shape)) return winograd_weights(stream.threads(), shape, tile, x, dy, dweights, dbias, workspace);
  GATUN_DISPATCH(dense_backward_weights)(stream.threads(), shape, x, dy, dweights, dbias, workspace);
}

}  // namespace gatun
#endif

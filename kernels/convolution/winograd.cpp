// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution/winograd.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/winograd.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/panels-inl.h"
#include "kernels/convolution/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kMostTiles = 48;  // of a block

// One axis of the transform of a kernel.
template <int kTile>
HWY_INLINE void kernel_line(const VF (&w)[3], VF (&to)[kSpan<kTile>]) {
  const F32 d;
  const VF ends = hn::Add(w[0], w[2]);
  if constexpr (kTile == 2) {
    const VF half = hn::Set(d, 0.5f);
    to[1] = hn::Mul(half, hn::Add(ends, w[1]));
    to[2] = hn::Mul(half, hn::Sub(ends, w[1]));
  } else {
    const VF sixth = hn::Set(d, -1.0f / 6), small = hn::Set(d, 1.0f / 24);
    const VF wide = hn::MulAdd(hn::Set(d, 4.0f), w[2], w[0]), middle = hn::Add(w[1], w[1]);
    to[1] = hn::Mul(sixth, hn::Add(ends, w[1]));
    to[2] = hn::Mul(sixth, hn::Sub(ends, w[1]));
    to[3] = hn::Mul(small, hn::Add(wide, middle));
    to[4] = hn::Mul(small, hn::Sub(wide, middle));
  }
  to[0] = kTile == 2 ? w[0] : hn::Mul(hn::Set(d, 0.25f), w[0]);
  to[kSpan<kTile> - 1] = w[2];
}

// One axis of the transform back.
template <int kTile>
HWY_INLINE void outputs_line(const VF (&m)[kSpan<kTile>], VF (&to)[kTile]) {
  const F32 d;
  const VF sum = hn::Add(m[1], m[2]), difference = hn::Sub(m[1], m[2]);
  if constexpr (kTile == 2) {
    to[0] = hn::Add(m[0], sum);
    to[1] = hn::Sub(difference, m[3]);
  } else {
    const VF far_sum = hn::Add(m[3], m[4]), far_difference = hn::Sub(m[3], m[4]);
    to[0] = hn::Add(m[0], hn::Add(sum, far_sum));
    to[1] = hn::MulAdd(hn::Set(d, 2.0f), far_difference, difference);
    to[2] = hn::MulAdd(hn::Set(d, 4.0f), far_sum, sum);
    to[3] = hn::Add(m[5], hn::MulAdd(hn::Set(d, 8.0f), far_difference, difference));
  }
}

// Sizes of a gather in tiles, by its shape alone.
template <int kTile>
struct WinogradPlan {
  TileGrid<kTile> grid;
  int64_t block;                           // most tiles of a block
  int64_t channel_stride, output_stride;   // of a tile's pixels and products at one frequency
  int64_t kernel_floats, outputs;          // of one frequency's weights; whole vectors

  explicit WinogradPlan(const Gather& g)
      : grid(g),
        // Weights are read once a block: where they are many, they should serve many tiles.
        block(std::min<int64_t>(std::max<int64_t>(g.channels, g.outputs) > 128 ? kMostTiles : kMostTiles / 2, std::max<int64_t>(grid.count, 1))),
        // Tiles a large power of two apart would compete for the same few cache lines.
        channel_stride(round_up(g.channels, 16) + 16), output_stride(round_up(g.outputs, 16) + 16), kernel_floats(round_up(g.channels * padded_outputs(g.outputs), 16)),
        outputs(padded_outputs(g.outputs)) {}

  int64_t frequencies() const { return kSpan<kTile> * kSpan<kTile>; }
  int64_t block_floats() const { return frequencies() * block * (channel_stride + output_stride); }
  int64_t shared_floats(const Gather& g) const { return frequencies() * kernel_floats + round_up(g.depth() * outputs, 16); }
};

template <int kTile>
static void transform_weights(int threads, const Gather& g, const WinogradPlan<kTile>& plan, const float* packed, float* kernels) {
  constexpr int kA = kSpan<kTile>;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t vector = 0; vector < plan.outputs / lanes; ++vector) {
    const PanelPlace place(g.outputs, vector);
    const int64_t step = place.width * lanes, inside = vector * lanes - place.panel;
    for (int64_t c = 0; c < g.channels; ++c) {
      const float* from = packed + place.panel * g.depth() + c * step + inside;
      float* to = kernels + place.panel * g.channels + c * step + inside;
      transform_square<3, kA>(
          kernel_line<kTile>, [&](int u, int v) HWY_ATTR { return hn::LoadU(d, from + (u * 3 + v) * g.channels * step); },
          [&](int i, int j, VF result) HWY_ATTR { hn::StoreU(result, d, to + (i * kA + j) * plan.kernel_floats); });
    }
  }
}

template <int kTile>
static void transform_outputs(const Gather& g, const WinogradPlan<kTile>& plan, const TilePlace& place, const float* products, const float* bias, bool accumulate,
                              float* target) {
  constexpr int kA = kSpan<kTile>;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t rows = std::min<int64_t>(kTile, g.rows.positions - place.row), columns = std::min<int64_t>(kTile, g.columns.positions - place.column);
  float* first = target + g.target.offset(place.image, g.rows.target + place.row, g.columns.target + place.column);
  const int64_t frequency = plan.block * plan.output_stride;
  for (int64_t o = 0; o < g.outputs; o += lanes) {
    const int64_t live = g.outputs - o;
    const VF start = bias == nullptr ? hn::Zero(d) : gemm_load(d, bias + o, live, lanes);
    transform_square<kA, kTile>(
        outputs_line<kTile>, [&](int i, int j) HWY_ATTR { return hn::LoadU(d, products + (i * kA + j) * frequency + o); },
        [&](int i, int j, VF result) HWY_ATTR {
          if (i >= rows || j >= columns) return;
          float* to = first + i * g.target.row_stride + j * g.target.pixel_stride + o;
          gemm_store(hn::Add(result, accumulate ? gemm_load(d, to, live, lanes) : start), d, to, live, lanes);
        });
  }
}

template <int kTile>
static void gather_tiles(int threads, const Gather& g, const float* source, const float* weights, const float* bias, bool accumulate, float* target,
                         float* workspace) {
  const WinogradPlan<kTile> plan(g);
  if (plan.grid.count == 0) return;
  float* kernels = workspace;
  float* packed = kernels + plan.frequencies() * plan.kernel_floats;
  float* blocks = workspace + plan.shared_floats(g);
#pragma omp parallel num_threads(threads)
  pack_weights(g, weights, packed);
  transform_weights<kTile>(threads, g, plan, packed, kernels);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t first = 0; first < plan.grid.count; first += plan.block) {
    float* pixels = blocks + omp_get_thread_num() * plan.block_floats();
    float* products = pixels + plan.frequencies() * plan.block * plan.channel_stride;
    const int64_t count = std::min(plan.block, plan.grid.count - first);
    int64_t from[kMostTiles], to[kMostTiles];
    for (int64_t t = 0; t < count; ++t) {
      from[t] = t * plan.channel_stride;
      to[t] = t * plan.output_stride;
      transform_pixels<kTile>(g, TilePlace(plan.grid, first + t), g.channels, source, pixels + from[t], plan.block * plan.channel_stride);
    }
    for (int64_t k = 0; k < plan.frequencies(); ++k) {
      gemm_panels(pixels + k * plan.block * plan.channel_stride, from, g.channels, kernels + k * plan.kernel_floats,
                  products + k * plan.block * plan.output_stride, to, count, g.outputs);
    }
    for (int64_t t = 0; t < count; ++t) transform_outputs<kTile>(g, plan, TilePlace(plan.grid, first + t), products + to[t], bias, accumulate, target);
  }
}

void winograd_run(int threads, const Gather& g, int tile, const float* source, const float* weights, const float* bias, bool accumulate, float* target,
                  float* workspace) {
  (tile == 2 ? gather_tiles<2> : gather_tiles<4>)(threads, g, source, weights, bias, accumulate, target, workspace);
}

template <int kTile>
static size_t workspace_of(int threads, const Gather& g) {
  const WinogradPlan<kTile> plan(g);
  return static_cast<size_t>(plan.shared_floats(g) + threads * plan.block_floats()) * sizeof(float);
}

size_t winograd_bytes(int threads, const Gather& g, int tile) { return tile == 2 ? workspace_of<2>(threads, g) : workspace_of<4>(threads, g); }

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

int winograd_cheapest(const Gather& g, const WinogradCost& cost, bool small, bool large) {
  const auto plain = [](const GatherAxis& axis) { return axis.count == 3 && axis.step == 1 && axis.offset_step == 1 && axis.target_step == 1; };
  if (!plain(g.rows) || !plain(g.columns) || g.channels < 16 || g.outputs < 16) return 0;
  const auto of = [&](int64_t tile) {
    const int64_t tiles = g.batch * ((g.rows.positions + tile - 1) / tile) * ((g.columns.positions + tile - 1) / tile);
    return static_cast<double>((tile + 2) * (tile + 2)) * (static_cast<double>(tiles) * cost.tile + cost.frequency);
  };
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const double of_small = small ? of(2) : kNever, of_large = large ? of(4) : kNever;
  if (static_cast<double>(g.positions() * 9) * cost.direct <= std::min(of_small, of_large)) return 0;
  return of_large < of_small ? 4 : 2;
}

int winograd_tile(const Gather& g, double allowed_error) {
  const double factor = allowed_error / std::sqrt(static_cast<double>(g.channels));
  // With what the transforms of pixels, products and weights take beside the products.
  const double product = static_cast<double>(g.channels * g.outputs) / 16, sides = static_cast<double>(g.channels + g.outputs);
  return winograd_cheapest(g, {product * 1.2 + sides * 0.6, product * 8, product * 1.1}, factor >= kWinogradSmallError, factor >= kWinogradLargeError);
}

size_t winograd_workspace(int threads, const Gather& g, int tile) { return GATUN_DISPATCH(winograd_bytes)(threads, g, tile); }

void winograd_gather(int threads, const Gather& g, int tile, const float* source, const float* weights, const float* bias, bool accumulate, float* target,
                     float* workspace) {
  GATUN_DISPATCH(winograd_run)(threads, g, tile, source, weights, bias, accumulate, target, workspace);
}

}  // namespace gatun
#endif

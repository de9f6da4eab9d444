// SPDX-License-Identifier: Apache-2.0
// Winograd's filtering turned round: the gradient of a 3 x 3 kernel is the transform back of sums, over all tiles, of products of transformed
// pixels and transformed gradients; one product of matrices for each frequency.
#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/convolution/winograd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/winograd_weights.cpp"
#include "hwy/foreach_target.h"
#include "kernels/convolution/outer-inl.h"
#include "kernels/convolution/winograd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kBlockTiles = 24;     // transformed at a time: with the sums of 36 frequencies about what the second-level cache holds
constexpr int64_t kChunkTiles = 192;    // fewest tiles that are worth a chunk, at whose end sums are transformed back
constexpr int64_t kItems = 32;          // that share the work among threads

// One axis of the transform of the gradient of a tile: that of outputs turned round.
template <int kTile>
HWY_INLINE void gradient_line(const VF (&y)[kTile], VF (&to)[kSpan<kTile>]) {
  const F32 d;
  to[0] = y[0];
  if constexpr (kTile == 2) {
    to[1] = hn::Add(y[0], y[1]);
    to[2] = hn::Sub(y[0], y[1]);
    to[3] = hn::Neg(y[1]);
  } else {
    const VF even = hn::Add(y[0], y[2]), odd = hn::Add(y[1], y[3]), four = hn::Set(d, 4.0f);
    const VF wide = hn::MulAdd(four, y[2], y[0]), far = hn::Mul(hn::Set(d, 2.0f), hn::MulAdd(four, y[3], y[1]));
    to[1] = hn::Add(even, odd);
    to[2] = hn::Sub(even, odd);
    to[3] = hn::Add(wide, far);
    to[4] = hn::Sub(wide, far);
    to[5] = y[3];
  }
}

// One axis of the transform back to a kernel: that of kernels turned round.
template <int kTile>
HWY_INLINE void weights_line(const VF (&m)[kSpan<kTile>], VF (&to)[3]) {
  const F32 d;
  const VF sum = hn::Add(m[1], m[2]), difference = hn::Sub(m[1], m[2]);
  if constexpr (kTile == 2) {
    const VF half = hn::Set(d, 0.5f);
    to[0] = hn::MulAdd(half, sum, m[0]);
    to[1] = hn::Mul(half, difference);
    to[2] = hn::MulAdd(half, sum, m[3]);
  } else {
    const VF sixth = hn::Set(d, 1.0f / 6), far = hn::Mul(hn::Set(d, 1.0f / 24), hn::Add(m[3], m[4]));
    to[0] = hn::MulAdd(hn::Set(d, 0.25f), m[0], hn::NegMulAdd(sixth, sum, far));
    to[1] = hn::MulSub(hn::Set(d, 1.0f / 12), hn::Sub(m[3], m[4]), hn::Mul(sixth, difference));
    to[2] = hn::Add(m[5], hn::NegMulAdd(sixth, sum, hn::Mul(hn::Set(d, 4.0f), far)));
  }
}

// Channels as blocks of nearly equal width.
struct ChannelBlocks {
  int64_t channels, count, width;
  explicit ChannelBlocks(int64_t n)
      : channels(n), count((n + kWinogradItemChannels - 1) / kWinogradItemChannels), width(round_up((n + count - 1) / count, 16)) {
    count = (n + width - 1) / width;
  }
  int64_t first(int64_t block) const { return block * width; }
  int64_t size(int64_t block) const { return std::min(width, channels - first(block)); }
};

// By the shape alone. An item is a chunk of the tiles, a block of outputs and a block of gathered channels.
template <int kTile>
struct WinogradWeightsPlan {
  static constexpr int64_t kFrequencies = kSpan<kTile> * kSpan<kTile>;
  TileGrid<kTile> grid;
  ChannelBlocks outputs, channels;
  int64_t x_tile, dy_tile;            // floats of a tile's transformed pixels and gradients: its frequencies side by side
  int64_t chunks, chunk_tiles, patch, partial;  // partial: floats of a chunk's gradients, and then of the bias

  WinogradWeightsPlan(const ConvolutionShape& s, const Gather& g)
      : grid(g), outputs(g.outputs), channels(g.channels),
        // A line more, so that tiles are spread over the sets of the first-level cache.
        x_tile(kFrequencies * channels.width + 16), dy_tile(kFrequencies * outputs.width + 16), patch(s.patch()),
        partial(round_up(g.outputs * patch, 16) + round_up(g.outputs, 16)) {
    const int64_t items = outputs.count * channels.count, least = (grid.count + kWinogradChunkTiles - 1) / kWinogradChunkTiles;
    const int64_t wanted = std::max({int64_t{1}, least, std::min(grid.count / kChunkTiles, (kItems + items - 1) / items)});
    chunk_tiles = std::max<int64_t>(1, (grid.count + wanted - 1) / wanted);
    chunks = std::max<int64_t>(1, (grid.count + chunk_tiles - 1) / chunk_tiles);
  }
  int64_t items() const { return chunks * outputs.count * channels.count; }
  int team(int threads) const { return static_cast<int>(std::min<int64_t>(threads, items())); }
  int64_t sums_floats() const { return kFrequencies * outputs.width * channels.width; }
  int64_t thread_floats() const { return sums_floats() + kBlockTiles * (x_tile + dy_tile); }
};

// The first `outputs` channels of a tile's gradients, transformed; `frequency` floats lie between the results' frequencies.
template <int kTile>
static void transform_gradients(const PixelGrid& y, const TilePlace& place, int64_t outputs, const float* dy, float* to, int64_t frequency) {
  constexpr int kA = kSpan<kTile>;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t rows = std::min<int64_t>(kTile, y.height - place.row), columns = std::min<int64_t>(kTile, y.width - place.column);
  const float* first = dy + y.offset(place.image, place.row, place.column);
  for (int64_t o = 0; o < outputs; o += lanes) {
    transform_square<kTile, kA>(
        gradient_line<kTile>,
        [&](int i, int j) HWY_ATTR {
          if (i >= rows || j >= columns) return hn::Zero(d);
          return gemm_load(d, first + i * y.row_stride + j * y.pixel_stride + o, outputs - o, lanes);
        },
        [&](int i, int j, VF result) HWY_ATTR { hn::StoreU(result, d, to + (i * kA + j) * frequency + o); });
  }
}

// sums: of one output, its frequencies `frequency` floats apart; dweights: that output's kernel, at the first of `channels` channels
template <int kTile>
static void transform_back(const float* sums, int64_t frequency, int64_t channels, float* dweights, int64_t tap) {
  constexpr int kA = kSpan<kTile>;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t c = 0; c < channels; c += lanes) {
    transform_square<kA, 3>(
        weights_line<kTile>, [&](int i, int j) HWY_ATTR { return hn::LoadU(d, sums + (i * kA + j) * frequency + c); },
        [&](int u, int v, VF result) HWY_ATTR { gemm_store(result, d, dweights + (u * 3 + v) * tap + c, channels - c, lanes); });
  }
}

template <int kTile>
static void weights_item(const ConvolutionShape& s, const Gather& g, const WinogradWeightsPlan<kTile>& plan, int64_t item, const float* x,
                         const float* dy, bool with_bias, float* partials, float* workspace) {
  constexpr int kA = kSpan<kTile>;
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t c_block = item % plan.channels.count, o_block = item / plan.channels.count % plan.outputs.count;
  const int64_t chunk = item / (plan.channels.count * plan.outputs.count);
  const int64_t c = plan.channels.first(c_block), channels = plan.channels.size(c_block);
  const int64_t o = plan.outputs.first(o_block), outputs = plan.outputs.size(o_block);
  const int64_t x_width = plan.channels.width, dy_width = plan.outputs.width, frequency = dy_width * x_width;
  float* sums = workspace;
  float* pixels = sums + plan.sums_floats();
  float* gradients = pixels + kBlockTiles * plan.x_tile;
  float* partial = partials + chunk * plan.partial;
  float* bias = with_bias && c == 0 ? partial + plan.partial - round_up(g.outputs, 16) + o : nullptr;
  std::fill_n(sums, plan.sums_floats(), 0.0f);
  if (bias != nullptr) std::fill_n(bias, round_up(outputs, 16), 0.0f);
  const int64_t begin = chunk * plan.chunk_tiles, tiles = std::min(plan.grid.count - begin, plan.chunk_tiles);
  const int64_t blocks = (tiles + kBlockTiles - 1) / kBlockTiles;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * tiles / blocks, count = (block + 1) * tiles / blocks - first, none = 0;
    for (int64_t t = 0; t < count; ++t) {
      const TilePlace place(plan.grid, begin + first + t);
      transform_pixels<kTile>(g, place, channels, x + c, pixels + t * plan.x_tile, x_width);
      transform_gradients<kTile>(s.y, place, outputs, dy + o, gradients + t * plan.dy_tile, dy_width);
    }
    const int64_t next = begin + first + count, end = std::min(begin + tiles, next + kBlockTiles);
    Later later;
    add_tiles(later, plan.grid, next, end, s.y, 0, 0, dy + o, outputs);
    add_tiles(later, plan.grid, next, end, s.x, -g.rows.offset, 2 + g.rows.offset, x + c, channels);
    later.share(plan.kFrequencies * outer_row_blocks(outputs) * outer_column_blocks(channels));
    const GemmLines lines{1, count, plan.dy_tile, plan.x_tile, &none, &none};
    for (int64_t k = 0; k < plan.kFrequencies; ++k) {
      outer_product<OuterSum::kAdded>(gradients + k * dy_width, pixels + k * x_width, lines, sums + k * frequency, x_width, outputs,
                                      round_up(channels, lanes), false, [&] { return later.next(); });
    }
    if (bias == nullptr) continue;
    // At the point 1 of both axes the transform is the sum of the tile.
    for (int64_t v = 0; v < outputs; v += lanes) {
      VF total = hn::Zero(d);
      for (int64_t t = 0; t < count; ++t) total = hn::Add(total, hn::LoadU(d, gradients + t * plan.dy_tile + (kA + 1) * dy_width + v));
      hn::StoreU(hn::Add(hn::LoadU(d, bias + v), total), d, bias + v);
    }
  }
  for (int64_t row = 0; row < outputs; ++row) {
    transform_back<kTile>(sums + row * x_width, frequency, channels, partial + (o + row) * plan.patch + c, g.channels);
  }
}

template <int kTile>
static void backward_tiles(int threads, const ConvolutionShape& s, const float* x, const float* dy, float* dweights, float* dbias, float* workspace) {
  const Gather g = forward_gather(s);
  const WinogradWeightsPlan<kTile> plan(s, g);
  const int64_t bias_at = plan.partial - round_up(g.outputs, 16);
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t output = group * g.outputs;
#pragma omp parallel num_threads(plan.team(threads))
    {
#pragma omp for schedule(dynamic)
      for (int64_t item = 0; item < plan.items(); ++item) {
        weights_item<kTile>(s, g, plan, item, x + group * g.channels, dy + output, dbias != nullptr, workspace,
                            workspace + plan.chunks * plan.partial + omp_get_thread_num() * plan.thread_floats());
      }
#pragma omp for schedule(static)
      for (int64_t o = 0; o < g.outputs; ++o) {
        combine_partials(workspace + o * plan.patch, plan.chunks, plan.partial, plan.patch, s.accumulate, dweights + (output + o) * plan.patch);
      }
#pragma omp single
      if (dbias != nullptr) combine_partials(workspace + bias_at, plan.chunks, plan.partial, g.outputs, s.accumulate, dbias + output);
    }
  }
}

void winograd_weights_run(int threads, const ConvolutionShape& s, int tile, const float* x, const float* dy, float* dweights, float* dbias,
                          float* workspace) {
  (tile == 2 ? backward_tiles<2> : backward_tiles<4>)(threads, s, x, dy, dweights, dbias, workspace);
}

template <int kTile>
static size_t weights_workspace_of(int threads, const ConvolutionShape& s) {
  const WinogradWeightsPlan<kTile> plan(s, forward_gather(s));
  return static_cast<size_t>(plan.chunks * plan.partial + plan.team(threads) * plan.thread_floats()) * sizeof(float);
}

size_t winograd_weights_bytes(int threads, const ConvolutionShape& s, int tile) {
  return (tile == 2 ? weights_workspace_of<2> : weights_workspace_of<4>)(threads, s);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

int winograd_weights_tile(const ConvolutionShape& s) {
  const Gather g = forward_gather(s);
  // Pixels are transformed for each block of outputs, gradients for each of channels.
  const auto blocks = [](int64_t n) { return (n + kWinogradItemChannels - 1) / kWinogradItemChannels; };
  const double product = static_cast<double>(g.channels * g.outputs) / 16;
  const double sides = static_cast<double>(g.channels * blocks(g.outputs) + g.outputs * blocks(g.channels));
  // Of chunks only so many are added up, in error and in memory.
  const auto few = [&](int64_t tile) {
    const int64_t tiles = g.batch * ((g.rows.positions + tile - 1) / tile) * ((g.columns.positions + tile - 1) / tile);
    const int64_t chunks = (tiles + kWinogradChunkTiles - 1) / kWinogradChunkTiles;
    return chunks <= kWinogradMostChunks && chunks * g.outputs * s.patch() <= kWinogradMostPartials;
  };
  return winograd_cheapest(g, {product * 1.6 + sides * 1.2, product * 20, product * 1.05}, s.allowed_error >= kWinogradWeightsSmallError && few(2),
                           s.allowed_error >= kWinogradWeightsLargeError && few(4));
}

size_t winograd_weights_workspace(int threads, const ConvolutionShape& shape, int tile) {
  return GATUN_DISPATCH(winograd_weights_bytes)(threads, shape, tile);
}

void winograd_weights(int threads, const ConvolutionShape& shape, int tile, const float* x, const float* dy, float* dweights, float* dbias,
                      float* workspace) {
  GATUN_DISPATCH(winograd_weights_run)(threads, shape, tile, x, dy, dweights, dbias, workspace);
}

}  // namespace gatun
#endif

// SPDX-License-Identifier: Apache-2.0
// A tile of scores, of some keys and a block of queries: how queries are cut, its product, what is masked, the running softmax. Re-included per
// instruction set.
#if defined(GATUN_ATTENTION_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_ATTENTION_BLOCK_INL_H_
#undef GATUN_ATTENTION_BLOCK_INL_H_
#else
#define GATUN_ATTENTION_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/attention/attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace gatun::attention;

HWY_INLINE int64_t lane_count() { return static_cast<int64_t>(hn::Lanes(F32())); }
HWY_INLINE int64_t pad(int64_t n) { return round_up(n, lane_count()); }

// Queries cut evenly into blocks of at most kQueryBlock lanes. The last one also has the few queries that are taken as dot products.
struct Blocks {
  int64_t queries, vectors, count;
  explicit Blocks(int64_t queries)
      : queries(queries), vectors(pad(queries - dotted(queries)) / lane_count()),
        count(std::max<int64_t>(chunk_count(vectors * lane_count(), kQueryBlock), queries > 0 ? 1 : 0)) {}
  int64_t start(int64_t block) const { return block == count ? queries : vectors * block / count * lane_count(); }
  // Columns of the tile that are lanes of a product.
  int64_t lanes(int64_t block) const { return (vectors * (block + 1) / count - vectors * block / count) * lane_count(); }
};

// Blocks of the micro-kernel in the products of a head, so many with the shape of its scores and so many with that of its sums, unless it is causal.
HWY_INLINE int64_t product_blocks(int64_t queries, int64_t keys, int64_t depth, int64_t scores, int64_t sums) {
  const Blocks blocks(queries);
  const int64_t tiles = chunk_count(keys, kKeyTile);
  int64_t count = 0;
  for (int64_t i = 0; i < blocks.count; ++i) {
    count += scores * tiles * groups_of(chunk_count(keys, std::max<int64_t>(tiles, 1)), blocks.lanes(i) / lane_count());
    count += sums * tiles * groups_of(blocks.start(i + 1) - blocks.start(i), pad(depth) / lane_count());
  }
  return count;
}

// One tile of scores: keys [key, key+rows) of the head against the block of queries [query, query+columns), of which those from `lanes` on
// are dot products.
struct Tile {
  int64_t key, rows, query, columns, lanes, stride;
};

// Cuts the keys behind the last that any query of the block sees. Zero rows or less: nothing to do.
HWY_INLINE int64_t visible_rows(const Head& h, int64_t key, int64_t rows, int64_t query, int64_t columns) {
  return std::min(rows, query + columns - 1 + h.diagonal + 1 - key);
}

// Whether the keys of a head are one tile.
HWY_INLINE bool one_tile(const Head& h) { return h.keys <= kKeyTile; }

struct Matrix {
  const float* data;
  int64_t stride;
};

// Rows as a factor of a product: where they lie if they are used only once or stay in the first cache, else packed into scratch.
HWY_INLINE Matrix rows_of(const HeadView<const float>& view, const Head& h, int64_t start, int64_t rows, int64_t columns, float* scratch,
                          bool in_place) {
  const float* data = view.at(h.batch, start, h.head);
  const int64_t padded = pad(columns);
  if (padded == columns && (in_place || rows <= resident_rows(view.row_stride, columns))) return {data, view.row_stride};
  pack_rows(data, view.row_stride, scratch, padded, rows, columns);
  return {scratch, padded};
}

// The rows of a block that are dot products, times a factor.
HWY_INLINE void pack_dotted(const Matrix& rows, int64_t start, int64_t end, int64_t columns, float factor, float* out, int64_t out_stride) {
  const F32 d;
  const int64_t lanes = lane_count();
  for (int64_t r = start; r < end; ++r, out += out_stride) {
    const float* row = rows.data + r * rows.stride;
    for (int64_t c = 0; c < columns; c += lanes) {
      const VF x = c + lanes <= columns ? hn::LoadU(d, row + c) : load_tail(d, row + c, columns - c);
      hn::Store(hn::Mul(x, hn::Set(d, factor)), d, out + c);
    }
  }
}

// Scores, or whatever is a product of rows with the block's columns: transposed where they are lanes.
HWY_INLINE void tile_product(const Matrix& rows, const float* columns, const float* dotted_columns, const Tile& t, int64_t depth, float* out,
                             Prefetch& prefetch) {
  product<false>({rows.data, rows.stride, columns, t.lanes, out, t.stride, depth}, t.rows, t.lanes, prefetch);
  dot_columns(rows.data, rows.stride, dotted_columns, pad(depth), out + t.lanes, t.stride, t.rows, t.lanes < t.columns ? t.columns - t.lanes : 0,
              pad(depth));
}

// Adds the bias and takes out what causality hides.
void mask_scores(const Problem& p, const Head& h, const Tile& t, float* scores, float* scratch) {
  const F32 d;
  const int64_t lanes = lane_count();
  if (p.bias.data != nullptr) {
    pack_transposed(p.bias.at(h.batch, h.head, t.query) + t.key, p.bias.query_stride, scratch, t.stride, t.columns, t.rows, kLog2E);
    for (int64_t i = 0; i < t.rows * t.stride; i += lanes) {
      hn::Store(hn::Add(hn::Load(d, scores + i), hn::Load(d, scratch + i)), d, scores + i);
    }
  }
  for (int64_t r = 0; r < t.rows && p.causal; ++r) {
    // The first query that sees this key.
    const int64_t first = t.key + r - h.diagonal - t.query;
    for (int64_t c = 0; c < std::min(first, t.stride); c += lanes) {
      const auto hidden = hn::FirstN(d, static_cast<size_t>(std::min(lanes, first - c)));
      float* at = scores + r * t.stride + c;
      hn::Store(hn::IfThenElse(hidden, hn::Set(d, -kInfinity), hn::Load(d, at)), d, at);
    }
  }
}

template <int kVectors>
HWY_INLINE void softmax_columns(const Tile& t, float* scores, float* maximum, float* sum, float* alpha) {
  const F32 d;
  const int64_t lanes = lane_count();
  const int64_t rows = t.rows, stride = t.stride;
  VF most[kVectors], shift[kVectors], total[kVectors];
  for (int v = 0; v < kVectors; ++v) most[v] = hn::Load(d, maximum + v * lanes);
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) most[v] = hn::Max(most[v], hn::Load(d, scores + r * stride + v * lanes));
  }
  for (int v = 0; v < kVectors; ++v) {
    // Only -inf so far: any finite shift keeps the weights 0.
    shift[v] = hn::IfThenZeroElse(hn::Eq(most[v], hn::Set(d, -kInfinity)), most[v]);
    total[v] = hn::Zero(d);
  }
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* at = scores + r * stride + v * lanes;
      const VF weight = exp2(d, hn::Sub(hn::Load(d, at), shift[v]));
      hn::Store(weight, d, at);
      total[v] = hn::Add(total[v], weight);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const VF factor = exp2(d, hn::Sub(hn::Load(d, maximum + v * lanes), shift[v]));
    hn::Store(hn::MulAdd(hn::Load(d, sum + v * lanes), factor, total[v]), d, sum + v * lanes);
    hn::Store(most[v], d, maximum + v * lanes);
    hn::Store(factor, d, alpha + v * lanes);
  }
}

// Scores become weights 2^(score - maximum). Updates the running maximum and sum of each query and leaves in alpha what earlier
// sums must be multiplied with.
void softmax_tile(const Tile& t, float* scores, float* maximum, float* sum, float* alpha) {
  const int64_t lanes = lane_count();
  int64_t c = 0;
  // Several columns at once hide the latency of maximum and sum.
  for (; c + 2 * lanes <= t.stride; c += 2 * lanes) softmax_columns<2>(t, scores + c, maximum + c, sum + c, alpha + c);
  if (c < t.stride) softmax_columns<1>(t, scores + c, maximum + c, sum + c, alpha + c);
}

// The log-sum-exp of a block of queries; their sums become factors 1/sum, and 0 where no key was seen.
void finish_block(const Head& h, int64_t query, int64_t columns, const RowStatistic<float>& log_sum_exp, const float* maximum, float* sum) {
  const F32 d;
  const int64_t lanes = lane_count();
  for (int64_t c = 0; c < columns; c += lanes) {
    const VF total = hn::Load(d, sum + c);
    const auto none = hn::Eq(total, hn::Zero(d));
    if (log_sum_exp.data != nullptr) {
      float* to = log_sum_exp.at(h.batch, h.head, h.query_start + query) + c;
      // ln 2^m = m / kLog2E, in two parts so that a large maximum costs no more than one rounding.
      const VF most = hn::Load(d, maximum + c);
      const VF value = hn::MulAdd(most, hn::Set(d, kInverse), hn::MulAdd(most, hn::Set(d, kInverseLow), log(d, total)));
      const VF lse = hn::IfThenElse(none, hn::Set(d, -kInfinity), value);
      if (c + lanes <= columns) hn::StoreU(lse, d, to);
      else store_tail(lse, d, to, columns - c);
    }
    hn::Store(hn::IfThenZeroElse(none, hn::Div(hn::Set(d, 1.0f), total)), d, sum + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
// Tiles hold scores transposed, keys as rows and queries as lanes: the softmax is then vertical (no reduction across lanes), and
// statistics of a query (maximum, sum, log-sum-exp, δ) are vectors. Scores are kept in powers of two: q is packed times scale·log2(e).
#include "kernels/attention/attention.h"

#include <omp.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention/attention_plan.h"
#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cpp"
#include "hwy/foreach_target.h"
#include "kernels/attention/attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace gatun::attention;

// Calls of the micro-kernel in two products, roughly.
HWY_INLINE int64_t product_steps(int64_t queries, int64_t keys) {
  return (chunk_count(queries, kQueryBlock) * keys + chunk_count(keys, kKeyTile) * queries) / rows_for(kMaxVectors);
}

HWY_INLINE int64_t lane_count() { return static_cast<int64_t>(hn::Lanes(F32())); }
HWY_INLINE int64_t pad(int64_t n) { return round_up(n, lane_count()); }

// One tile of scores: keys [key, key+rows) of the head against the block of queries [query, query+columns).
struct Tile {
  int64_t key, rows, query, columns, stride;
};

// Cuts the keys behind the last that any query of the block sees. Zero rows or less: nothing to do.
HWY_INLINE int64_t visible_rows(const Head& h, int64_t key, int64_t rows, int64_t query, int64_t columns) {
  return std::min(rows, query + columns - 1 + h.diagonal + 1 - key);
}

struct Matrix {
  const float* data;
  int64_t stride;
};

// Rows as a factor of a product. What is used once is read where it lies, the rest is packed into scratch.
HWY_INLINE Matrix rows_of(const HeadView<const float>& view, const Head& h, int64_t start, int64_t rows, int64_t columns, float* scratch,
                          int64_t scratch_stride, bool in_place) {
  const float* data = view.at(h.batch, start, h.head);
  if (in_place) return {data, view.row_stride};
  pack_rows(data, view.row_stride, scratch, scratch_stride, rows, columns);
  return {scratch, scratch_stride};
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

// Scores become weights 2^(score - maximum). Updates the running maximum and sum of each query and leaves in alpha what earlier
// sums must be multiplied with.
void softmax_tile(const Tile& t, float* scores, float* maximum, float* sum, float* alpha) {
  const F32 d;
  for (int64_t c = 0; c < t.stride; c += lane_count()) {
    const VF before = hn::Load(d, maximum + c);
    VF most = before;
    for (int64_t r = 0; r < t.rows; ++r) most = hn::Max(most, hn::Load(d, scores + r * t.stride + c));
    // Only -inf so far: any finite shift keeps the weights 0.
    const VF shift = hn::IfThenZeroElse(hn::Eq(most, hn::Set(d, -kInfinity)), most);
    VF total = hn::Zero(d);
    for (int64_t r = 0; r < t.rows; ++r) {
      float* at = scores + r * t.stride + c;
      const VF weight = exp2(d, hn::Sub(hn::Load(d, at), shift));
      hn::Store(weight, d, at);
      total = hn::Add(total, weight);
    }
    const VF factor = exp2(d, hn::Sub(before, shift));
    hn::Store(hn::MulAdd(hn::Load(d, sum + c), factor, total), d, sum + c);
    hn::Store(most, d, maximum + c);
    hn::Store(factor, d, alpha + c);
  }
}

void scale_rows(float* rows, int64_t stride, int64_t count, const float* factors) {
  const F32 d;
  for (int64_t r = 0; r < count; ++r) {
    const VF factor = hn::Set(d, factors[r]);
    for (int64_t c = 0; c < stride; c += lane_count()) hn::Store(hn::Mul(hn::Load(d, rows + r * stride + c), factor), d, rows + r * stride + c);
  }
}

// Queries [begin, end) of one head, at most kChunk.
void forward_item(const Problem& p, const Head& h, int64_t begin, int64_t end, HeadView<float> out, RowStatistic<float> log_sum_exp,
                  const ForwardScratch& s, Prefetch& prefetch) {
  const int64_t depth = pad(p.depth);
  const int64_t block = even_part(end - begin, kQueryBlock, lane_count());
  const int64_t tile_rows = even_part(h.keys, kKeyTile, 1);
  const int64_t count = end - begin;
  std::fill_n(s.maximum, pad(count), -kInfinity);
  std::fill_n(s.sum, pad(count), 0.0f);
  bool started[kChunk / kAlign] = {};
  for (int64_t q = 0; q < count; q += block) {
    const int64_t columns = std::min(block, count - q);
    pack_transposed(p.q.at(h.batch, h.query_start + begin + q, h.head), p.q.row_stride, s.queries + q * p.depth, pad(columns), columns, p.depth,
                    p.scale * kLog2E);
  }
  for (int64_t key = 0; key < h.keys; key += tile_rows) {
    const int64_t rows = visible_rows(h, key, std::min(tile_rows, h.keys - key), end - 1, 1);
    if (rows <= 0) break;
    const Matrix keys = rows_of(p.k, h, h.key_start + key, rows, p.depth, s.keys, depth, count <= kQueryBlock);
    const Matrix values = rows_of(p.v, h, h.key_start + key, rows, p.depth, s.values, depth, count <= kQueryBlock && p.depth == depth);
    for (int64_t q = 0, index = 0; q < count; q += block, ++index) {
      const int64_t columns = std::min(block, count - q);
      const Tile t{key, visible_rows(h, key, rows, begin + q, columns), begin + q, columns, pad(columns)};
      if (t.rows <= 0) continue;
      product<false>(keys.data, keys.stride, s.queries + q * p.depth, t.stride, s.scores, t.stride, t.rows, t.stride, p.depth, false, prefetch);
      mask_scores(p, h, t, s.scores, s.bias);
      softmax_tile(t, s.scores, s.maximum + q, s.sum + q, s.alpha);
      if (started[index]) scale_rows(s.out + q * depth, depth, columns, s.alpha);
      product<true>(s.scores, t.stride, values.data, values.stride, s.out + q * depth, depth, columns, depth, t.rows, started[index],
                    prefetch);
      started[index] = true;
    }
  }
  const F32 d;
  const int64_t lanes = lane_count();
  for (int64_t c = 0; c < count; c += lanes) {
    const VF sum = hn::Load(d, s.sum + c);
    if (log_sum_exp.data != nullptr) {
      float* to = log_sum_exp.at(h.batch, h.head, h.query_start + begin) + c;
      // ln 2^m = m / kLog2E, in two parts so that a large maximum costs no more than one rounding.
      const VF most = hn::Load(d, s.maximum + c);
      const VF value = hn::MulAdd(most, hn::Set(d, kInverse), hn::MulAdd(most, hn::Set(d, kInverseLow), log(d, sum)));
      const VF lse = hn::IfThenElse(hn::Eq(sum, hn::Zero(d)), hn::Set(d, -kInfinity), value);
      if (c + lanes <= count) hn::StoreU(lse, d, to);
      else store_tail(lse, d, to, count - c);
    }
    hn::Store(hn::IfThenZeroElse(hn::Eq(sum, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), sum)), d, s.sum + c);
  }
  for (int64_t r = 0; r < count; ++r) {
    float* to = out.at(h.batch, h.query_start + begin + r, h.head);
    // A row that saw no key: its sums were never started, or are 0 times values that may not be numbers.
    if (s.sum[r] == 0.0f) std::fill_n(to, p.depth, 0.0f);
    else unpack_rows(s.out + r * depth, depth, to, 0, 1, p.depth, s.sum[r], false);
  }
}

void forward(int threads, const Problem& p, HeadView<float> out, RowStatistic<float> log_sum_exp, float* workspace) {
  const int64_t most = longest(p.query_offsets, p.batch, p.queries);
  const int64_t chunk = even_part(most, kChunk, kAlign);
  const int64_t chunks = chunk_count(most, chunk);
  const int64_t stride = ForwardScratch(nullptr, p).floats;
  const int64_t items = p.batch * p.heads * chunks;
#pragma omp parallel for num_threads(threads) schedule(dynamic, neighbours(items))
  for (int64_t item = 0; item < items; ++item) {
    const Head h = head_of(p, item / chunks / p.heads, item / chunks % p.heads);
    const int64_t begin = item % chunks * chunk;
    if (begin >= h.queries) continue;
    const ForwardScratch scratch(workspace + omp_get_thread_num() * stride, p);
    const int64_t end = std::min(begin + chunk, h.queries);
    Prefetch prefetch;
    prefetch.add(out, h, h.query_start + begin, end - begin);
    if (item + 1 < items) {
      const Head next = head_of(p, (item + 1) / chunks / p.heads, (item + 1) / chunks % p.heads);
      const int64_t next_begin = (item + 1) % chunks * chunk;
      prefetch.add(p.q, next, next.query_start + next_begin, std::min(chunk, next.queries - next_begin));
      prefetch.add(p.k, next, next.key_start, std::min(next.keys, kChunk));
      prefetch.add(p.v, next, next.key_start, std::min(next.keys, kChunk));
    }
    prefetch.spread(p.depth, product_steps(end - begin, h.keys));
    forward_item(p, h, begin, end, out, log_sum_exp, scratch, prefetch);
  }
}

// P and factor·dS of a tile, in place of the scores and of dout·vᵀ.
HWY_INLINE void gradient_tile(const Tile& t, float* HWY_RESTRICT scores, float* HWY_RESTRICT dscores, const BackwardScratch& s, float scale) {
  const F32 d;
  const VF factor = hn::Set(d, scale);
  for (int64_t c = 0; c < t.stride; c += lane_count()) {
    const VF shift = hn::Load(d, s.lse + c);
    const VF shift_low = hn::Load(d, s.lse_low + c);
    const VF mean = hn::Load(d, s.delta + c);
    for (int64_t r = 0; r < t.rows; ++r) {
      const int64_t at = r * t.stride + c;
      const VF weight = exp2(d, hn::Sub(hn::Sub(hn::Load(d, scores + at), shift), shift_low));
      hn::Store(weight, d, scores + at);
      hn::Store(hn::Mul(hn::Mul(weight, factor), hn::Sub(hn::Load(d, dscores + at), mean)), d, dscores + at);
    }
  }
}

void add_dbias(const BiasView<float>& dbias, const Head& h, const Tile& t, const float* dscores, float* scratch) {
  const int64_t stride = pad(t.rows);
  pack_transposed(dscores, t.stride, scratch, stride, t.rows, t.columns, 1.0f);
  for (int64_t q = 0; q < t.columns; ++q) {
    unpack_rows(scratch + q * stride, stride, dbias.at(h.batch, h.head, t.query + q) + t.key, 0, 1, t.rows, 1.0f, true);
  }
}

// Packs what a block of queries contributes as lanes, and its statistics.
void pack_block(const Problem& p, const Gradients& g, const Head& h, int64_t row, int64_t columns, const BackwardScratch& s) {
  const F32 d;
  const int64_t lanes = lane_count();
  pack_transposed(p.q.at(h.batch, row, h.head), p.q.row_stride, s.queries_t, pad(columns), columns, p.depth, p.scale * kLog2E);
  pack_transposed(g.dout.at(h.batch, row, h.head), g.dout.row_stride, s.dout_t, pad(columns), columns, p.depth, 1.0f);
  // δ is summed in the order of dout·vᵀ: with a single key their difference is exactly 0.
  pack_transposed(g.out.at(h.batch, row, h.head), g.out.row_stride, s.out_t, pad(columns), columns, p.depth, 1.0f);
  column_dots(s.dout_t, s.out_t, p.depth, pad(columns), s.delta);
  const float* from = g.log_sum_exp.at(h.batch, h.head, row);
  for (int64_t c = 0; c < columns; c += lanes) {
    const VF lse = c + lanes <= columns ? hn::LoadU(d, from + c) : load_tail(d, from + c, columns - c);
    const VF high = hn::Mul(lse, hn::Set(d, kLog2E));
    // The rounding of that product would be a relative error of every weight of the row.
    const VF low = hn::MulSub(lse, hn::Set(d, kLog2E), high);
    // A row that saw nothing gets weight 2^-inf = 0.
    hn::Store(hn::IfThenElse(hn::Eq(lse, hn::Set(d, -kInfinity)), hn::Set(d, kInfinity), high), d, s.lse + c);
    hn::Store(hn::IfThenElseZero(hn::Lt(hn::Abs(high), hn::Set(d, kInfinity)), low), d, s.lse_low + c);
  }
}

void backward_item(Pass pass, const Problem& p, const Gradients& g, const Head& h, const Range& range,
                   const BackwardScratch& s, Prefetch& prefetch) {
  const bool want_keys = pass == Pass::kAll || pass == Pass::kKeys;
  const bool want_queries = pass == Pass::kAll || pass == Pass::kQueries;
  const int64_t depth = pad(p.depth);
  const int64_t queries = range.query_end - range.query_begin;
  const int64_t block = even_part(queries, kQueryBlock, lane_count());
  const int64_t chunk = even_part(range.key_end - range.key_begin, kChunk, 1);
  // A short sequence is one tile: nothing is read or written twice, so nothing is packed.
  const bool single = pass == Pass::kAll && h.keys <= kKeyTile && queries > 0 && queries <= kQueryBlock && depth == p.depth;
  const float factor = pass == Pass::kBias ? 1.0f : p.scale;
  if (want_queries && range.key_begin >= range.key_end) {
    for (int64_t q = range.query_begin; q < range.query_end; ++q) std::fill_n(g.dq.at(h.batch, h.query_start + q, h.head), p.depth, 0.0f);
  }
  for (int64_t begin = range.key_begin; begin < range.key_end; begin += chunk) {
    const int64_t keys = std::min(chunk, range.key_end - begin);
    const int64_t tile_rows = even_part(keys, kKeyTile, 1);
    const Matrix k = rows_of(p.k, h, h.key_start + begin, keys, p.depth, s.keys, depth, single);
    const Matrix v = rows_of(p.v, h, h.key_start + begin, keys, p.depth, s.values, depth, single);
    float* dk = single ? g.dk.at(h.batch, h.key_start, h.head) : s.dkeys;
    float* dv = single ? g.dv.at(h.batch, h.key_start, h.head) : s.dvalues;
    const int64_t dk_stride = single ? g.dk.row_stride : depth, dv_stride = single ? g.dv.row_stride : depth;
    if (want_keys && !single) {
      std::fill_n(dk, keys * depth, 0.0f);
      std::fill_n(dv, keys * depth, 0.0f);
    }
    for (int64_t query = range.query_begin; query < range.query_end; query += block) {
      const int64_t row = h.query_start + query;
      const int64_t columns = std::min(block, range.query_end - query);
      const int64_t visible = visible_rows(h, begin, keys, query, columns);
      float* dq = single ? g.dq.at(h.batch, row, h.head) : s.dqueries;
      const int64_t dq_stride = single ? g.dq.row_stride : depth;
      Matrix q{}, dout{};
      if (visible > 0) {
        pack_block(p, g, h, row, columns, s);
        q = rows_of(p.q, h, row, columns, p.depth, s.queries, depth, single);
        dout = rows_of(g.dout, h, row, columns, p.depth, s.dout, depth, single);
      }
      for (int64_t key = 0; key < visible; key += tile_rows) {
        const Tile t{begin + key, std::min(tile_rows, visible - key), query, columns, pad(columns)};
        const float* tile_k = k.data + key * k.stride;
        product<false>(tile_k, k.stride, s.queries_t, t.stride, s.probabilities, t.stride, t.rows, t.stride, p.depth, false, prefetch);
        product<false>(v.data + key * v.stride, v.stride, s.dout_t, t.stride, s.dscores, t.stride, t.rows, t.stride, p.depth, false, prefetch);
        mask_scores(p, h, t, s.probabilities, s.bias);
        gradient_tile(t, s.probabilities, s.dscores, s, factor);
        if (want_keys) {
          product<false>(s.probabilities, t.stride, dout.data, dout.stride, dv + key * dv_stride, dv_stride, t.rows, depth, columns, !single,
                         prefetch);
          product<false>(s.dscores, t.stride, q.data, q.stride, dk + key * dk_stride, dk_stride, t.rows, depth, columns, !single, prefetch);
        }
        if (want_queries) product<true>(s.dscores, t.stride, tile_k, k.stride, dq, dq_stride, columns, depth, t.rows, key > 0, prefetch);
        if (pass == Pass::kBias) add_dbias(g.dbias, h, t, s.dscores, s.dbias);
      }
      if (want_queries && !single) {
        if (visible <= 0) std::fill_n(s.dqueries, columns * depth, 0.0f);
        unpack_rows(s.dqueries, depth, g.dq.at(h.batch, row, h.head), g.dq.row_stride, columns, p.depth, 1.0f, begin > range.key_begin);
      }
    }
    if (want_keys && !single) {
      unpack_rows(s.dkeys, depth, g.dk.at(h.batch, h.key_start + begin, h.head), g.dk.row_stride, keys, p.depth, 1.0f, false);
      unpack_rows(s.dvalues, depth, g.dv.at(h.batch, h.key_start + begin, h.head), g.dv.row_stride, keys, p.depth, 1.0f, false);
    }
  }
}

// Each owner (head, chunk of the dimension that `pass` owns) writes its part alone, so no order between threads matters.
void backward(int threads, Pass pass, const Problem& p, const Gradients& g, float* workspace) {
  const bool by_queries = pass == Pass::kQueries;
  const int64_t most = by_queries ? longest(p.query_offsets, p.batch, p.queries) : longest(p.key_offsets, p.batch, p.keys);
  const int64_t chunk = pass == Pass::kAll ? std::max<int64_t>(most, 1) : even_part(most, kChunk, kAlign);
  const int64_t chunks = pass == Pass::kAll ? 1 : chunk_count(most, chunk);
  const int64_t stride = BackwardScratch(nullptr, p, g.dbias.data != nullptr).floats;
  const int64_t items = p.batch * p.heads * chunks;
#pragma omp parallel for num_threads(threads) schedule(dynamic, neighbours(items))
  for (int64_t item = 0; item < items; ++item) {
    const Head h = head_of(p, item / chunks / p.heads, item / chunks % p.heads);
    const int64_t begin = item % chunks * chunk;
    const int64_t owned = by_queries ? h.queries : h.keys;
    if (pass != Pass::kAll && begin >= owned) continue;
    Range range{0, h.queries, 0, h.keys};
    if (pass == Pass::kQueries) range = {begin, std::min(begin + chunk, h.queries), 0, h.keys};
    if (pass == Pass::kKeys) range = {0, h.queries, begin, std::min(begin + chunk, h.keys)};
    const BackwardScratch scratch(workspace + omp_get_thread_num() * stride, p, g.dbias.data != nullptr);
    Prefetch prefetch;
    if (pass == Pass::kAll) {
      prefetch.add(g.dv, h, h.key_start, std::min(h.keys, kChunk));
      prefetch.add(g.dk, h, h.key_start, std::min(h.keys, kChunk));
      prefetch.add(g.dq, h, h.query_start, std::min(h.queries, kChunk));
      if (item + 1 < items) {
        const Head next = head_of(p, (item + 1) / p.heads, (item + 1) % p.heads);
        prefetch.add(p.k, next, next.key_start, std::min(next.keys, kChunk));
        prefetch.add(p.v, next, next.key_start, std::min(next.keys, kChunk));
        for (const auto* view : {&p.q, &g.dout, &g.out}) prefetch.add(*view, next, next.query_start, std::min(next.queries, kChunk));
      }
      prefetch.spread(p.depth, product_steps(h.queries, h.keys) * 5 / 2);
    }
    backward_item(pass, p, g, h, range, scratch, prefetch);
  }
}

// An owner is one slab of dbias and a chunk of its queries; it adds up everything the bias was broadcast to, in ascending order.
void backward_bias(int threads, const Problem& p, const Gradients& g, float* workspace) {
  const BiasView<float>& dbias = g.dbias;
  const int64_t chunk = dbias.queries == 1 ? p.queries : even_part(p.queries, kChunk, kAlign);
  const int64_t chunks = p.queries == 0 ? 1 : chunk_count(p.queries, chunk);
  const int64_t stride = BackwardScratch(nullptr, p, true).floats;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t item = 0; item < dbias.batches * dbias.heads * chunks; ++item) {
    const int64_t slab = item / chunks, batch = slab / dbias.heads, head = slab % dbias.heads;
    const int64_t begin = item % chunks * chunk;
    const int64_t end = std::min(begin + chunk, p.queries);
    for (int64_t q = begin; q < (dbias.queries == 1 ? begin + 1 : end); ++q) std::fill_n(dbias.at(batch, head, q), p.keys, 0.0f);
    const BackwardScratch scratch(workspace + omp_get_thread_num() * stride, p, true);
    Prefetch prefetch;
    for (int64_t b = dbias.batches == 1 ? 0 : batch; b < (dbias.batches == 1 ? p.batch : batch + 1); ++b) {
      for (int64_t n = dbias.heads == 1 ? 0 : head; n < (dbias.heads == 1 ? p.heads : head + 1); ++n) {
        backward_item(Pass::kBias, p, g, head_of(p, b, n), {begin, end, 0, p.keys}, scratch, prefetch);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

using namespace gatun::attention;

namespace {

// Rows in no sequence are written too: a result never depends on what the memory held before.
template <class F>
void outside(const int32_t* offsets, int64_t sequences, int64_t rows, F&& row) {
  if (offsets == nullptr) return;
  for (int64_t r = 0; r < offsets[0]; ++r) row(r);
  for (int64_t r = offsets[sequences]; r < rows; ++r) row(r);
}

void clear(const Problem& p, const HeadView<float>& view, const int32_t* offsets, int64_t rows) {
  outside(offsets, p.batch, rows, [&](int64_t r) {
    for (int64_t head = 0; head < p.heads; ++head) std::fill_n(view.at(0, r, head), p.depth, 0.0f);
  });
}

}  // namespace

template <>
size_t attention_forward_workspace(const Stream& stream, const Problem& problem) {
  return static_cast<size_t>(ForwardScratch(nullptr, problem).floats) * sizeof(float) * static_cast<size_t>(stream.threads());
}

template <>
void attention_forward(const Stream& stream, const Problem& problem, HeadView<float> out, RowStatistic<float> log_sum_exp,
                       void* workspace) {
  clear(problem, out, problem.query_offsets, problem.queries);
  outside(problem.query_offsets, problem.batch, problem.queries, [&](int64_t r) {
    for (int64_t head = 0; head < problem.heads && log_sum_exp.data != nullptr; ++head) *log_sum_exp.at(0, head, r) = -kInfinity;
  });
  GATUN_DISPATCH(forward)(stream.threads(), problem, out, log_sum_exp, static_cast<float*>(workspace));
}

template <>
size_t attention_backward_workspace(const Stream& stream, const Problem& problem, bool dbias) {
  return static_cast<size_t>(BackwardScratch(nullptr, problem, dbias).floats) * sizeof(float) * static_cast<size_t>(stream.threads());
}

template <>
void attention_backward(const Stream& stream, const Problem& problem, const Gradients& gradients, void* workspace) {
  float* scratch = static_cast<float*>(workspace);
  clear(problem, gradients.dq, problem.query_offsets, problem.queries);
  clear(problem, gradients.dk, problem.key_offsets, problem.keys);
  clear(problem, gradients.dv, problem.key_offsets, problem.keys);
  // A few long heads would leave threads idle: they are split, at the price of computing the scores twice. Only shapes decide.
  const bool split = problem.batch * problem.heads < kOnePassItems && longest(problem.key_offsets, problem.batch, problem.keys) > kChunk;
  if (split) {
    GATUN_DISPATCH(backward)(stream.threads(), Pass::kKeys, problem, gradients, scratch);
    GATUN_DISPATCH(backward)(stream.threads(), Pass::kQueries, problem, gradients, scratch);
  } else {
    GATUN_DISPATCH(backward)(stream.threads(), Pass::kAll, problem, gradients, scratch);
  }
  if (gradients.dbias.data != nullptr) GATUN_DISPATCH(backward_bias)(stream.threads(), problem, gradients, scratch);
}

}  // namespace gatun
#endif

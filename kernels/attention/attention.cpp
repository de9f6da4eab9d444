// SPDX-License-Identifier: Apache-2.0
// Tiles hold scores transposed, keys as rows and queries as lanes: the softmax is then vertical (no reduction across lanes), and
// statistics of a query (maximum, sum, log-sum-exp, δ) are vectors. Scores are kept in powers of two: q is packed times scale·log2(e).
#include "kernels/attention/attention.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

#include "kernels/attention/attention_plan.h"
#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cpp"
#include "hwy/foreach_target.h"
#include "kernels/attention/attention_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace gatun::attention;

// Queries [begin, end) of one head, at most kChunk.
void forward_item(const Problem& p, const Head& h, int64_t begin, int64_t end, HeadView<float> out, RowStatistic<float> log_sum_exp,
                  const ForwardScratch& s, Prefetch& prefetch) {
  const int64_t depth = pad(p.depth);
  const int64_t count = end - begin;
  const Blocks blocks(count);
  const int64_t tile_rows = even_part(h.keys, kKeyTile, 1);
  std::fill_n(s.maximum, pad(count), -kInfinity);
  std::fill_n(s.sum, pad(count), 0.0f);
  bool started[kChunk / kQueryBlock + 1] = {};
  const Matrix queries{p.q.at(h.batch, h.query_start + begin, h.head), p.q.row_stride};
  const int64_t lanes_end = count - dotted(count);
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t start = blocks.start(i);
    pack_transposed(queries.data + start * queries.stride, queries.stride, s.queries + start * p.depth, blocks.lanes(i),
                    std::min(blocks.lanes(i), count - start), p.depth, p.scale * kLog2E);
  }
  pack_dotted(queries, lanes_end, count, p.depth, p.scale * kLog2E, s.dotted, depth);
  const bool direct = depth == p.depth;
  for (int64_t key = 0; key < h.keys; key += tile_rows) {
    const int64_t rows = visible_rows(h, key, std::min(tile_rows, h.keys - key), end - 1, 1);
    if (rows <= 0) break;
    const Matrix keys = rows_of(p.k, h, h.key_start + key, rows, p.depth, s.keys, blocks.count == 1);
    const Matrix values = rows_of(p.v, h, h.key_start + key, rows, p.depth, s.values, count == 1);
    for (int64_t i = 0; i < blocks.count; ++i) {
      const int64_t q = blocks.start(i), columns = blocks.start(i + 1) - q;
      const Tile t{key, visible_rows(h, key, rows, begin + q, columns), begin + q, columns, blocks.lanes(i), pad(columns)};
      if (t.rows <= 0) continue;
      tile_product(keys, s.queries + q * p.depth, s.dotted, t, p.depth, s.scores, prefetch);
      mask_scores(p, h, t, s.scores, s.bias);
      softmax_tile(t, s.scores, s.maximum + q, s.sum + q, s.alpha);
      float* sums = s.out + q * depth;
      Product weighted{s.scores, t.stride, values.data, values.stride, sums, depth, t.rows};
      if (started[i]) {
        weighted.from = sums;
        weighted.from_stride = depth;
        weighted.from_factors = s.alpha;
      }
      started[i] = true;
      if (key + tile_rows >= h.keys || visible_rows(h, key + tile_rows, tile_rows, begin + q, columns) <= 0) {
        finish_block(h, begin + q, columns, log_sum_exp, s.maximum + q, s.sum + q);
        weighted.factors = s.sum + q;
        if (direct) {
          weighted.c = out.at(h.batch, h.query_start + begin + q, h.head);
          weighted.ldc = out.row_stride;
        }
      }
      product<true>(std::move(weighted), columns, depth, prefetch);
    }
  }
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t q = blocks.start(i), columns = blocks.start(i + 1) - q;
    if (!started[i]) finish_block(h, begin + q, columns, log_sum_exp, s.maximum + q, s.sum + q);
    for (int64_t r = q; r < q + columns; ++r) {
      float* to = out.at(h.batch, h.query_start + begin + r, h.head);
      // A row that saw no key: its sums were never started, or are 0 times values that may not be numbers.
      if (s.sum[r] == 0.0f) std::fill_n(to, p.depth, 0.0f);
      else if (!direct) unpack_rows(s.out + r * depth, depth, to, 0, 1, p.depth, 1.0f, false);
    }
  }
}

void forward(int threads, const Problem& p, HeadView<float> out, RowStatistic<float> log_sum_exp, float* workspace) {
  const int64_t most = longest(p.query_offsets, p.batch, p.queries);
  // Bits do not depend on where a head is cut, so few heads may be cut finer for the threads' sake. Causal heads are cut by their shape
  // alone: 0 times a value that is not a number reaches a query that does not see it where they share a block with one that does.
  const int64_t limit = p.batch * p.heads * chunk_count(most, kChunk) < 8 * (p.causal ? kCausalThreads : threads) ? kQueryBlock : kChunk;
  const int64_t chunks = chunk_count(most, limit);
  const int64_t stride = ForwardScratch(nullptr, p).floats;
  const int64_t items = p.batch * p.heads * chunks;
  std::atomic<int64_t> claimed{0};
#pragma omp parallel num_threads(threads)
  for (Items at(claimed, items, chunks == 1 ? neighbours(p, items) : 1); at.item < items; at.advance()) {
    const Head h = head_of(p, at.item / chunks / p.heads, at.item / chunks % p.heads);
    const int64_t chunk = even_part(h.queries, limit, kAlign);
    const int64_t begin = at.item % chunks * chunk;
    if (begin >= h.queries) continue;
    const ForwardScratch scratch(workspace + omp_get_thread_num() * stride, p);
    const int64_t end = std::min(begin + chunk, h.queries);
    Prefetch prefetch;
    prefetch.add(out, h, h.query_start + begin, end - begin);
    if (at.next < items) {
      const Head next = head_of(p, at.next / chunks / p.heads, at.next / chunks % p.heads);
      const int64_t next_chunk = even_part(next.queries, limit, kAlign), next_begin = at.next % chunks * next_chunk;
      prefetch.add(p.q, next, next.query_start + next_begin, std::min(next_chunk, next.queries - next_begin));
      prefetch.add(p.k, next, next.key_start, std::min(next.keys, kChunk));
      prefetch.add(p.v, next, next.key_start, std::min(next.keys, kChunk));
    }
    prefetch.spread(p.depth, product_blocks(end - begin, h.keys, p.depth, 1, 1));
    forward_item(p, h, begin, end, out, log_sum_exp, scratch, prefetch);
  }
}

// P and dS of a tile, in place of the scores and of dout·vᵀ; the latter and δ carry the scale. A tile that has all keys needs no `out`:
// its δ is the mean of dout·vᵀ with P for weights. The sum of P is near 1 as log_sum_exp is rounded; not divided by it, δ would miss what it cancels.
template <bool kAllKeys>
HWY_INLINE void gradient_tile(const Tile& t, float* HWY_RESTRICT scores, float* HWY_RESTRICT dscores, const BackwardScratch& s) {
  const F32 d;
  for (int64_t c = 0; c < t.stride; c += lane_count()) {
    const VF shift = hn::Load(d, s.lse + c);
    const VF shift_low = hn::Load(d, s.lse_low + c);
    VF mean = kAllKeys ? hn::Zero(d) : hn::Load(d, s.delta + c);
    VF total = hn::Zero(d);
    for (int64_t r = 0; r < t.rows; ++r) {
      const int64_t at = r * t.stride + c;
      const VF weight = exp2(d, hn::Sub(hn::Sub(hn::Load(d, scores + at), shift), shift_low));
      hn::Store(weight, d, scores + at);
      if (kAllKeys) {
        // A key without weight may hold anything.
        mean = hn::MulAdd(weight, hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Load(d, dscores + at)), mean);
        total = hn::Add(total, weight);
      } else {
        hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, dscores + at), mean)), d, dscores + at);
      }
    }
    if (kAllKeys) mean = hn::IfThenZeroElse(hn::Eq(total, hn::Zero(d)), hn::Div(mean, total));
    for (int64_t r = 0; kAllKeys && r < t.rows; ++r) {
      const int64_t at = r * t.stride + c;
      hn::Store(hn::Mul(hn::Load(d, scores + at), hn::Sub(hn::Load(d, dscores + at), mean)), d, dscores + at);
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

// Packs what a block of queries contributes as columns, times what the scores and dout·vᵀ are multiplied with, and its statistics.
void pack_block(const Problem& p, const Gradients& g, const Head& h, int64_t row, const Tile& t, const Matrix& q, const Matrix& dout, float factor,
                bool all_keys, const BackwardScratch& s) {
  const F32 d;
  const int64_t lanes = lane_count();
  const int64_t whole = std::min(t.lanes, t.columns);
  pack_transposed(q.data, q.stride, s.queries_t, t.lanes, whole, p.depth, p.scale * kLog2E);
  pack_transposed(dout.data, dout.stride, s.dout_t, t.lanes, whole, p.depth, factor);
  pack_dotted(q, whole, t.columns, p.depth, p.scale * kLog2E, s.dotted_queries, pad(p.depth));
  pack_dotted(dout, whole, t.columns, p.depth, factor, s.dotted_dout, pad(p.depth));
  if (!all_keys) row_dots(dout.data, dout.stride, g.out.at(h.batch, row, h.head), g.out.row_stride, t.columns, p.depth, factor, s.delta);
  const float* from = g.log_sum_exp.at(h.batch, h.head, row);
  for (int64_t c = 0; c < t.columns; c += lanes) {
    const VF lse = c + lanes <= t.columns ? hn::LoadU(d, from + c) : load_tail(d, from + c, t.columns - c);
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
  const bool direct = depth == p.depth;
  const Blocks blocks(range.query_end - range.query_begin);
  const int64_t chunk = even_part(range.key_end - range.key_begin, kChunk, 1);
  const float factor = pass == Pass::kBias ? 1.0f : p.scale;
  const bool all_keys = one_tile(h) && range.key_begin == 0 && range.key_end == h.keys;
  if (want_queries && range.key_begin >= range.key_end) {
    for (int64_t q = range.query_begin; q < range.query_end; ++q) std::fill_n(g.dq.at(h.batch, h.query_start + q, h.head), p.depth, 0.0f);
  }
  for (int64_t begin = range.key_begin; begin < range.key_end; begin += chunk) {
    const int64_t keys = std::min(chunk, range.key_end - begin);
    const int64_t tile_rows = even_part(keys, kKeyTile, 1);
    const Matrix k = rows_of(p.k, h, h.key_start + begin, keys, p.depth, s.keys, false);
    const Matrix v = rows_of(p.v, h, h.key_start + begin, keys, p.depth, s.values, blocks.count == 1);
    // Every block of a problem that is not causal adds to all keys: the first need not find zeros, the last writes the result.
    const bool fill = want_keys && (p.causal || blocks.count == 0);
    if (fill) {
      std::fill_n(s.dkeys, keys * depth, 0.0f);
      std::fill_n(s.dvalues, keys * depth, 0.0f);
    }
    for (int64_t i = 0; i < blocks.count; ++i) {
      const int64_t query = range.query_begin + blocks.start(i);
      const int64_t row = h.query_start + query;
      const int64_t columns = range.query_begin + blocks.start(i + 1) - query;
      const int64_t visible = visible_rows(h, begin, keys, query, columns);
      const bool started = begin > range.key_begin;
      float* const dq_row = g.dq.at(h.batch, row, h.head);
      if (visible <= 0) {
        for (int64_t r = 0; r < columns && want_queries && !started; ++r) std::fill_n(dq_row + r * g.dq.row_stride, p.depth, 0.0f);
        continue;
      }
      const Matrix q = rows_of(p.q, h, row, columns, p.depth, s.queries, !want_keys);
      const Matrix dout = rows_of(g.dout, h, row, columns, p.depth, s.dout, !want_keys);
      pack_block(p, g, h, row, {0, 0, query, columns, blocks.lanes(i), pad(columns)}, q, dout, factor, all_keys, s);
      for (int64_t key = 0; key < visible; key += tile_rows) {
        const Tile t{begin + key, std::min(tile_rows, visible - key), query, columns, blocks.lanes(i), pad(columns)};
        const Matrix tile_k{k.data + key * k.stride, k.stride}, tile_v{v.data + key * v.stride, v.stride};
        tile_product(tile_k, s.queries_t, s.dotted_queries, t, p.depth, s.probabilities, prefetch);
        tile_product(tile_v, s.dout_t, s.dotted_dout, t, p.depth, s.dscores, prefetch);
        mask_scores(p, h, t, s.probabilities, s.bias);
        if (all_keys) gradient_tile<true>(t, s.probabilities, s.dscores, s);
        else gradient_tile<false>(t, s.probabilities, s.dscores, s);
        if (want_keys) {
          const auto add = [&](const float* weights, const Matrix& rows, float* sums, const HeadView<float>& result) {
            Product weighted{weights, t.stride, rows.data, rows.stride, sums + key * depth, depth, columns};
            if (i > 0 || fill) {
              weighted.from = weighted.c;
              weighted.from_stride = depth;
            }
            if (i + 1 == blocks.count && direct) {
              weighted.c = result.at(h.batch, h.key_start + t.key, h.head);
              weighted.ldc = result.row_stride;
            }
            product<false>(std::move(weighted), t.rows, depth, prefetch);
          };
          add(s.probabilities, dout, s.dvalues, g.dv);
          add(s.dscores, q, s.dkeys, g.dk);
        }
        if (want_queries) {
          Product weighted{s.dscores, t.stride, tile_k.data, tile_k.stride, direct ? dq_row : s.dqueries, direct ? g.dq.row_stride : depth, t.rows};
          if (key > 0 || (started && direct)) {
            weighted.from = weighted.c;
            weighted.from_stride = weighted.ldc;
          }
          product<true>(std::move(weighted), columns, depth, prefetch);
        }
        if (pass == Pass::kBias) add_dbias(g.dbias, h, t, s.dscores, s.dbias);
      }
      if (want_queries && !direct) unpack_rows(s.dqueries, depth, dq_row, g.dq.row_stride, columns, p.depth, 1.0f, started);
    }
    if (want_keys && (!direct || blocks.count == 0)) {
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
  std::atomic<int64_t> claimed{0};
#pragma omp parallel num_threads(threads)
  for (Items at(claimed, items, chunks == 1 ? neighbours(p, items) : 1); at.item < items; at.advance()) {
    const Head h = head_of(p, at.item / chunks / p.heads, at.item / chunks % p.heads);
    const int64_t begin = at.item % chunks * chunk;
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
      if (at.next < items) {
        const Head next = head_of(p, at.next / p.heads, at.next % p.heads);
        prefetch.add(p.k, next, next.key_start, std::min(next.keys, kChunk));
        prefetch.add(p.v, next, next.key_start, std::min(next.keys, kChunk));
        prefetch.add(p.q, next, next.query_start, std::min(next.queries, kChunk));
        prefetch.add(g.dout, next, next.query_start, std::min(next.queries, kChunk));
        if (!one_tile(next)) prefetch.add(g.out, next, next.query_start, std::min(next.queries, kChunk));
      }
      prefetch.spread(p.depth, product_blocks(h.queries, h.keys, p.depth, 2, 3));
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

// SPDX-License-Identifier: Apache-2.0
// With two operands each work item owns a chunk of one side and compares it with all of the other. In the self form scores are symmetric:
// each pair of chunks is visited once, and its tiles count for both.
#include "kernels/info_nce/info_nce.h"

#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/info_nce/info_nce_plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/info_nce/info_nce.cpp"
#include "hwy/foreach_target.h"
#include "kernels/info_nce/info_nce_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {
namespace {

struct Range {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

HWY_INLINE Range chunk_range(int64_t chunk, int64_t lanes, int64_t rows) { return {chunk * lanes, std::min((chunk + 1) * lanes, rows)}; }

// Calls tile(t) for all tiles of rows against lanes.
template <class F>
HWY_INLINE void for_tiles(const Range& lanes, const Range& rows, F&& tile) {
  const int64_t block = even_part(lanes.count(), kLanes, vector_lanes());
  const int64_t height = even_part(rows.count(), kRows, kAlign);
  for (int64_t row = rows.begin; row < rows.end; row += height) {
    for (int64_t lane = lanes.begin; lane < lanes.end; lane += block) {
      const int64_t columns = std::min(block, lanes.end - lane);
      tile(ScoreTile{row, std::min(height, rows.end - row), lane, columns, whole_vectors(columns)});
    }
  }
}

void pack(const InfoNceProblem& p, const InfoNceRows<const float>& rows, const int32_t* groups, const Range& range, const Lanes& out) {
  pack_groups(groups + range.begin, range.count(), out.groups);
  pack_lanes(p, rows, range.begin, range.count(), even_part(range.count(), kLanes, vector_lanes()), out.data);
}

// What the chunk `lanes` of the queries, packed, sees of `rows` of the keys.
void add_to_lanes(const InfoNceProblem& p, const Range& lanes, const Lanes& packed, const Range& rows, const TileScratch& s,
                  const Statistics& statistics) {
  const float scale = 1 / p.temperature;
  for_tiles(lanes, rows, [&](const ScoreTile& t) HWY_ATTR {
    const int64_t at = t.lane - lanes.begin;
    product_tile(p, t, p.keys, packed.data + at * p.depth, s.products);
    if (p.self && t.diagonal()) {
      add_lane_powers<true>(t, scale, s.products, statistics, t.lane);
      add_positives<true, false>(t, scale, packed.groups + at, p.key_groups + t.row, s, statistics, t.lane);
    } else {
      add_lane_powers<false>(t, scale, s.products, statistics, t.lane);
      add_positives<false, false>(t, scale, packed.groups + at, p.key_groups + t.row, s, statistics, t.lane);
    }
  });
}

// What two different chunks of the self form see of each other.
void add_to_both(const InfoNceProblem& p, const Range& lanes, const Lanes& packed, const Range& rows, const TileScratch& s,
                 const Statistics& statistics) {
  const float scale = 1 / p.temperature;
  for_tiles(lanes, rows, [&](const ScoreTile& t) HWY_ATTR {
    const int64_t at = t.lane - lanes.begin;
    product_tile(p, t, p.keys, packed.data + at * p.depth, s.products);
    add_both_powers(t, scale, s, statistics);
    add_positives<false, true>(t, scale, packed.groups + at, p.key_groups + t.row, s, statistics, t.lane);
  });
}

void finish_range(const Range& r, const Statistics& statistics, const InfoNceResult& result) {
  finish(statistics, r.begin, r.count());
  std::copy_n(statistics.sum + r.begin, r.count(), result.loss + r.begin);
  if (result.lse != nullptr) std::copy_n(statistics.maximum + r.begin, r.count(), result.lse + r.begin);
  if (result.positives != nullptr) std::copy_n(statistics.counts + r.begin, r.count(), result.positives + r.begin);
}

// Rows as a factor of a product: where they lie if they are whole vectors, else packed into scratch.
HWY_INLINE InfoNceRows<const float> factor_rows(const InfoNceProblem& p, const InfoNceRows<const float>& rows, const Range& range,
                                                float* scratch) {
  if (whole_rows(p)) return {rows.at(range.begin), range.count(), rows.stride};
  const int64_t stride = padded_depth(p);
  // The padding of `stride` beyond whole vectors is never read.
  pack_rows(rows.at(range.begin), rows.stride, scratch, stride, range.count(), p.depth);
  return {scratch, range.count(), stride};
}

// One side of the pairs.
struct Side {
  InfoNceRows<const float> rows;
  const int32_t* groups;
};

// The gradient of a chunk of one side, from all rows of the other.
template <bool kLaneQueries>
void gradient_of_lanes(const InfoNceProblem& p, const Side& side, const Side& other, const Range& lanes, const QueryTerms& terms,
                       const InfoNceRows<float>& gradient, const BackwardScratch& s) {
  const int64_t depth = whole_vectors(p.depth), stride = padded_depth(p);
  pack(p, side.rows, side.groups, lanes, s.lanes);
  std::fill_n(s.gradient, lanes.count() * stride, 0.0f);
  attention::Prefetch none;
  InfoNceRows<const float> factor;
  for_tiles(lanes, {0, other.rows.rows}, [&](const ScoreTile& t) HWY_ATTR {
    const int64_t at = t.lane - lanes.begin;
    if (at == 0) factor = factor_rows(p, other.rows, {t.row, t.row + t.rows}, s.rows);
    product_tile(p, t, other.rows, s.lanes.data + at * p.depth, s.weights);
    gradient_tile<kLaneQueries, !kLaneQueries, false>(t, 1 / p.temperature, s.weights, terms, s.lanes.groups + at, other.groups + t.row);
    product<true>(s.weights, t.stride, factor.data, factor.stride, s.gradient + at * stride, stride, t.columns, depth, t.rows, true, none);
  });
  unpack_rows(s.gradient, stride, gradient.at(lanes.begin), gradient.stride, lanes.count(), p.depth, 1.0f, false);
}

// Adds what two chunks of the self form give to each other's gradients; a chunk with itself gives to its lanes only, which are all.
template <bool kDiagonal>
void gradient_of_both(const InfoNceProblem& p, const Range& lanes, const Lanes& packed, const Range& rows, const QueryTerms& terms,
                      const InfoNceRows<float>& sums, const BackwardScratch& s) {
  const int64_t depth = whole_vectors(p.depth);
  const InfoNceRows<const float> lane_factor = factor_rows(p, p.queries, lanes, s.lane_rows);
  attention::Prefetch none;
  InfoNceRows<const float> row_factor;
  for_tiles(lanes, rows, [&](const ScoreTile& t) HWY_ATTR {
    const int64_t at = t.lane - lanes.begin;
    if (at == 0) row_factor = factor_rows(p, p.queries, {t.row, t.row + t.rows}, s.rows);
    product_tile(p, t, p.queries, packed.data + at * p.depth, s.weights);
    gradient_tile<true, true, kDiagonal>(t, 1 / p.temperature, s.weights, terms, packed.groups + at, p.query_groups + t.row);
    product<true>(s.weights, t.stride, row_factor.data, row_factor.stride, sums.at(t.lane), sums.stride, t.columns, depth, t.rows, true, none);
    if (!kDiagonal) {
      product<false>(s.weights, t.stride, lane_factor.at(at), lane_factor.stride, sums.at(t.row), sums.stride, t.rows, depth, t.columns, true,
                     none);
    }
  });
}

template <bool kLaneQueries>
void backward_pass(int threads, const InfoNceProblem& p, const Side& side, const Side& other, const QueryTerms& terms,
                   const InfoNceRows<float>& gradient, Carve scratch) {
  const int64_t chunk = chunk_lanes(side.rows.rows, p.depth), chunks = chunk_count(side.rows.rows, chunk);
  const int64_t stride = BackwardScratch({nullptr}, p).floats;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t c = 0; c < chunks; ++c) {
    const BackwardScratch s({scratch.take(0) + omp_get_thread_num() * stride}, p);
    gradient_of_lanes<kLaneQueries>(p, side, other, chunk_range(c, chunk, side.rows.rows), terms, gradient, s);
  }
}

}  // namespace

void info_nce_forward_cpu(int threads, const InfoNceProblem& p, const InfoNceResult& result, const ForwardState& state, float* scratch) {
  const int64_t rows = p.queries.rows;
  const int64_t chunk = chunk_lanes(rows, p.depth), chunks = chunk_count(rows, chunk);
  const int64_t stride = ForwardScratch({nullptr}, p).floats;
  const Statistics& statistics = state.statistics;
  // What a chunk of queries sees of the keys; in the self form of itself.
  const auto own = [&](const Range& range, const Lanes& packed, const TileScratch& s) HWY_ATTR {
    std::fill_n(statistics.maximum + range.begin, whole_vectors(range.count()), -kInfinity);
    for (float* zeros : {statistics.sum, statistics.positive}) std::fill_n(zeros + range.begin, whole_vectors(range.count()), 0.0f);
    std::fill_n(statistics.counts + range.begin, whole_vectors(range.count()), 0);
    pack(p, p.queries, p.query_groups, range, packed);
    add_to_lanes(p, range, packed, p.self ? range : Range{0, p.keys.rows}, s, statistics);
  };
  if (!p.self) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t c = 0; c < chunks; ++c) {
      const ForwardScratch s({scratch + omp_get_thread_num() * stride}, p);
      const Range range = chunk_range(c, chunk, rows);
      own(range, s.lanes, s.tile);
      finish_range(range, statistics, result);
    }
    return;
  }
  Play play({chunks}, state.progress);
#pragma omp parallel num_threads(threads)
  {
    const ForwardScratch s({scratch + omp_get_thread_num() * stride}, p);
    const auto range = [&](int64_t c) HWY_ATTR { return chunk_range(c, chunk, rows); };
    const auto packed = [&](int64_t c) HWY_ATTR { return state.lanes.from(c * chunk, p.depth); };
    play.run([&](int64_t c) HWY_ATTR { own(range(c), packed(c), s.tile); },
             [&](int64_t a, int64_t b) HWY_ATTR { add_to_both(p, range(a), packed(a), range(b), s.tile, statistics); },
             [&](int64_t c) HWY_ATTR { finish_range(range(c), statistics, result); });
  }
}

void info_nce_backward_cpu(int threads, const InfoNceProblem& p, const InfoNceGradients& g, const BackwardState& state, float* scratch) {
  if (!p.self) {
    const Side queries{p.queries, p.query_groups}, keys{p.keys, p.key_groups};
    backward_pass<true>(threads, p, queries, keys, state.terms, g.dq, {scratch});
    if (g.dk.data != nullptr) backward_pass<false>(threads, p, keys, queries, state.terms, g.dk, {scratch});
    return;
  }
  const int64_t rows = p.queries.rows;
  const int64_t chunk = chunk_lanes(rows, p.depth), chunks = chunk_count(rows, chunk);
  const int64_t stride = BackwardScratch({nullptr}, p).floats;
  const InfoNceRows<float> sum = whole_rows(p) ? g.dq : InfoNceRows<float>{state.sums, rows, padded_depth(p)};
  Play play({chunks}, state.progress);
#pragma omp parallel num_threads(threads)
  {
    const BackwardScratch s({scratch + omp_get_thread_num() * stride}, p);
    const auto range = [&](int64_t c) HWY_ATTR { return chunk_range(c, chunk, rows); };
    const auto packed = [&](int64_t c) HWY_ATTR { return state.lanes.from(c * chunk, p.depth); };
    play.run(
        [&](int64_t c) HWY_ATTR {
          for (int64_t r = range(c).begin; r < range(c).end; ++r) std::fill_n(sum.at(r), padded_depth(p), 0.0f);
          pack(p, p.queries, p.query_groups, range(c), packed(c));
          gradient_of_both<true>(p, range(c), packed(c), range(c), state.terms, sum, s);
        },
        [&](int64_t a, int64_t b) HWY_ATTR { gradient_of_both<false>(p, range(a), packed(a), range(b), state.terms, sum, s); },
        [&](int64_t c) HWY_ATTR {
          for (int64_t r = range(c).begin; !whole_rows(p) && r < range(c).end; ++r) std::copy_n(sum.at(r), p.depth, g.dq.at(r));
        });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

using namespace gatun::info_nce;

namespace {

size_t workspace_bytes(const Carve& shared, int64_t floats_per_thread, const Stream& stream) {
  return static_cast<size_t>(shared.used + floats_per_thread * stream.threads()) * sizeof(float);
}

}  // namespace

template <class T>
size_t info_nce_forward_workspace(const Stream& stream, const InfoNceProblemOf<T>& problem) {
  Carve shared{nullptr};
  const ForwardState state(shared, problem);
  return workspace_bytes(shared, ForwardScratch({nullptr}, problem).floats, stream);
}

template <class T>
void info_nce_forward(const Stream& stream, const InfoNceProblemOf<T>& problem, const InfoNceResult& result, void* workspace) {
  Carve shared{static_cast<float*>(workspace)};
  const ForwardState state(shared, problem);
  GATUN_DISPATCH(info_nce_forward_cpu)(stream.threads(), problem, result, state, shared.take(0));
}

template <class T>
size_t info_nce_backward_workspace(const Stream& stream, const InfoNceProblemOf<T>& problem) {
  Carve shared{nullptr};
  const BackwardState state(shared, problem);
  return workspace_bytes(shared, BackwardScratch({nullptr}, problem).floats, stream);
}

template <class T>
void info_nce_backward(const Stream& stream, const InfoNceProblemOf<T>& problem, const InfoNceGradientsOf<T>& gradients, void* workspace) {
  Carve shared{static_cast<float*>(workspace)};
  const BackwardState state(shared, problem);
  const QueryTerms& terms = state.terms;
  for (int64_t i = 0; i < problem.queries.rows; ++i) {
    const float lse = gradients.lse[i];
    // A query that was compared with nothing gets weights e^-inf = 0.
    terms.lse[i] = lse == -kInfinity ? kInfinity : lse;
    const int32_t positives = gradients.positives[i];
    terms.factor[i] = positives > 0 ? gradients.dloss[i * gradients.dloss_stride] / problem.temperature : 0.0f;
    terms.share[i] = positives > 0 ? terms.factor[i] / static_cast<float>(positives) : 0.0f;
  }
  GATUN_DISPATCH(info_nce_backward_cpu)(stream.threads(), problem, gradients, state, shared.take(0));
}

#define GATUN_INSTANTIATE(T)                                                                               \
  template size_t info_nce_forward_workspace(const Stream&, const InfoNceProblemOf<T>&);                   \
  template void info_nce_forward(const Stream&, const InfoNceProblemOf<T>&, const InfoNceResult&, void*);  \
  template size_t info_nce_backward_workspace(const Stream&, const InfoNceProblemOf<T>&);                  \
  template void info_nce_backward(const Stream&, const InfoNceProblemOf<T>&, const InfoNceGradientsOf<T>&, void*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun
#endif

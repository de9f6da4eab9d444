// SPDX-License-Identifier: Apache-2.0
// Tiles hold scores transposed, as in attention: the rows whose result a work item owns are lanes, what they are compared with are rows,
// so that statistics of an owned row are vertical. Products are divided by the temperature afterwards: the score of a pair is then the
// same bits whichever of the two is a lane, and in the backward pass as in the forward pass, so that what cancels does so exactly.
#include "kernels/info_nce/info_nce.h"

#include <omp.h>

#include <algorithm>

#include "kernels/common/isa.h"
#include "kernels/info_nce/info_nce_plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/info_nce/info_nce.cpp"
#include "hwy/foreach_target.h"
#include "kernels/attention/attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace gatun::info_nce;

namespace {

using VI = hn::Vec<I32>;

constexpr int32_t kNoGroup = -1;  // of a lane; a row without a group gets another number, so that the two never meet

HWY_INLINE int64_t vector_lanes() { return static_cast<int64_t>(hn::Lanes(F32())); }
HWY_INLINE int64_t whole_vectors(int64_t n) { return round_up(n, vector_lanes()); }
HWY_INLINE int32_t row_group(int32_t group) { return group < 0 ? kNoGroup - 1 : group; }

// One tile of scores: rows [row, row + rows) against the lanes [lane, lane + columns).
struct ScoreTile {
  int64_t row, rows, lane, columns, stride;
  // Whether it holds pairs of a row with itself, in the self form.
  bool diagonal() const { return row < lane + columns && lane < row + rows; }
  // The lane, counted from the tile's first, that is row r itself.
  int32_t self(int64_t r) const { return static_cast<int32_t>(std::clamp<int64_t>(row + r - lane, -1, stride)); }
};

void pack_lanes(const InfoNceProblem& p, const InfoNceRows<const float>& from, int64_t begin, int64_t count, int64_t block, float* out) {
  for (int64_t l = 0; l < count; l += block) {
    const int64_t columns = std::min(block, count - l);
    pack_transposed(from.at(begin + l), from.stride, out + l * p.depth, whole_vectors(columns), columns, p.depth, 1.0f);
  }
}

void pack_groups(const int32_t* groups, int64_t count, int32_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = groups[i] < 0 ? kNoGroup : groups[i];
  std::fill_n(out + count, whole_vectors(count) - count, kNoGroup);
}

// e^x for x <= 0 and a little above.
HWY_INLINE VF power(F32 d, VF x) { return exp2(d, hn::Mul(x, hn::Set(d, kLog2E))); }

void product_tile(const InfoNceProblem& p, const ScoreTile& t, const InfoNceRows<const float>& rows, const float* lanes, float* scores) {
  attention::Prefetch none;
  product<false>(rows.at(t.row), rows.stride, lanes, t.stride, scores, t.stride, t.rows, t.stride, p.depth, false, none);
}

// Adds a tile to the running maximum, sum of powers, sum of positive scores and number of positives of each lane.
template <bool kDiagonal>
void add_scores(const ScoreTile& t, float scale, const float* HWY_RESTRICT products, const int32_t* HWY_RESTRICT row_groups,
                const ForwardScratch& s, int64_t first) {
  const F32 d;
  const I32 di;
  const VF lowest = hn::Set(d, -kInfinity), factor = hn::Set(d, scale);
  for (int64_t c = 0; c < t.stride; c += vector_lanes()) {
    const VI index = hn::Iota(di, static_cast<int32_t>(c));
    const VI group = hn::LoadU(di, s.groups + first + c);
    const VF before = hn::LoadU(d, s.maximum + first + c);
    VF largest = lowest;
    for (int64_t r = 0; r < t.rows; ++r) {
      VF value = hn::LoadU(d, products + r * t.stride + c);
      if constexpr (kDiagonal) value = hn::IfThenElse(hn::RebindMask(d, hn::Eq(index, hn::Set(di, t.self(r)))), lowest, value);
      largest = hn::Max(largest, value);
    }
    const VF most = hn::Max(before, hn::Mul(largest, factor));
    // Only -inf so far: any finite shift keeps the powers 0.
    const VF shift = hn::IfThenZeroElse(hn::Eq(most, lowest), most);
    VF total = hn::Zero(d), positive = hn::Zero(d);
    VI count = hn::LoadU(di, s.counts + first + c);
    for (int64_t r = 0; r < t.rows; ++r) {
      VF score = hn::Mul(hn::LoadU(d, products + r * t.stride + c), factor);
      auto same = hn::Eq(group, hn::Set(di, row_group(row_groups[r])));
      if constexpr (kDiagonal) {
        const auto self = hn::Eq(index, hn::Set(di, t.self(r)));
        score = hn::IfThenElse(hn::RebindMask(d, self), lowest, score);
        same = hn::AndNot(self, same);
      }
      total = hn::Add(total, power(d, hn::Sub(score, shift)));
      positive = hn::Add(positive, hn::IfThenElseZero(hn::RebindMask(d, same), score));
      count = hn::Sub(count, hn::VecFromMask(di, same));
    }
    const VF shrink = power(d, hn::Sub(before, shift));
    hn::StoreU(hn::MulAdd(hn::LoadU(d, s.sum + first + c), shrink, total), d, s.sum + first + c);
    hn::StoreU(hn::Add(hn::LoadU(d, s.positive + first + c), positive), d, s.positive + first + c);
    hn::StoreU(most, d, s.maximum + first + c);
    hn::StoreU(count, di, s.counts + first + c);
  }
}

// Statistics become losses (in place of the sum) and log-sum-exps (in place of the maximum).
void finish(const ForwardScratch& s, int64_t count) {
  const F32 d;
  const I32 di;
  for (int64_t c = 0; c < count; c += vector_lanes()) {
    const VF most = hn::LoadU(d, s.maximum + c), sum = hn::LoadU(d, s.sum + c);
    const VI positives = hn::LoadU(di, s.counts + c);
    const VF rest = log(d, sum);
    const VF lse = hn::Add(most, rest);
    const VF mean = hn::Div(hn::LoadU(d, s.positive + c), hn::ConvertTo(d, hn::Max(positives, hn::Set(di, 1))));
    // Not lse - mean: where the positives are the largest scores, the loss is far smaller than both.
    const VF loss = hn::Add(hn::Sub(most, mean), rest);
    const auto none = hn::RebindMask(d, hn::Eq(positives, hn::Zero(di)));
    hn::StoreU(hn::IfThenZeroElse(none, loss), d, s.sum + c);
    hn::StoreU(hn::IfThenElse(hn::Eq(sum, hn::Zero(d)), hn::Set(d, -kInfinity), lse), d, s.maximum + c);
  }
}

void forward_item(const InfoNceProblem& p, int64_t begin, int64_t end, const InfoNceResult& result, const ForwardScratch& s) {
  const int64_t count = end - begin;
  const int64_t block = even_part(count, kLanes, vector_lanes());
  const int64_t tile_rows = even_part(p.keys.rows, kRows, 1);
  std::fill_n(s.maximum, whole_vectors(count), -kInfinity);
  for (float* zeros : {s.sum, s.positive}) std::fill_n(zeros, whole_vectors(count), 0.0f);
  std::fill_n(s.counts, whole_vectors(count), 0);
  pack_groups(p.query_groups + begin, count, s.groups);
  pack_lanes(p, p.queries, begin, count, block, s.lanes);
  for (int64_t row = 0; row < p.keys.rows; row += tile_rows) {
    for (int64_t l = 0; l < count; l += block) {
      const int64_t columns = std::min(block, count - l);
      const ScoreTile t{row, std::min(tile_rows, p.keys.rows - row), begin + l, columns, whole_vectors(columns)};
      product_tile(p, t, p.keys, s.lanes + l * p.depth, s.scores);
      const int32_t* groups = p.key_groups + row;
      if (p.self && t.diagonal()) add_scores<true>(t, 1 / p.temperature, s.scores, groups, s, l);
      else add_scores<false>(t, 1 / p.temperature, s.scores, groups, s, l);
    }
  }
  finish(s, count);
  std::copy_n(s.sum, count, result.loss + begin);
  if (result.lse != nullptr) std::copy_n(s.maximum, count, result.lse + begin);
  if (result.positives != nullptr) std::copy_n(s.counts, count, result.positives + begin);
}

// The gradient of a tile's scores, in place of the products. Lanes are queries, or rows are, or in the self form both.
template <bool kLaneQueries, bool kRowQueries, bool kDiagonal>
void gradient_tile(const ScoreTile& t, float scale, float* HWY_RESTRICT products, const QueryTerms& q,
                   const int32_t* HWY_RESTRICT lane_groups, const int32_t* HWY_RESTRICT row_groups) {
  const F32 d;
  const I32 di;
  for (int64_t c = 0; c < t.stride; c += vector_lanes()) {
    const VI group = hn::LoadU(di, lane_groups + c);
    const VI index = hn::Iota(di, static_cast<int32_t>(c));
    VF lse = hn::Zero(d), factor = hn::Zero(d), share = hn::Zero(d);
    if constexpr (kLaneQueries) {
      lse = hn::LoadU(d, q.lse + t.lane + c);
      factor = hn::LoadU(d, q.factor + t.lane + c);
      share = hn::LoadU(d, q.share + t.lane + c);
    }
    for (int64_t r = 0; r < t.rows; ++r) {
      const VF score = hn::Mul(hn::LoadU(d, products + r * t.stride + c), hn::Set(d, scale));
      VF weight = hn::Zero(d), taken = share;
      if constexpr (kLaneQueries) weight = hn::Mul(factor, power(d, hn::Sub(score, lse)));
      if constexpr (kRowQueries) {
        const int64_t row = t.row + r;
        weight = hn::MulAdd(hn::Set(d, q.factor[row]), power(d, hn::Sub(score, hn::Set(d, q.lse[row]))), weight);
        taken = hn::Add(taken, hn::Set(d, q.share[row]));
      }
      const auto same = hn::RebindMask(d, hn::Eq(group, hn::Set(di, row_group(row_groups[r]))));
      weight = hn::Sub(weight, hn::IfThenElseZero(same, taken));
      if constexpr (kDiagonal) weight = hn::IfThenZeroElse(hn::RebindMask(d, hn::Eq(index, hn::Set(di, t.self(r)))), weight);
      hn::StoreU(weight, d, products + r * t.stride + c);
    }
  }
}

// One side of the pairs: its rows, their groups and, where it owns the lanes of a pass, their gradient.
struct Side {
  InfoNceRows<const float> rows;
  const int32_t* groups;
};

template <bool kLaneQueries, bool kRowQueries>
void backward_item(const InfoNceProblem& p, const Side& lanes, const Side& rows, int64_t begin, int64_t end, const QueryTerms& terms,
                   const InfoNceRows<float>& gradient, const BackwardScratch& s) {
  const int64_t depth = whole_vectors(p.depth);
  const int64_t count = end - begin;
  const int64_t block = even_part(count, kLanes, vector_lanes());
  const int64_t tile_rows = even_part(rows.rows.rows, kRows, 1);
  pack_groups(lanes.groups + begin, count, s.groups);
  pack_lanes(p, lanes.rows, begin, count, block, s.lanes);
  std::fill_n(s.gradient, count * depth, 0.0f);
  attention::Prefetch none;
  for (int64_t row = 0; row < rows.rows.rows; row += tile_rows) {
    const int64_t height = std::min(tile_rows, rows.rows.rows - row);
    // Whole vectors of rows are read where they lie, if there are only those.
    const float* packed = rows.rows.at(row);
    int64_t packed_stride = rows.rows.stride;
    if (depth != p.depth) {
      pack_rows(packed, packed_stride, s.rows, depth, height, p.depth);
      packed = s.rows;
      packed_stride = depth;
    }
    for (int64_t l = 0; l < count; l += block) {
      const int64_t columns = std::min(block, count - l);
      const ScoreTile t{row, height, begin + l, columns, whole_vectors(columns)};
      product_tile(p, t, rows.rows, s.lanes + l * p.depth, s.weights);
      if (kLaneQueries && kRowQueries && t.diagonal()) {
        gradient_tile<kLaneQueries, kRowQueries, true>(t, 1 / p.temperature, s.weights, terms, s.groups + l, rows.groups + row);
      } else {
        gradient_tile<kLaneQueries, kRowQueries, false>(t, 1 / p.temperature, s.weights, terms, s.groups + l, rows.groups + row);
      }
      product<true>(s.weights, t.stride, packed, packed_stride, s.gradient + l * depth, depth, columns, depth, height, true, none);
    }
  }
  unpack_rows(s.gradient, depth, gradient.at(begin), gradient.stride, count, p.depth, 1.0f, false);
}

template <bool kLaneQueries, bool kRowQueries>
void backward_pass(int threads, const InfoNceProblem& p, const Side& lanes, const Side& rows, const QueryTerms& terms,
                   const InfoNceRows<float>& gradient, float* scratch) {
  const int64_t chunk = chunk_lanes(lanes.rows.rows, p.depth);
  const int64_t stride = BackwardScratch(nullptr, p).floats;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t begin = 0; begin < lanes.rows.rows; begin += chunk) {
    const BackwardScratch s(scratch + omp_get_thread_num() * stride, p);
    backward_item<kLaneQueries, kRowQueries>(p, lanes, rows, begin, std::min(begin + chunk, lanes.rows.rows), terms, gradient, s);
  }
}

}  // namespace

void info_nce_forward_cpu(int threads, const InfoNceProblem& p, const InfoNceResult& result, float* workspace) {
  const int64_t chunk = chunk_lanes(p.queries.rows, p.depth);
  const int64_t stride = ForwardScratch(nullptr, p).floats;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t begin = 0; begin < p.queries.rows; begin += chunk) {
    const ForwardScratch s(workspace + omp_get_thread_num() * stride, p);
    forward_item(p, begin, std::min(begin + chunk, p.queries.rows), result, s);
  }
}

void info_nce_backward_cpu(int threads, const InfoNceProblem& p, const InfoNceGradients& g, const QueryTerms& terms, float* scratch) {
  const Side queries{p.queries, p.query_groups}, keys{p.keys, p.key_groups};
  if (p.self) {
    backward_pass<true, true>(threads, p, queries, keys, terms, g.dq, scratch);
    return;
  }
  backward_pass<true, false>(threads, p, queries, keys, terms, g.dq, scratch);
  if (g.dk.data != nullptr) backward_pass<false, true>(threads, p, keys, queries, terms, g.dk, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

using namespace gatun::info_nce;

size_t info_nce_forward_workspace(const Stream& stream, const InfoNceProblem& problem) {
  return static_cast<size_t>(ForwardScratch(nullptr, problem).floats) * sizeof(float) * static_cast<size_t>(stream.threads());
}

void info_nce_forward(const Stream& stream, const InfoNceProblem& problem, const InfoNceResult& result, void* workspace) {
  GATUN_DISPATCH(info_nce_forward_cpu)(stream.threads(), problem, result, static_cast<float*>(workspace));
}

size_t info_nce_backward_workspace(const Stream& stream, const InfoNceProblem& problem) {
  const int64_t floats = QueryTerms(nullptr, problem).floats + BackwardScratch(nullptr, problem).floats * stream.threads();
  return static_cast<size_t>(floats) * sizeof(float);
}

void info_nce_backward(const Stream& stream, const InfoNceProblem& problem, const InfoNceGradients& gradients, void* workspace) {
  float* base = static_cast<float*>(workspace);
  const QueryTerms terms(base, problem);
  for (int64_t i = 0; i < problem.queries.rows; ++i) {
    const float lse = gradients.lse[i];
    // A query that was compared with nothing gets weights e^-inf = 0.
    terms.lse[i] = lse == -kInfinity ? kInfinity : lse;
    const int32_t positives = gradients.positives[i];
    terms.factor[i] = positives > 0 ? gradients.dloss[i * gradients.dloss_stride] / problem.temperature : 0.0f;
    terms.share[i] = positives > 0 ? terms.factor[i] / static_cast<float>(positives) : 0.0f;
  }
  GATUN_DISPATCH(info_nce_backward_cpu)(stream.threads(), problem, gradients, terms, base + terms.floats);
}

}  // namespace gatun
#endif

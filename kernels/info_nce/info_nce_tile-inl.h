// SPDX-License-Identifier: Apache-2.0
// What happens to one tile of scores. Re-included for every instruction set.
//
// Tiles hold scores transposed, as in attention: what a work item owns are lanes, what it is compared with are rows. Products are divided
// by the temperature afterwards: the score of a pair is then the same bits whichever of the two is a lane, and in the backward pass as in
// the forward pass, so that what cancels does so exactly.
#if defined(GATUN_INFO_NCE_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_INFO_NCE_TILE_INL_H_
#undef GATUN_INFO_NCE_TILE_INL_H_
#else
#define GATUN_INFO_NCE_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/attention/attention_tile-inl.h"
#include "kernels/info_nce/info_nce_plan.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {
namespace {

using namespace gatun::info_nce;
using VI = hn::Vec<I32>;

constexpr int32_t kNoGroup = -1;  // of a lane; a row without a group gets another number, so that the two never meet

HWY_INLINE int64_t vector_lanes() { return static_cast<int64_t>(hn::Lanes(F32())); }
HWY_INLINE int64_t whole_vectors(int64_t n) { return round_up(n, vector_lanes()); }
HWY_INLINE int32_t row_group(int32_t group) { return group < 0 ? kNoGroup - 1 : group; }

// e^x for x up to 80.
HWY_INLINE VF power(F32 d, VF x) { return exp2(d, hn::Mul(x, hn::Set(d, kLog2E))); }

// Rows [row, row + rows) against the lanes [lane, lane + columns).
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

void product_tile(const InfoNceProblem& p, const ScoreTile& t, const InfoNceRows<const float>& rows, const float* lanes, float* products) {
  attention::Prefetch none;
  product<false>(rows.at(t.row), rows.stride, lanes, t.stride, products, t.stride, t.rows, t.stride, p.depth, false, none);
}

// Adds total · e^unit, of scores up to `most`, to sum · e^maximum.
HWY_INLINE void add_to_sum(F32 d, float* maximum, float* sum, VF most, VF unit, VF total) {
  const VF before = hn::LoadU(d, maximum);
  most = hn::Max(before, most);
  // Only -inf so far: any finite shift keeps the powers 0.
  const VF shift = hn::IfThenZeroElse(hn::Eq(most, hn::Set(d, -kInfinity)), most);
  const VF earlier = hn::Mul(hn::LoadU(d, sum), power(d, hn::Sub(before, shift)));
  // Far above only where there was no score but -inf, and the total is 0.
  const VF factor = power(d, hn::Min(hn::Sub(unit, shift), hn::Set(d, 80.0f)));
  hn::StoreU(hn::MulAdd(total, factor, earlier), d, sum);
  hn::StoreU(most, d, maximum);
}

// Adds a tile to the sums of its lanes.
template <bool kDiagonal>
void add_lane_powers(const ScoreTile& t, float scale, const float* HWY_RESTRICT products, const Statistics& s, int64_t first) {
  const F32 d;
  const I32 di;
  const VF lowest = hn::Set(d, -kInfinity), factor = hn::Set(d, scale);
  for (int64_t c = 0; c < t.stride; c += vector_lanes()) {
    const VI index = hn::Iota(di, static_cast<int32_t>(c));
    const auto value = [&](int64_t r) HWY_ATTR {
      const VF product = hn::LoadU(d, products + r * t.stride + c);
      if constexpr (!kDiagonal) return product;
      return hn::IfThenElse(hn::RebindMask(d, hn::Eq(index, hn::Set(di, t.self(r)))), lowest, product);
    };
    VF largest = lowest;
    for (int64_t r = 0; r < t.rows; ++r) largest = hn::Max(largest, value(r));
    const VF most = hn::Mul(largest, factor);
    const VF shift = hn::IfThenZeroElse(hn::Eq(most, lowest), most);
    VF total = hn::Zero(d);
    for (int64_t r = 0; r < t.rows; ++r) total = hn::Add(total, power(d, hn::Sub(hn::Mul(value(r), factor), shift)));
    add_to_sum(d, s.maximum + first + c, s.sum + first + c, most, shift, total);
  }
}

// Calls group(c, vectors) for the lanes of a tile, four vectors at a time where there are as many: what is gathered along rows is then
// written once for four.
template <class F>
HWY_INLINE void for_lane_groups(const ScoreTile& t, F&& group) {
  const int64_t lanes = vector_lanes();
  int64_t c = 0;
  for (; c + 4 * lanes <= t.columns; c += 4 * lanes) group(c, std::integral_constant<int, 4>());
  for (; c < t.stride; c += lanes) group(c, std::integral_constant<int, 1>());
}

// Largest score of each row and lane of a tile. Returns the largest of them if no other is so far below it that its powers would vanish
// beside it, else NaN.
float tile_maximum(const ScoreTile& t, float scale, const TileScratch& s) {
  const F32 d;
  const int64_t lanes = vector_lanes();
  constexpr float kSpread = 20;
  for_lane_groups(t, [&](int64_t c, auto vectors) HWY_ATTR {
    VF largest[vectors];
    for (int v = 0; v < vectors; ++v) largest[v] = hn::Set(d, -kInfinity);
    for (int64_t r = 0; r < t.rows; ++r) {
      VF row = c == 0 ? hn::Set(d, -kInfinity) : hn::LoadU(d, s.across + r * lanes);
      for (int v = 0; v < vectors; ++v) {
        const VF product = hn::LoadU(d, s.products + r * t.stride + c + v * lanes);
        largest[v] = hn::Max(largest[v], product);
        row = hn::Max(row, product);
      }
      hn::StoreU(row, d, s.across + r * lanes);
    }
    for (int v = 0; v < vectors; ++v) hn::StoreU(hn::Mul(largest[v], hn::Set(d, scale)), d, s.lane_most + c + v * lanes);
  });
  float most = -kInfinity, least = kInfinity;
  for (int64_t r = 0; r < t.rows; ++r) {
    s.row_most[r] = scale * max_lanes(d, hn::LoadU(d, s.across + r * lanes));
    most = std::max(most, s.row_most[r]);
    least = std::min(least, s.row_most[r]);
  }
  for (int64_t c = 0; c < t.columns; ++c) least = std::min(least, s.lane_most[c]);
  return most - least <= kSpread ? most : std::numeric_limits<float>::quiet_NaN();
}

// Adds a tile without pairs of a row with itself to the sums of its lanes and of its rows.
void add_both_powers(const ScoreTile& t, float scale, const TileScratch& s, const Statistics& statistics) {
  const F32 d;
  const I32 di;
  const int64_t lanes = vector_lanes();
  const VF factor = hn::Set(d, scale);
  const auto end = hn::Set(di, static_cast<int32_t>(t.columns));
  const float most = tile_maximum(t, scale, s);
  const bool shared = !std::isnan(most);
  for (int64_t r = 0; r < t.rows; ++r) s.row_unit[r] = shared ? most : s.row_most[r] == -kInfinity ? 0.0f : s.row_most[r];
  for_lane_groups(t, [&](int64_t c, auto vectors) HWY_ATTR {
    VF total[vectors];
    for (int v = 0; v < vectors; ++v) total[v] = hn::Zero(d);
    for (int64_t r = 0; r < t.rows; ++r) {
      const VF unit = hn::Set(d, s.row_unit[r]);
      VF row = c == 0 ? hn::Zero(d) : hn::LoadU(d, s.across + r * lanes);
      for (int v = 0; v < vectors; ++v) {
        const VF score = hn::Mul(hn::LoadU(d, s.products + r * t.stride + c + v * lanes), factor);
        VF weight = power(d, hn::Sub(score, unit));
        // Only a single vector can have lanes that are no rows.
        if (vectors == 1) weight = hn::IfThenElseZero(hn::RebindMask(d, hn::Lt(hn::Iota(di, static_cast<int32_t>(c)), end)), weight);
        total[v] = hn::Add(total[v], weight);
        row = hn::Add(row, weight);
      }
      hn::StoreU(row, d, s.across + r * lanes);
    }
    for (int v = 0; shared && v < vectors; ++v) {
      const int64_t at = c + v * lanes;
      add_to_sum(d, statistics.maximum + t.lane + at, statistics.sum + t.lane + at, hn::LoadU(d, s.lane_most + at), hn::Set(d, most),
                 total[v]);
    }
  });
  if (!shared) add_lane_powers<false>(t, scale, s.products, statistics, t.lane);
  for (int64_t r = 0; r < t.rows; ++r) s.row_total[r] = sum_lanes(d, hn::LoadU(d, s.across + r * lanes));
  for (int64_t r = 0; r < t.rows; r += lanes) {
    add_to_sum(d, statistics.maximum + t.row + r, statistics.sum + t.row + r, hn::LoadU(d, s.row_most + r), hn::LoadU(d, s.row_unit + r),
               hn::LoadU(d, s.row_total + r));
  }
}

// Adds the positive scores of a tile to its lanes and, with kBoth, to its rows.
template <bool kDiagonal, bool kBoth>
void add_positives(const ScoreTile& t, float scale, const int32_t* HWY_RESTRICT lane_groups, const int32_t* HWY_RESTRICT row_groups,
                   const TileScratch& s, const Statistics& statistics, int64_t first) {
  const F32 d;
  const I32 di;
  std::fill_n(s.lane_positive, t.stride, 0.0f);
  std::fill_n(s.lane_counts, t.stride, 0);
  bool any = false;
  for (int64_t r = 0; r < t.rows; ++r) {
    const VI group = hn::Set(di, row_group(row_groups[r]));
    VF across = hn::Zero(d);
    int32_t count = 0;
    for (int64_t c = 0; c < t.stride; c += vector_lanes()) {
      auto same = hn::Eq(group, hn::LoadU(di, lane_groups + c));
      if constexpr (kDiagonal) same = hn::AndNot(hn::Eq(hn::Iota(di, static_cast<int32_t>(c)), hn::Set(di, t.self(r))), same);
      if (hn::AllFalse(di, same)) continue;
      any = true;
      const VF score = hn::Mul(hn::LoadU(d, s.products + r * t.stride + c), hn::Set(d, scale));
      const VF positive = hn::IfThenElseZero(hn::RebindMask(d, same), score);
      hn::StoreU(hn::Add(hn::LoadU(d, s.lane_positive + c), positive), d, s.lane_positive + c);
      hn::StoreU(hn::Sub(hn::LoadU(di, s.lane_counts + c), hn::VecFromMask(di, same)), di, s.lane_counts + c);
      across = hn::Add(across, positive);
      count += static_cast<int32_t>(hn::CountTrue(di, same));
    }
    if (kBoth && count > 0) {
      statistics.positive[t.row + r] += sum_lanes(d, across);
      statistics.counts[t.row + r] += count;
    }
  }
  for (int64_t c = 0; any && c < t.columns; ++c) {
    statistics.positive[first + c] += s.lane_positive[c];
    statistics.counts[first + c] += s.lane_counts[c];
  }
}

// Statistics of `count` queries become losses (in place of the sum) and log-sum-exps (in place of the maximum).
void finish(const Statistics& s, int64_t begin, int64_t count) {
  const F32 d;
  const I32 di;
  for (int64_t i = begin; i < begin + count; i += vector_lanes()) {
    const VF most = hn::LoadU(d, s.maximum + i), sum = hn::LoadU(d, s.sum + i);
    const VI positives = hn::LoadU(di, s.counts + i);
    const VF rest = log(d, sum);
    const VF mean = hn::Div(hn::LoadU(d, s.positive + i), hn::ConvertTo(d, hn::Max(positives, hn::Set(di, 1))));
    // Not lse - mean: where the positives are the largest scores, the loss is far smaller than both.
    const VF loss = hn::Add(hn::Sub(most, mean), rest);
    const auto none = hn::RebindMask(d, hn::Eq(positives, hn::Zero(di)));
    hn::StoreU(hn::IfThenZeroElse(none, loss), d, s.sum + i);
    hn::StoreU(hn::IfThenElse(hn::Eq(sum, hn::Zero(d)), hn::Set(d, -kInfinity), hn::Add(most, rest)), d, s.maximum + i);
  }
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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

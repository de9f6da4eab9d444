// SPDX-License-Identifier: Apache-2.0
// What cross-entropy does with one row. Re-included for every instruction set.
#if defined(GATUN_CROSS_ENTROPY_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_CROSS_ENTROPY_ROW_INL_H_
#undef GATUN_CROSS_ENTROPY_ROW_INL_H_
#else
#define GATUN_CROSS_ENTROPY_ROW_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/prefetch.h"
#include "kernels/common/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {
namespace cross_entropy_row {

// e^(distance * scale) of distances <= 0, NaN of NaN. Below e^-87: 0, or with AVX-512 the subnormal value.
struct Exponential {
  VF scale, rate, lowest;

  explicit Exponential(float factor)
      : scale(hn::Set(F32(), factor)),
        rate(hn::Set(F32(), static_cast<float>(1.4426950408889634 * static_cast<double>(factor)))),
        lowest(hn::Set(F32(), std::max(-std::numeric_limits<float>::max(), -110.0f / factor))) {}

  HWY_INLINE VF operator()(F32 d, VF distance) const {
#if HWY_TARGET == HWY_AVX3
    // A power of 2, so that scaling and splitting are two multiply-adds; what is far below becomes 0 by the processor's own scaling. Max passes a NaN on
    // from the second place. Minimax fit of degree 6: relative error 1.6e-8, and 8e-8 with roundings.
    const VF x = hn::Max(lowest, distance), magic = hn::Set(d, 12582912.0f);
    const VF n = hn::Sub(hn::MulAdd(x, rate, magic), magic), r = hn::MulSub(x, rate, n);
    VF p = hn::MulAdd(r, hn::Set(d, 1.535335032e-04f), hn::Set(d, 1.339887385e-03f));
    p = hn::MulAdd(p, r, hn::Set(d, 9.618437849e-03f));
    p = hn::MulAdd(p, r, hn::Set(d, 5.550332367e-02f));
    p = hn::MulAdd(p, r, hn::Set(d, 2.402264774e-01f));
    p = hn::MulAdd(p, r, hn::Set(d, 6.931471825e-01f));
    return VF{_mm512_scalef_ps(hn::MulAdd(p, r, hn::Set(d, 1.0f)).raw, n.raw)};
#else
    return exp_nonpositive(d, hn::Mul(distance, scale));
#endif
  }
};

// Of a row: its largest logit, and with e = exp((x - largest) / temperature): Σ e, Σ t and Σ t (x - largest) / temperature.
struct RowSums {
  float largest, exps, targets, dot;
};

// The rows that a thread comes to next, on their way to the second-level cache while exponentials keep it busy.
struct Next {
  const float *x, *t;
  template <bool kSoft>
  HWY_INLINE void fetch(int64_t c) const {
    __builtin_prefetch(address_after(x, c), 0, 2);
    if constexpr (kSoft) __builtin_prefetch(address_after(t, c), 0, 2);
  }
};

struct VectorSums {
  VF exps, targets, dot;
};

template <bool kSoft, bool kDot, bool kWrite, class Part>
HWY_INLINE void add_to(VectorSums& sums, const float* x, const float* t, float* y, VF largest, const Exponential& exponential, const Part& part) {
  const F32 d;
  const VF distance = hn::Sub(part.load(x), largest), e = part.keep(exponential(d, distance));
  sums.exps = hn::Add(sums.exps, e);
  if constexpr (kSoft) {
    const VF target = part.load(t);
    sums.targets = hn::Add(sums.targets, target);
    if constexpr (kDot) sums.dot = hn::MulAdd(target, part.keep(distance), sums.dot);
  }
  if constexpr (kWrite) part.store(e, y);
}

// Σ t (x - largest) where 0 · −∞ is 0: a masked class without a target costs nothing.
HWY_INLINE float masked_dot(const float* x, const float* t, int64_t n, VF largest) {
  const F32 d;
  VF dot = hn::Zero(d);
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    const VF target = part.load(t + c);
    dot = hn::Add(dot, part.keep(hn::IfThenZeroElse(hn::Eq(target, hn::Zero(d)), hn::Mul(target, hn::Sub(part.load(x + c), largest)))));
  });
  return sum_lanes(d, dot);
}

// All sums in one sweep after that for the largest, two vectors at a time: chains of additions are shorter than the exponentials between them; and in runs,
// whose sums are added, for the sake of rounding. kSoft: with those of the targets, kDot: with the last one too. kWrite: e is written to y, which may be x unless
// kDot.
template <bool kSoft, bool kDot, bool kWrite>
HWY_INLINE RowSums sums_of(const float* x, const float* t, float* y, int64_t n, float scale, float most, const Next& next) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Exponential exponential(scale);
  const VF largest = hn::Set(d, most), zero = hn::Zero(d);
  VectorSums total{zero, zero, zero};
  const int64_t run = 64 * lanes;
  for (int64_t begin = 0; begin < n; begin += run) {
    const int64_t end = std::min(n, begin + run);
    VectorSums a{zero, zero, zero}, b = a;
    int64_t i = begin;
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      next.fetch<kSoft>(i);
      next.fetch<kSoft>(i + lanes);
      add_to<kSoft, kDot, kWrite>(a, x + i, t + i, y + i, largest, exponential, WholeVector{});
      add_to<kSoft, kDot, kWrite>(b, x + i + lanes, t + i + lanes, y + i + lanes, largest, exponential, WholeVector{});
    }
    for_vectors(end - i, [&](int64_t c, auto part) HWY_ATTR {
      add_to<kSoft, kDot, kWrite>(a, x + i + c, t + i + c, y + i + c, largest, exponential, part);
    });
    total.exps = hn::Add(total.exps, hn::Add(a.exps, b.exps));
    if constexpr (kSoft) total.targets = hn::Add(total.targets, hn::Add(a.targets, b.targets));
    if constexpr (kSoft && kDot) total.dot = hn::Add(total.dot, hn::Add(a.dot, b.dot));
  }
  float dot = sum_lanes(d, total.dot);
  if constexpr (kSoft && kDot) {
    if (std::isnan(dot)) dot = masked_dot(x, t, n, largest);
  }
  return {most, sum_lanes(d, total.exps), kSoft ? sum_lanes(d, total.targets) : 1.0f, dot * scale};
}

// factor (e share - t) of a row from its logits; t: NULL for zeros. y may be x.
template <bool kSoft>
HWY_INLINE void gradient_from_logits(const float* x, const float* t, float* y, int64_t n, float scale, float most, float factor, float share,
                                     const Next& next) {
  const F32 d;
  const Exponential exponential(scale);
  const VF largest = hn::Set(d, most), upstream = hn::Set(d, factor), each = hn::Set(d, share);
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    next.fetch<kSoft>(c);
    const VF e = exponential(d, hn::Sub(part.load(x + c), largest)), target = kSoft ? part.load(t + c) : hn::Zero(d);
    part.store(hn::Mul(upstream, hn::MulSub(e, each, target)), y + c);
  });
}

// The same from exponentials, which may be in y.
template <bool kSoft>
HWY_INLINE void gradient_from_powers(const float* powers, const float* t, float* y, int64_t n, float factor, float share) {
  const F32 d;
  const VF upstream = hn::Set(d, factor), each = hn::Set(d, share);
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    const VF target = kSoft ? part.load(t + c) : hn::Zero(d);
    part.store(hn::Mul(upstream, hn::MulSub(part.load(powers + c), each, target)), y + c);
  });
}

}  // namespace cross_entropy_row
}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

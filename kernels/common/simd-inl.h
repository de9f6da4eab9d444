// SPDX-License-Identifier: Apache-2.0
// Small SIMD vocabulary on top of Highway, re-included for every instruction set (hence the toggled guard).
#if defined(GATUN_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_SIMD_INL_H_
#undef GATUN_SIMD_INL_H_
#else
#define GATUN_SIMD_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using VF = hn::Vec<F32>;

// f(i) for i = 0 .. N - 1, unrolled.
template <int N, class F>
HWY_INLINE void each(const F& f) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) f(i);
}

// The first n < Lanes(d) elements, zeros behind them; never touches memory beyond p[n-1].
HWY_INLINE VF load_tail(F32 d, const float* HWY_RESTRICT p, int64_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(n)), d, p);
#endif
}

// Writes the first n < Lanes(d) elements and nothing else: a neighbour may belong to another thread.
HWY_INLINE void store_tail(VF v, F32 d, float* HWY_RESTRICT p, int64_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, d, lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(n)), d, p);
#endif
}

HWY_INLINE float sum_lanes(F32 d, VF v) { return hn::GetLane(hn::SumOfLanes(d, v)); }
HWY_INLINE float max_lanes(F32 d, VF v) { return hn::GetLane(hn::MaxOfLanes(d, v)); }

// The power of 2 next to x, and x = n ln 2 + rest with |rest| <= 0.3466: rounding by adding 1.5 * 2^23, where floats are whole numbers; n is
// in the low bits of `whole` as well. Garbage beyond |x| = 2^21.
HWY_INLINE void split_exponent(F32 d, VF x, VF& whole, VF& n, VF& rest) {
  const VF magic = hn::Set(d, 12582912.0f);
  whole = hn::MulAdd(x, hn::Set(d, 1.44269504f), magic);
  n = hn::Sub(whole, magic);
  rest = hn::NegMulAdd(n, hn::Set(d, 0.693145752f), x);
  rest = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), rest);
}

// e^r for |r| <= 0.3466, 1 at 0. Minimax fit of degree 6: relative error 3.2e-9, and 6.2e-8 with the roundings of Horner's rule, of which each is
// scaled by r in the step that follows.
HWY_INLINE VF exp_polynomial(F32 d, VF r) {
  VF p = hn::MulAdd(r, hn::Set(d, 1.382119604e-3f), hn::Set(d, 8.368666284e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.166825861e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.666652113e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.999999404e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  return hn::MulAdd(p, r, hn::Set(d, 1.0f));
}

constexpr float kExpLow = -87.336544f;  // e^x below it is less than 2^-126
constexpr float kExpHigh = 88.7228317f;  // the next float is above 128 ln 2: more than the largest float

// p 2^n for p in [0.7, 1.42] and whole numbers -126 <= n <= 127; NaN stays NaN.
HWY_INLINE VF scale_by_power(F32 d, VF p, [[maybe_unused]] VF whole, [[maybe_unused]] VF n) {
#if HWY_TARGET == HWY_AVX3
  (void)d;
  return VF{_mm512_scalef_ps(p.raw, n.raw)};
#else
  const I32 di;
  return hn::Mul(p, hn::BitCast(d, hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, whole)), hn::Set(di, 127 << 23))));
#endif
}

// e^x for x <= 0, relative error below 2 ulp; 0 below -87.33 (no subnormals), NaN for NaN. What softmax and its kin need.
HWY_INLINE VF exp_nonpositive(F32 d, VF x) {
  VF whole, n, rest;
  split_exponent(d, x, whole, n, rest);
  const VF y = scale_by_power(d, exp_polynomial(d, rest), whole, n);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kExpLow)), y);
}

// e^x, relative error below 2 ulp; 0 below -87.33 (no subnormals), +inf above 88.72, NaN for NaN.
HWY_INLINE VF exp(F32 d, VF x) {
  const I32 di;
  VF whole, n, rest;
  split_exponent(d, x, whole, n, rest);
  const VF p = exp_polynomial(d, rest);
  // n = 128 is a legal exponent here although 2^128 is not a float: the exponent of p moves up instead, p being below 1 then.
  VF y = hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, whole))));
  // NaN is not "at most": NaN and what is too large become x times infinity.
  y = hn::IfThenElse(hn::Le(x, hn::Set(d, kExpHigh)), y, hn::Mul(x, hn::Inf(d)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kExpLow)), y);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

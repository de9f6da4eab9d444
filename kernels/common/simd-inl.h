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

// e^x, relative error below 2 ulp; 0 below -87.33 (no subnormals), +inf above 88.72, NaN for NaN.
HWY_INLINE VF exp(F32 d, VF x) {
  const I32 di;
  const VF low = hn::Set(d, -87.336544f);
  const VF high = hn::Set(d, 88.722839f);
  // Min and Max may drop a NaN: NaN is put back at the end.
  const VF clamped = hn::Min(hn::Max(x, low), hn::Set(d, 88.8f));
  const VF n = hn::Round(hn::Mul(clamped, hn::Set(d, 1.44269504f)));
  VF r = hn::NegMulAdd(n, hn::Set(d, 0.693145752f), clamped);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);
  VF p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  // 2^n in two factors: n = 128 is a legal exponent here, 2^128 is not a float.
  const auto exponent = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(exponent);
  const auto bias = hn::Set(di, 127);
  const VF first = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const VF second = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(exponent, half), bias)));
  VF y = hn::Mul(hn::Mul(p, first), second);
  y = hn::IfThenElse(hn::Gt(x, high), hn::Inf(d), y);
  y = hn::IfThenElse(hn::Lt(x, low), hn::Zero(d), y);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

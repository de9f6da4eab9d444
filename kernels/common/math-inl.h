// SPDX-License-Identifier: Apache-2.0
// Vector functions of f32, each with its largest error as tested in kernels/activation and kernels/elementwise. The polynomials are
// minimax fits made for this file (iteratively reweighted least squares).
#if defined(GATUN_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_MATH_INL_H_
#undef GATUN_MATH_INL_H_
#else
#define GATUN_MATH_INL_H_
#endif

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// p[0] + p[1] x + ... by Horner's rule
template <int N>
HWY_INLINE VF polynomial(F32 d, VF x, const float (&p)[N]) {
  VF sum = hn::Set(d, p[N - 1]);
  for (int i = N - 2; i >= 0; --i) sum = hn::MulAdd(sum, x, hn::Set(d, p[i]));
  return sum;
}

// Highway's Max and Min return one operand or the other for NaN, depending on the processor; these return the NaN.
HWY_INLINE VF maximum(VF a, VF b) { return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Gt(a, b)), a, b); }
HWY_INLINE VF minimum(VF a, VF b) { return hn::IfThenElse(hn::Or(hn::IsNaN(a), hn::Lt(a, b)), a, b); }

// ln x, relative error below 2 ulp, subnormals included; -inf at 0, NaN below 0, +inf at +inf.
HWY_INLINE VF log(F32 d, VF x) {
  const I32 di;
  const auto tiny = hn::Lt(x, hn::Set(d, 1.17549435e-38f));
  const VF normal = hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 8388608.0f)), x);
  // x = 2^e * m with m in [sqrt(1/2), sqrt(2)), so that ln m has no cancellation with e ln 2
  const auto bits = hn::BitCast(di, normal);
  const auto offset = hn::Sub(bits, hn::Set(di, 0x3f3504f3));
  const auto exponent = hn::ShiftRight<23>(offset);
  const VF m = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(exponent)));
  const VF e = hn::Sub(hn::ConvertTo(d, exponent), hn::IfThenElseZero(tiny, hn::Set(d, 23.0f)));
  const VF f = hn::Sub(m, hn::Set(d, 1.0f));
  static constexpr float kLog[] = {3.333331260e-01f,  -2.500000960e-01f, 2.000211866e-01f, -1.666799585e-01f, 1.421955235e-01f,
                                   -1.240558893e-01f, 1.188816232e-01f,  -1.167565178e-01f, 6.746640339e-02f};
  const VF square = hn::Mul(f, f);
  VF low = hn::Mul(hn::Mul(square, f), polynomial(d, f, kLog));
  low = hn::MulAdd(e, hn::Set(d, 1.42860677e-6f), low);
  low = hn::NegMulAdd(square, hn::Set(d, 0.5f), low);
  VF y = hn::MulAdd(e, hn::Set(d, 0.693145752f), hn::Add(f, low));
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(hn::Inf(d)), y);
  y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::NaN(d), y);
  return hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::Eq(x, hn::Inf(d))), x, y);
}

// 1 / (1 + e^-x), relative error below 4 ulp; 0 below -88.72.
HWY_INLINE VF sigmoid(F32 d, VF x) {
  const VF one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, exp(d, hn::Neg(x))));
}

// tanh x, relative error below 4 ulp.
HWY_INLINE VF tanh(F32 d, VF x) {
  const VF one = hn::Set(d, 1.0f);
  const VF size = hn::Abs(x);
  // Near 0 the quotient would lose the leading digits.
  static constexpr float kTanh[] = {-3.333328194e-01f, 1.333144220e-01f, -5.373971517e-02f, 2.063908751e-02f, -5.704987283e-03f};
  const VF square = hn::Mul(x, x);
  const VF near = hn::MulAdd(hn::Mul(x, square), polynomial(d, square, kTanh), x);
  const VF quotient = hn::Div(hn::Set(d, 2.0f), hn::Add(exp(d, hn::Add(size, size)), one));
  const VF far = hn::CopySign(hn::Sub(one, quotient), x);
  return hn::IfThenElse(hn::Lt(size, hn::Set(d, 0.625f)), near, far);
}

// 1 / x for normal, finite x > 0, relative error below 1 ulp. On some processors a division of 16 lanes takes as long as 20 multiply-adds.
HWY_INLINE VF reciprocal(F32 d, VF x) {
  const VF one = hn::Set(d, 1.0f);
#if HWY_TARGET == HWY_AVX3
  // 14 bits, and one step of Newton's: 2^-28 before rounding
  const VF t{_mm512_rcp14_ps(x.raw)};
  return hn::MulAdd(t, hn::NegMulAdd(x, t, one), t);
#else
  return hn::Div(one, x);
#endif
}

// For z >= 0: tail = P(Z > z) of a standard normal Z, relative error below 7e-7 + z² 6e-8 (0 beyond z = 13.2); bell = e^(-z²/2).
// Φ(x) = tail for x = -z, 1 - tail for x = z; erf(x) = 1 - 2 tail(x √2).
// Of N vectors side by side, a step of all before the next of any: one chain after the other, the processor's queues fill with what waits.
template <int N>
HWY_INLINE void normal_tails(F32 d, const VF (&z)[N], VF (&tail)[N], VF (&bell)[N]) {
  static constexpr float kTail[] = {1.196263897e-01f,  1.207983580e-01f, 9.963749601e-02f,  1.294691901e-01f,
                                    -5.539382577e-02f, 2.082065817e-01f, -1.582759855e-01f, 3.593173142e-02f};
  VF t[N], whole[N], n[N], rest[N];
  hn::Mask<F32> none[N];
  each<N>([&](int i) HWY_ATTR { t[i] = reciprocal(d, hn::MulAdd(hn::Set(d, 0.3f), z[i], hn::Set(d, 1.0f))); });
  each<N>([&](int i) HWY_ATTR {
    const VF x = hn::Mul(hn::Mul(z[i], z[i]), hn::Set(d, -0.5f));
    none[i] = hn::Lt(x, hn::Set(d, kExpLow));
    split_exponent(d, x, whole[i], n[i], rest[i]);
  });
  each<N>([&](int i) HWY_ATTR { tail[i] = hn::Set(d, kTail[7]); });
  each<7>([&](int k) HWY_ATTR { each<N>([&](int i) HWY_ATTR { tail[i] = hn::MulAdd(tail[i], t[i], hn::Set(d, kTail[6 - k])); }); });
  each<N>([&](int i) HWY_ATTR { bell[i] = exp_polynomial(d, rest[i]); });
  each<N>([&](int i) HWY_ATTR { bell[i] = hn::IfThenZeroElse(none[i], scale_by_power(d, bell[i], whole[i], n[i])); });
  each<N>([&](int i) HWY_ATTR { tail[i] = hn::Mul(hn::Mul(tail[i], t[i]), bell[i]); });
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

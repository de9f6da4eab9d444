// SPDX-License-Identifier: Apache-2.0
// GELU, x Φ(x) with the exact normal distribution function, and its derivative. Re-included per instruction set.
#if defined(GATUN_GELU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_GELU_INL_H_
#undef GATUN_GELU_INL_H_
#else
#define GATUN_GELU_INL_H_
#endif

#include "kernels/common/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Φ is computed from its tail on both sides, so that large negative x keep their leading digits.
struct Gelu {
  static HWY_INLINE VF value(F32 d, VF x) {
    VF tail, bell;
    const VF size = hn::Abs(x);
    normal_tail(d, size, tail, bell);
    const VF negative = hn::Neg(hn::Mul(size, tail));
    const VF y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), negative, hn::NegMulAdd(x, tail, x));
    // ∞ times a tail of 0
    return hn::IfThenElse(hn::Eq(size, hn::Inf(d)), hn::Max(x, hn::Zero(d)), y);
  }
  static HWY_INLINE VF gradient(F32 d, VF x, VF dy) {
    VF tail, bell;
    // Beyond 14 both terms have underflowed; the clamp keeps ∞ times 0 out.
    const VF bounded = hn::IfThenElse(hn::IsNaN(x), x, hn::Min(hn::Max(x, hn::Set(d, -14.0f)), hn::Set(d, 14.0f)));
    normal_tail(d, hn::Abs(bounded), tail, bell);
    const VF cumulative = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
    const VF density = hn::Mul(bell, hn::Set(d, 0.398942280f));
    return hn::Mul(dy, hn::MulAdd(bounded, density, cumulative));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

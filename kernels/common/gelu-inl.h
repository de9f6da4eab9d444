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
  // Vectors that are best done side by side.
#if HWY_TARGET == HWY_AVX3
  static constexpr int kSide = 4;
#else
  static constexpr int kSide = 2;
#endif
  template <int N>
  static HWY_INLINE void values(F32 d, VF (&x)[N]) {
    VF size[N], tail[N], bell[N];
    each<N>([&](int i) HWY_ATTR { size[i] = hn::Abs(x[i]); });
    normal_tails(d, size, tail, bell);
    each<N>([&](int i) HWY_ATTR { x[i] = of_tail(d, x[i], size[i], tail[i]); });
  }
  template <int N>
  static HWY_INLINE void derivatives(F32 d, VF (&x)[N]) {
    VF size[N], tail[N], bell[N];
    each<N>([&](int i) HWY_ATTR {
      // Beyond 14 both terms have underflowed; the clamp keeps ∞ times 0 out.
      x[i] = hn::IfThenElse(hn::IsNaN(x[i]), x[i], hn::Min(hn::Max(x[i], hn::Set(d, -14.0f)), hn::Set(d, 14.0f)));
      size[i] = hn::Abs(x[i]);
    });
    normal_tails(d, size, tail, bell);
    each<N>([&](int i) HWY_ATTR {
      const VF cumulative = hn::IfThenElse(hn::Lt(x[i], hn::Zero(d)), tail[i], hn::Sub(hn::Set(d, 1.0f), tail[i]));
      x[i] = hn::MulAdd(x[i], hn::Mul(bell[i], hn::Set(d, 0.398942280f)), cumulative);
    });
  }
  static HWY_INLINE VF value(F32 d, VF x) {
    VF y[1] = {x};
    values(d, y);
    return y[0];
  }
  static HWY_INLINE VF gradient(F32 d, VF x, VF dy) {
    VF slope[1] = {x};
    derivatives(d, slope);
    return hn::Mul(dy, slope[0]);
  }

 private:
  static HWY_INLINE VF of_tail(F32 d, VF x, VF size, VF tail) {
    const VF negative = hn::Neg(hn::Mul(size, tail));
    const VF y = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), negative, hn::NegMulAdd(x, tail, x));
    // ∞ times a tail of 0
    return hn::IfThenElse(hn::Eq(size, hn::Inf(d)), hn::Max(x, hn::Zero(d)), y);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

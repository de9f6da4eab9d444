// SPDX-License-Identifier: Apache-2.0
// The two sweeps over a row that softmax and cross_entropy share.
#if defined(GATUN_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_SOFTMAX_INL_H_
#undef GATUN_SOFTMAX_INL_H_
#else
#define GATUN_SOFTMAX_INL_H_
#endif

#include <cmath>

#include "kernels/common/columns-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Largest element, -inf of nothing. NaN if there is a NaN and nothing else but -inf; else a NaN may be passed over, since its exponential shows it.
HWY_INLINE float row_max(const float* x, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF lowest = hn::Neg(hn::Inf(d));
  VF a = lowest, b = lowest, c = lowest, e = lowest;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = hn::Max(hn::LoadU(d, x + i), a);
    b = hn::Max(hn::LoadU(d, x + i + lanes), b);
    c = hn::Max(hn::LoadU(d, x + i + 2 * lanes), c);
    e = hn::Max(hn::LoadU(d, x + i + 3 * lanes), e);
  }
  for_vectors(n - i, [&](int64_t at, auto part) HWY_ATTR { a = hn::Max(part.load_or(x + i + at, lowest), a); });
  const float largest = max_lanes(d, hn::Max(hn::Max(a, b), hn::Max(c, e)));
  if (std::isinf(largest) && largest < 0) {
    for (i = 0; i < n; ++i) {
      if (std::isnan(x[i])) return x[i];
    }
  }
  return largest;
}

// y = e^((x - largest) scale); returns the sum. y may be x. Subtracting first is exact at the largest element, whatever its size.
HWY_INLINE float exp_row(const float* x, float* y, int64_t n, float scale, float largest) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale), offset = hn::Set(d, largest);
  VF sum = hn::Zero(d), other = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const VF first = exp_nonpositive(d, hn::Mul(hn::Sub(hn::LoadU(d, x + i), offset), factor));
    const VF second = exp_nonpositive(d, hn::Mul(hn::Sub(hn::LoadU(d, x + i + lanes), offset), factor));
    hn::StoreU(first, d, y + i);
    hn::StoreU(second, d, y + i + lanes);
    sum = hn::Add(sum, first);
    other = hn::Add(other, second);
  }
  for_vectors(n - i, [&](int64_t at, auto part) HWY_ATTR {
    const VF e = part.keep(exp_nonpositive(d, hn::Mul(hn::Sub(part.load(x + i + at), offset), factor)));
    part.store(e, y + i + at);
    sum = hn::Add(sum, e);
  });
  return sum_lanes(d, hn::Add(sum, other));
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

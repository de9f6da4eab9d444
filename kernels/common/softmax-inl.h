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

// Largest element; NaN if there is one, -inf of nothing.
HWY_INLINE float row_max(const float* x, int64_t n) {
  const F32 d;
  const VF lowest = hn::Neg(hn::Inf(d));
  VF largest = lowest;
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR { largest = maximum(largest, part.load_or(x + c, lowest)); });
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(largest, d, lanes);
  float result = lanes[0];
  for (size_t i = 1; i < hn::Lanes(d); ++i) {
    if (std::isnan(lanes[i]) || lanes[i] > result) result = lanes[i];
  }
  return result;
}

// y = e^((x - largest) scale); returns the sum. y may be x. Subtracting first is exact at the largest element, whatever its size.
HWY_INLINE float exp_row(const float* x, float* y, int64_t n, float scale, float largest) {
  const F32 d;
  const VF factor = hn::Set(d, scale), offset = hn::Set(d, largest);
  VF sum = hn::Zero(d);
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    const VF e = part.keep(exp(d, hn::Mul(hn::Sub(part.load(x + c), offset), factor)));
    part.store(e, y + c);
    sum = hn::Add(sum, e);
  });
  return sum_lanes(d, sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
#include "kernels/l2_normalize/l2_normalize.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/l2_normalize/l2_normalize.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Two accumulators hide the latency of the fused multiply-add.
HWY_INLINE float dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF first = hn::Zero(d);
  VF second = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    first = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), first);
    second = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), second);
  }
  for (; i + lanes <= n; i += lanes) first = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), first);
  if (i < n) second = hn::MulAdd(load_tail(d, a + i, n - i), load_tail(d, b + i, n - i), second);
  return sum_lanes(d, hn::Add(first, second));
}

void forward(int threads, Rows<const float> x, Rows<float> y, float* norm, float epsilon) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t r = 0; r < x.rows; ++r) {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const float* in = x.row(r);
    float* out = y.row(r);
    const float length = std::sqrt(dot(in, in, x.columns));
    norm[r] = length;
    // std::max would turn a NaN length into epsilon.
    const VF scale = hn::Set(d, 1.0f / (length < epsilon ? epsilon : length));
    int64_t i = 0;
    for (; i + lanes <= x.columns; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, in + i), scale), d, out + i);
    if (i < x.columns) store_tail(hn::Mul(load_tail(d, in + i, x.columns - i), scale), d, out + i, x.columns - i);
  }
}

void backward(int threads, Rows<const float> y, const float* norm, Rows<const float> dy, Rows<float> dx, float epsilon) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t r = 0; r < y.rows; ++r) {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const float* out = y.row(r);
    const float* gradient = dy.row(r);
    float* result = dx.row(r);
    const bool clamped = norm[r] < epsilon;
    const VF projection = hn::Set(d, clamped ? 0.0f : dot(out, gradient, y.columns));
    const VF scale = hn::Set(d, 1.0f / (clamped ? epsilon : norm[r]));
    int64_t i = 0;
    for (; i + lanes <= y.columns; i += lanes) {
      const VF tangent = hn::NegMulAdd(hn::LoadU(d, out + i), projection, hn::LoadU(d, gradient + i));
      hn::StoreU(hn::Mul(tangent, scale), d, result + i);
    }
    if (i < y.columns) {
      const int64_t n = y.columns - i;
      const VF tangent = hn::NegMulAdd(load_tail(d, out + i, n), projection, load_tail(d, gradient + i, n));
      store_tail(hn::Mul(tangent, scale), d, result + i, n);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
void l2_normalize_forward(const Stream& stream, Rows<const float> x, Rows<float> y, float* norm, float epsilon) {
  GATUN_DISPATCH(forward)(stream.threads(), x, y, norm, epsilon);
}

template <>
void l2_normalize_backward(const Stream& stream, Rows<const float> y, const float* norm, Rows<const float> dy, Rows<float> dx,
                           float epsilon) {
  GATUN_DISPATCH(backward)(stream.threads(), y, norm, dy, dx, epsilon);
}

}  // namespace gatun
#endif

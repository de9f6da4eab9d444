// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"
#include "kernels/common/loops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy/cross_entropy.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

struct RowSums {
  float exps, targets, dot;  // Σ e^s, Σ t, Σ t s with s = (x - largest) scale
};

// All three sums in one sweep; without targets (NULL) only the first.
HWY_INLINE RowSums sums_of(const float* x, const float* t, int64_t n, float scale, float largest) {
  const F32 d;
  const VF factor = hn::Set(d, scale), offset = hn::Set(d, largest), zero = hn::Zero(d);
  VF exps = zero, targets = zero, dot = zero;
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR {
    const VF s = hn::Mul(hn::Sub(part.load(x + c), offset), factor);
    exps = hn::Add(exps, part.keep(exp(d, s)));
    if (t != nullptr) {
      const VF target = part.load(t + c);
      targets = hn::Add(targets, target);
      // 0 · −inf is 0 here: a masked class without a target costs nothing.
      dot = hn::Add(dot, hn::IfThenZeroElse(hn::Eq(target, zero), hn::Mul(target, s)));
    }
  });
  return {sum_lanes(d, exps), sum_lanes(d, targets), sum_lanes(d, dot)};
}

void forward(int threads, Rows<const float> logits, const CrossEntropyTargets& targets, float* loss, float* lse, float temperature) {
  const int64_t columns = logits.columns;
#pragma omp parallel for num_threads(threads_for(threads, logits.rows * columns)) schedule(static)
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float* x = logits.row(r);
    const float scale = 1.0f / temperature;
    const float largest = row_max(x, columns);
    if (std::isinf(largest) && largest < 0) {
      loss[r] = 0.0f;
      if (lse != nullptr) lse[r] = largest;
      continue;
    }
    const float* t = targets.soft ? targets.soft + r * targets.soft_stride : nullptr;
    const RowSums sums = sums_of(x, t, columns, scale, largest);
    const float log_sum = std::log(sums.exps);
    if (lse != nullptr) lse[r] = largest * scale + log_sum;
    if (t != nullptr) {
      loss[r] = sums.targets * log_sum - sums.dot;
      continue;
    }
    const int64_t label = targets.labels[r];
    if (label < 0) {
      loss[r] = 0.0f;
    } else {
      loss[r] = label < columns ? log_sum - (x[label] - largest) * scale : std::numeric_limits<float>::quiet_NaN();
    }
  }
}

HWY_INLINE float sum_row(const float* x, int64_t n) {
  const F32 d;
  VF sum = hn::Zero(d);
  for_vectors(n, [&](int64_t c, auto part) HWY_ATTR { sum = hn::Add(sum, part.load(x + c)); });
  return sum_lanes(d, sum);
}

// The exponentials wait in dlogits, whose row is in the first-level cache, until their sum is known.
void backward(int threads, Rows<const float> logits, const CrossEntropyTargets& targets, const float* dloss, int64_t dloss_stride,
              Rows<float> dlogits, float temperature) {
  const int64_t columns = logits.columns;
#pragma omp parallel for num_threads(threads_for(threads, logits.rows * columns)) schedule(static)
  for (int64_t r = 0; r < logits.rows; ++r) {
    const F32 d;
    const float* x = logits.row(r);
    float* out = dlogits.row(r);
    const float* t = targets.soft ? targets.soft + r * targets.soft_stride : nullptr;
    const int64_t label = t ? 0 : targets.labels[r];
    const float scale = 1.0f / temperature;
    const float largest = row_max(x, columns);
    if (label < 0 || (std::isinf(largest) && largest < 0)) {
      std::fill_n(out, columns, 0.0f);
      continue;
    }
    if (label >= columns) {
      std::fill_n(out, columns, std::numeric_limits<float>::quiet_NaN());
      continue;
    }
    const float upstream = dloss[r * dloss_stride] * scale;
    const float sum = exp_row(x, out, columns, scale, largest);
    const float exp_label = t ? 0.0f : out[label];
    const VF factor = hn::Set(d, upstream);
    const VF share = hn::Set(d, (t ? sum_row(t, columns) : 1.0f) / sum);
    for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
      const VF target = t ? part.load(t + c) : hn::Zero(d);
      part.store(hn::Mul(factor, hn::MulSub(part.load(out + c), share, target)), out + c);
    });
    if (t == nullptr) out[label] = upstream * (exp_label / sum - 1.0f);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
void cross_entropy_forward(const Stream& stream, Rows<const float> logits, const CrossEntropyTargets& targets, float* loss, float* lse,
                           float temperature) {
  GATUN_DISPATCH(forward)(stream.threads(), logits, targets, loss, lse, temperature);
}

template <>
void cross_entropy_backward(const Stream& stream, Rows<const float> logits, const CrossEntropyTargets& targets, const float* dloss,
                            int64_t dloss_stride, Rows<float> dlogits, float temperature) {
  GATUN_DISPATCH(backward)(stream.threads(), logits, targets, dloss, dloss_stride, dlogits, temperature);
}

}  // namespace gatun
#endif

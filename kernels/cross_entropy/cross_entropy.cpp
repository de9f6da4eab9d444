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

// The rows that a thread comes to next, on their way to the second-level cache while exponentials keep it busy.
struct Next {
  const float *x, *t;
  template <bool kSoft>
  HWY_INLINE void fetch(int64_t c) const {
    __builtin_prefetch(x + c, 0, 2);
    if constexpr (kSoft) __builtin_prefetch(t + c, 0, 2);
  }
};

// Σ e^s of a row, and with targets Σ t and Σ t s, as sums of one lane each. kWrite: e^s is written to y, and Σ t s left out.
struct VectorSums {
  VF exps, targets, dot;
};

template <bool kSoft, bool kWrite, class Part>
HWY_INLINE void add_to(VectorSums& sums, const float* x, const float* t, float* y, VF offset, VF factor, const Part& part) {
  const F32 d;
  const VF s = hn::Mul(hn::Sub(part.load(x), offset), factor), e = part.keep(exp_nonpositive(d, s));
  sums.exps = hn::Add(sums.exps, e);
  if constexpr (kWrite) part.store(e, y);
  if constexpr (kSoft) {
    const VF target = part.load(t);
    sums.targets = hn::Add(sums.targets, target);
    // 0 · −inf is 0 here: a masked class without a target costs nothing.
    if constexpr (!kWrite) sums.dot = hn::Add(sums.dot, hn::IfThenZeroElse(hn::Eq(target, hn::Zero(d)), hn::Mul(target, s)));
  }
}

// All sums in one sweep, two vectors at a time: chains of additions are shorter than the exponentials between them.
template <bool kSoft, bool kWrite>
HWY_INLINE RowSums sums_of(const float* x, const float* t, float* y, int64_t n, float scale, float largest, const Next& next) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale), offset = hn::Set(d, largest), zero = hn::Zero(d);
  VectorSums a{zero, zero, zero}, b = a;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    next.fetch<kSoft>(i);
    next.fetch<kSoft>(i + lanes);
    add_to<kSoft, kWrite>(a, x + i, t + i, y + i, offset, factor, WholeVector{});
    add_to<kSoft, kWrite>(b, x + i + lanes, t + i + lanes, y + i + lanes, offset, factor, WholeVector{});
  }
  for_vectors(n - i, [&](int64_t c, auto part) HWY_ATTR { add_to<kSoft, kWrite>(a, x + i + c, t + i + c, y + i + c, offset, factor, part); });
  return {sum_lanes(d, hn::Add(a.exps, b.exps)), sum_lanes(d, hn::Add(a.targets, b.targets)), sum_lanes(d, hn::Add(a.dot, b.dot))};
}

HWY_INLINE Next next_of(const Rows<const float>& logits, const CrossEntropyTargets& targets, int64_t row) {
  const int64_t next = std::min(row + 1, logits.rows - 1);
  return {logits.row(next), targets.soft ? targets.soft + next * targets.soft_stride : nullptr};
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
    const Next next = next_of(logits, targets, r);
    const RowSums sums = t != nullptr ? sums_of<true, false>(x, t, nullptr, columns, scale, largest, next)
                                      : sums_of<false, false>(x, nullptr, nullptr, columns, scale, largest, next);
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
    const Next next = next_of(logits, targets, r);
    const RowSums sums = t != nullptr ? sums_of<true, true>(x, t, out, columns, scale, largest, next)
                                      : sums_of<false, true>(x, nullptr, out, columns, scale, largest, next);
    const float exp_label = t ? 0.0f : out[label];
    const VF factor = hn::Set(d, upstream);
    const VF share = hn::Set(d, (t ? sums.targets : 1.0f) / sums.exps);
    for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
      const VF target = t ? part.load(t + c) : hn::Zero(d);
      part.store(hn::Mul(factor, hn::MulSub(part.load(out + c), share, target)), out + c);
    });
    if (t == nullptr) out[label] = upstream * (exp_label / sums.exps - 1.0f);
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

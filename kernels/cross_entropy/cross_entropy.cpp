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

// Σ e^s of a row, and with targets Σ t and Σ t s, as sums of one lane each.
struct VectorSums {
  VF exps, targets, dot;
};

template <bool kSoft, class Part>
HWY_INLINE void add_to(VectorSums& sums, const float* x, const float* t, VF offset, VF factor, const Part& part) {
  const F32 d;
  const VF s = hn::Mul(hn::Sub(part.load(x), offset), factor);
  sums.exps = hn::Add(sums.exps, part.keep(exp_nonpositive(d, s)));
  if constexpr (kSoft) {
    const VF target = part.load(t);
    sums.targets = hn::Add(sums.targets, target);
    // 0 · −inf is 0 here: a masked class without a target costs nothing.
    sums.dot = hn::Add(sums.dot, hn::IfThenZeroElse(hn::Eq(target, hn::Zero(d)), hn::Mul(target, s)));
  }
}

// All sums in one sweep, two vectors at a time: chains of additions are shorter than the exponentials between them.
template <bool kSoft>
HWY_INLINE RowSums sums_of(const float* x, const float* t, int64_t n, float scale, float largest) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale), offset = hn::Set(d, largest), zero = hn::Zero(d);
  VectorSums a{zero, zero, zero}, b = a;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    add_to<kSoft>(a, x + i, t + i, offset, factor, WholeVector{});
    add_to<kSoft>(b, x + i + lanes, t + i + lanes, offset, factor, WholeVector{});
  }
  for_vectors(n - i, [&](int64_t c, auto part) HWY_ATTR { add_to<kSoft>(a, x + i + c, t + i + c, offset, factor, part); });
  return {sum_lanes(d, hn::Add(a.exps, b.exps)), sum_lanes(d, hn::Add(a.targets, b.targets)), sum_lanes(d, hn::Add(a.dot, b.dot))};
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
    const RowSums sums = t != nullptr ? sums_of<true>(x, t, columns, scale, largest) : sums_of<false>(x, x, columns, scale, largest);
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
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF a = hn::Zero(d), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = hn::Add(a, hn::LoadU(d, x + i));
    b = hn::Add(b, hn::LoadU(d, x + i + lanes));
    c = hn::Add(c, hn::LoadU(d, x + i + 2 * lanes));
    e = hn::Add(e, hn::LoadU(d, x + i + 3 * lanes));
  }
  for_vectors(n - i, [&](int64_t at, auto part) HWY_ATTR { a = hn::Add(a, part.load(x + i + at)); });
  return sum_lanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e)));
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

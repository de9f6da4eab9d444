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
#include "kernels/cross_entropy/cross_entropy_row-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace cross_entropy_row;  // NOLINT

HWY_INLINE Next next_of(const Rows<const float>& logits, const CrossEntropyTargets& targets, int64_t row) {
  const int64_t next = std::min(row + 1, logits.rows - 1);
  return {logits.row(next), targets.soft ? targets.soft + next * targets.soft_stride : nullptr};
}

void forward(int threads, Rows<const float> logits, const CrossEntropyTargets& targets, float* loss, float* lse, float* kept, float temperature) {
  const int64_t columns = logits.columns;
#pragma omp parallel for num_threads(threads_for(threads, logits.rows * columns)) schedule(static)
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float* x = logits.row(r);
    const float scale = 1.0f / temperature;
    const float largest = row_max(x, columns);
    if (kept != nullptr) kept[2 * r] = largest, kept[2 * r + 1] = 0.0f;
    if (std::isinf(largest) && largest < 0) {
      loss[r] = 0.0f;
      if (lse != nullptr) lse[r] = largest;
      continue;
    }
    const float* t = targets.soft ? targets.soft + r * targets.soft_stride : nullptr;
    const Next next = next_of(logits, targets, r);
    const RowSums sums = t != nullptr ? sums_of<true, true, false>(x, t, nullptr, columns, scale, largest, next)
                                      : sums_of<false, false, false>(x, nullptr, nullptr, columns, scale, largest, next);
    const float log_sum = std::log(sums.exps);
    if (lse != nullptr) lse[r] = largest * scale + log_sum;
    if (kept != nullptr) kept[2 * r + 1] = sums.targets / sums.exps;
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

// Without what the forward pass kept, the exponentials wait in dlogits, whose row is in the first-level cache, until their sum is known.
template <bool kSoft>
HWY_INLINE void backward_row(const float* x, const float* t, int64_t label, float* out, int64_t columns, float scale, float upstream,
                             const float* kept, const Next& next) {
  const float largest = kept != nullptr ? kept[0] : row_max(x, columns);
  if (label < 0 || (std::isinf(largest) && largest < 0)) {
    std::fill_n(out, columns, 0.0f);
    return;
  }
  if (label >= columns) {
    std::fill_n(out, columns, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  float share;
  if (kept != nullptr) {
    share = kept[1];
    gradient_from_logits<kSoft>(x, t, out, columns, scale, largest, upstream, share, next);
  } else {
    const RowSums sums = sums_of<kSoft, false, true>(x, t, out, columns, scale, largest, next);
    share = sums.targets / sums.exps;
    gradient_from_powers<kSoft>(out, t, out, columns, upstream, share);
  }
  if constexpr (!kSoft) out[label] -= upstream;
}

void backward(int threads, Rows<const float> logits, const CrossEntropyTargets& targets, const float* kept, const float* dloss, int64_t dloss_stride,
              Rows<float> dlogits, float temperature) {
  const int64_t columns = logits.columns;
#pragma omp parallel for num_threads(threads_for(threads, logits.rows * columns)) schedule(static)
  for (int64_t r = 0; r < logits.rows; ++r) {
    const float scale = 1.0f / temperature, upstream = dloss[r * dloss_stride] * scale;
    const float* own = kept != nullptr ? kept + 2 * r : nullptr;
    const Next next = next_of(logits, targets, r);
    if (targets.soft != nullptr) {
      backward_row<true>(logits.row(r), targets.soft + r * targets.soft_stride, 0, dlogits.row(r), columns, scale, upstream, own, next);
    } else {
      backward_row<false>(logits.row(r), nullptr, targets.labels[r], dlogits.row(r), columns, scale, upstream, own, next);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <>
void cross_entropy_forward(const Stream& stream, Rows<const float> logits, const CrossEntropyTargets& targets, float* loss, float* lse, float* kept,
                           float temperature) {
  GATUN_DISPATCH(forward)(stream.threads(), logits, targets, loss, lse, kept, temperature);
}

template <>
void cross_entropy_backward(const Stream& stream, Rows<const float> logits, const CrossEntropyTargets& targets, const float* kept, const float* dloss,
                            int64_t dloss_stride, Rows<float> dlogits, float temperature) {
  GATUN_DISPATCH(backward)(stream.threads(), logits, targets, kept, dloss, dloss_stride, dlogits, temperature);
}

}  // namespace gatun
#endif

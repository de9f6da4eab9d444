// SPDX-License-Identifier: Apache-2.0
// Maximum and sum of exponentials of a row in one sweep, for softmax and cross_entropy on CUDA.
#pragma once

#include "kernels/common/row_groups.h"

namespace gatun {

// e^x. Where results are stored in 16 bits the special-function unit's own accuracy is enough, and saves the issue slots that a row of
// halves would be bound by.
template <class T>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (std::is_same_v<T, float>) return expf(x);
  else return exp2_approximate(x * 1.4426950408889634f);
}

// What is subtracted before the exponential: the largest element, but 0 where that is -inf, so that a row of only -inf sums to 0 and one
// with a NaN to NaN.
__device__ __forceinline__ float offset_of(float largest) { return largest == -INFINITY ? 0.0f : largest; }

// Σ e^((x - offset) scale), and Σ t, Σ t (x - offset) scale of targets, as far as seen. T is the storage type of x.
template <class T>
struct OnlineSums {
  float scale;
  float largest = -INFINITY;
  float exps = 0, targets = 0, dot = 0;

  // The sums, seen from a larger maximum.
  __device__ __forceinline__ void move(float to) {
    // Before the first finite element exps is 0 (or NaN) and dot is 0 or infinite: nothing to rescale.
    if (largest > -INFINITY && to > largest) {
      const float shift = (largest - to) * scale;
      exps *= exponential<T>(shift);
      dot += targets * shift;
    }
    largest = to;
  }

  template <int N>
  __device__ __forceinline__ void raise(const Floats<N>& x) {
    float top = x.at[0];
    for (int i = 1; i < N; ++i) top = fmaxf(top, x.at[i]);
    if (top > largest) move(top);
  }

  template <int N>
  __device__ __forceinline__ void add(const Floats<N>& x) {
    raise(x);
    const float offset = offset_of(largest);
    for (int i = 0; i < N; ++i) exps += exponential<T>((x.at[i] - offset) * scale);
  }

  template <int N>
  __device__ __forceinline__ void add(const Floats<N>& x, const Floats<N>& t) {
    raise(x);
    const float offset = offset_of(largest);
    for (int i = 0; i < N; ++i) {
      const float s = (x.at[i] - offset) * scale;
      exps += exponential<T>(s);
      targets += t.at[i];
      // 0 · −inf is 0 here: a masked class without a target costs nothing.
      dot += t.at[i] == 0.0f ? 0.0f : t.at[i] * s;
    }
  }

  // The sums of the whole row, in every thread of the group.
  template <int Lanes>
  __device__ __forceinline__ void join(const RowGroup<Lanes>& group) {
    move(group.max(largest));
    exps = group.sum(exps);
  }
};

}  // namespace gatun

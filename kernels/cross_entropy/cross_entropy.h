// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

// Soft targets: `soft` and `soft_stride` (elements from row to row); else labels.
struct CrossEntropyTargets {
  const float* soft;
  int64_t soft_stride;
  const int32_t* labels;
};

// lse may be NULL, as may kept: two floats a row that the CPU's backward pass saves sweeps with; CUDA neither writes nor reads them
template <class T>
void cross_entropy_forward(const Stream& stream, Rows<const T> logits, const CrossEntropyTargets& targets, float* loss, float* lse,
                           float* kept, float temperature);
template <class T>
void cross_entropy_backward(const Stream& stream, Rows<const T> logits, const CrossEntropyTargets& targets, const float* kept,
                            const float* dloss, int64_t dloss_stride, Rows<T> dlogits, float temperature);

}  // namespace gatun

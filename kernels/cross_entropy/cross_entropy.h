// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

// Soft targets: `soft` and `soft_stride` (elements from row to row); else labels.
struct CrossEntropyTargets {
  const float* soft;
  int64_t soft_stride;
  const int32_t* labels;
};

// lse may be NULL
void cross_entropy_forward(const Stream& stream, Rows<const float> logits, const CrossEntropyTargets& targets, float* loss, float* lse,
                           float temperature);
void cross_entropy_backward(const Stream& stream, Rows<const float> logits, const CrossEntropyTargets& targets, const float* dloss,
                            int64_t dloss_stride, Rows<float> dlogits, float temperature);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/cross_entropy/cross_entropy.h"

namespace gatun {

// What gatun_linear_cross_entropy was asked for, checked. For a question about the workspace only shapes and strides are looked at, and which of
// scores, dz and dprototypes are NULL.
struct LinearCrossEntropyCall {
  float temperature, factor;
  Rows<const float> z, prototypes;
  CrossEntropyTargets targets;
  int64_t target_rows;
  Rows<float> scores;
  float* loss;
  Rows<float> dz, dprototypes;
};

size_t linear_cross_entropy_workspace(const Stream& stream, const LinearCrossEntropyCall& call);
void linear_cross_entropy(const Stream& stream, const LinearCrossEntropyCall& call, float* workspace);

}  // namespace gatun

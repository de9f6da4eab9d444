// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

// Rows of a sample stand together: sample b has rows b * positions to (b + 1) * positions.
struct GroupNormShape {
  int64_t samples, positions, channels, groups;
  int64_t width() const { return channels / groups; }
};

// Six values a channel and sample: sums of the channel, and what each channel multiplies and adds.
inline size_t group_norm_workspace(const GroupNormShape& shape) {
  return static_cast<size_t>(6 * shape.samples * shape.channels) * sizeof(float);
}

// gamma and beta may be NULL; mean and rstd are (samples, groups)
void group_norm_forward(const Stream& stream, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* beta,
                        Rows<float> y, float* mean, float* rstd, float epsilon, float* workspace);
// gamma, dgamma and dbeta may be NULL
void group_norm_backward(const Stream& stream, const GroupNormShape& shape, Rows<const float> x, const float* gamma, const float* mean,
                         const float* rstd, Rows<const float> dy, Rows<float> dx, float* dgamma, float* dbeta, float* workspace);

}  // namespace gatun

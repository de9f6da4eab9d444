// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

// Rows of a sample stand together: sample b has rows b * positions to (b + 1) * positions.
struct GroupNormShape {
  int64_t samples, positions, channels, groups;
  int64_t width() const { return channels / groups; }
};

size_t group_norm_workspace(const GroupNormShape& shape);

// gamma and beta may be NULL; mean and rstd are (samples, groups)
template <class T>
void group_norm_forward(const Stream& stream, const GroupNormShape& shape, Rows<const T> x, const float* gamma, const float* beta, Rows<T> y,
                        float* mean, float* rstd, float epsilon, float* workspace);
// gamma, dgamma and dbeta may be NULL
template <class T>
void group_norm_backward(const Stream& stream, const GroupNormShape& shape, Rows<const T> x, const float* gamma, const float* mean,
                         const float* rstd, Rows<const T> dy, Rows<T> dx, float* dgamma, float* dbeta, float* workspace);

}  // namespace gatun

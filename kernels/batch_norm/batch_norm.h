// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

// Per-channel values; gamma and beta may be NULL.
struct BatchNormChannels {
  const float* mean;
  const float* rstd;
  const float* gamma;
  const float* beta;
  bool relu;
};

// Rows of one chunk: it stays in the second-level cache between its two passes. The size depends on the shape only.
inline int64_t batch_norm_chunk(int64_t columns) { return std::clamp<int64_t>(16384 / std::max<int64_t>(columns, 1), 32, 512); }

size_t batch_norm_workspace(int64_t rows, int64_t columns);

void batch_norm_statistics(const Stream& stream, Rows<const float> x, float* mean, float* centered, float* workspace);
// rstd and running statistics from mean and centered; running_* may be NULL.
void batch_norm_update(const float* mean, const float* centered, int64_t columns, int64_t count, double epsilon, const float* momentum,
                       float* running_mean, float* running_variance, float* rstd);
void batch_norm_apply(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<float> y);
// As apply, with the variance in place of rstd.
void batch_norm_inference(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, const float* variance,
                          double epsilon, Rows<float> y);
void batch_norm_backward_sums(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy,
                              float* dgamma, float* dbeta, float* workspace);
void batch_norm_backward(const Stream& stream, Rows<const float> x, const BatchNormChannels& channels, Rows<const float> dy,
                         const float* dgamma, const float* dbeta, int64_t count, Rows<float> dx);

}  // namespace gatun

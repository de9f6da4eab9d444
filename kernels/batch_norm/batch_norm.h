// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
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

size_t batch_norm_workspace(int64_t rows, int64_t columns);

template <class T>
void batch_norm_statistics(const Stream& stream, Rows<const T> x, float* mean, float* centered, float* workspace);
// rstd and running statistics from mean and centered; momentum and running_* may be NULL.
void batch_norm_update(const Stream& stream, const float* mean, const float* centered, int64_t columns, int64_t count, double epsilon,
                       const float* momentum, float* running_mean, float* running_variance, float* rstd);
// residual, y and dresidual may have no data: nothing is added; the rectifier's mask is computed again.
template <class T>
void batch_norm_apply(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, Rows<const T> residual, Rows<T> y);
// As apply, with the variance in place of rstd.
template <class T>
void batch_norm_inference(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, const float* variance, double epsilon,
                          Rows<T> y);
template <class T>
void batch_norm_backward_sums(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, Rows<const T> y, Rows<const T> dy,
                              Rows<T> dresidual, float* dgamma, float* dbeta, float* workspace);
template <class T>
void batch_norm_backward(const Stream& stream, Rows<const T> x, const BatchNormChannels& channels, Rows<const T> dy, const float* dgamma,
                         const float* dbeta, int64_t count, Rows<T> dx);

}  // namespace gatun

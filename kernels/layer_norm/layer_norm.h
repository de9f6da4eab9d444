// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

size_t layer_norm_workspace(int64_t rows, int64_t columns);

// gamma and beta may be NULL
template <class T>
void layer_norm_forward(const Stream& stream, Rows<const T> x, const float* gamma, const float* beta, Rows<T> y, float* mean, float* rstd,
                        float epsilon);
// gamma, dgamma and dbeta may be NULL
template <class T>
void layer_norm_backward(const Stream& stream, Rows<const T> x, const float* gamma, const float* mean, const float* rstd, Rows<const T> dy,
                         Rows<T> dx, float* dgamma, float* dbeta, float* workspace);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/partials.h"
#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

inline size_t layer_norm_workspace(int64_t rows, int64_t columns) {
  return static_cast<size_t>(2 * partial_chunks(rows) * columns) * sizeof(float);
}

// gamma and beta may be NULL
void layer_norm_forward(const Stream& stream, Rows<const float> x, const float* gamma, const float* beta, Rows<float> y, float* mean,
                        float* rstd, float epsilon);
// gamma, dgamma and dbeta may be NULL
void layer_norm_backward(const Stream& stream, Rows<const float> x, const float* gamma, const float* mean, const float* rstd,
                         Rows<const float> dy, Rows<float> dx, float* dgamma, float* dbeta, float* workspace);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/gather_rows/gather_rows.h"
#include "kernels/random/random_fill.h"

namespace gatun {

void stochastic_depth_mask(const Stream& stream, const gatun_random_key* key, RandomIds ids, int64_t count, float rate, float* mask);

// The forward pass is scatter_add_rows. The backward pass: dresidual and, unless null, dgamma (workspace for its partial sums). On CUDA an
// index out of range makes its row of dresidual, and dgamma, NaN.
size_t stochastic_depth_backward_workspace(int64_t lines, int64_t channels);
template <class T>
void stochastic_depth_backward(const Stream& stream, Rows<const T> dy, const Rows<const T>* residual, const int32_t* indices,
                               const RowScale& scale, Rows<T> dresidual, float* dgamma, float* workspace);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

void l2_normalize_forward(const Stream& stream, Rows<const float> x, Rows<float> y, float* norm, float epsilon);
void l2_normalize_backward(const Stream& stream, Rows<const float> y, const float* norm, Rows<const float> dy, Rows<float> dx,
                           float epsilon);

}  // namespace gatun

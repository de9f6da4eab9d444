// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

void softmax_forward(const Stream& stream, Rows<const float> x, Rows<float> y, float temperature);
void softmax_backward(const Stream& stream, Rows<const float> y, Rows<const float> dy, Rows<float> dx, float temperature);

}  // namespace gatun

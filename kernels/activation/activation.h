// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gatun/activation.h"
#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

void activation_forward(const Stream& stream, int32_t function, Rows<const float> x, Rows<float> y);
void activation_backward(const Stream& stream, int32_t function, Rows<const float> x, Rows<const float> dy, Rows<float> dx);

}  // namespace gatun

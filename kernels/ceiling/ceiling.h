// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/common/stream.h"

namespace gatun {

// Returns the floating-point operations done.
int64_t ceiling_fma(const Stream& stream, int64_t iterations, float* result);
void ceiling_copy(const Stream& stream, const float* x, float* y, int64_t count);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/stream.h"

namespace gatun {

// flops receives the floating-point operations done.
void ceiling_fma(const Stream& stream, int64_t iterations, int64_t* flops, float* result);
void ceiling_copy(const Stream& stream, const float* x, float* y, int64_t count);
#if defined(GATUN_CUDA)
void ceiling_mma(const Stream& stream, int32_t dtype, int64_t iterations, int64_t* flops, float* result);
#endif

}  // namespace gatun

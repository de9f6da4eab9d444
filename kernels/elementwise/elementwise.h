// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gatun/elementwise.h"
#include "kernels/common/loops.h"
#include "kernels/common/stream.h"

namespace gatun {

enum ElementwiseOperand { kX = 0, kZ = 1, kY = 2 };

struct Elementwise {
  int32_t operation;  // GATUN_ELEMENTWISE_...
  float alpha, beta;
  int32_t x_dtype;
  Loops<3> loops;  // simplified, led by y
};

// y is f32; x any dtype that converts to it; z is f32 or NULL.
void elementwise(const Stream& stream, const Elementwise& call, const void* x, const float* z, float* y);

// A copy of elements of 1, 4 or 8 bytes; operand z of the loops is unused.
void strided_copy(const Stream& stream, const Loops<3>& loops, int64_t element_bytes, const void* x, void* y);

}  // namespace gatun

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
  int32_t x_dtype, z_dtype, y_dtype;  // z and y: f32; on CUDA any storage type
  Loops<3> loops;  // simplified, led by y
};

// x has any dtype that converts to f32, or is NULL (fill); z is NULL for operations on one input.
void elementwise(const Stream& stream, const Elementwise& call, const void* x, const void* z, void* y);

// A copy of elements of 1, 4 or 8 bytes, on CUDA also of 2; operand z of the loops is unused.
void strided_copy(const Stream& stream, const Loops<3>& loops, int64_t element_bytes, const void* x, void* y);

}  // namespace gatun

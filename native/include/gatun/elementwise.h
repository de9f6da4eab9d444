// SPDX-License-Identifier: Apache-2.0
/**
 * @file elementwise.h
 * One operation on every element, with broadcasting: arithmetic between tensors, scalar forms, copies between any two layouts
 * (contiguous(), conversion to f32) and fills.
 */
#ifndef GATUN_ELEMENTWISE_H
#define GATUN_ELEMENTWISE_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What gatun_elementwise computes. A NaN in an input is a NaN in the output, for MAXIMUM and MINIMUM too. */
enum {
  GATUN_ELEMENTWISE_COPY = 1,        /**< y = x; also between equal dtypes other than f32 */
  GATUN_ELEMENTWISE_FILL = 2,        /**< y = alpha; x is absent */
  GATUN_ELEMENTWISE_AFFINE = 3,      /**< y = alpha·x + beta, one rounding */
  GATUN_ELEMENTWISE_ACCUMULATE = 4,  /**< y = y + alpha·x, one rounding */
  GATUN_ELEMENTWISE_NEGATE = 5,      /**< y = −x */
  GATUN_ELEMENTWISE_ABSOLUTE = 6,    /**< y = |x| */
  GATUN_ELEMENTWISE_EXP = 7,         /**< y = eˣ, within 2 ulp; results below 2⁻¹²⁶ become 0 */
  GATUN_ELEMENTWISE_LOG = 8,         /**< y = ln x, within 2 ulp; −inf at 0, NaN below */
  GATUN_ELEMENTWISE_SQRT = 9,        /**< y = √x, correctly rounded; NaN below 0 */
  GATUN_ELEMENTWISE_SQUARE = 10,     /**< y = x² */
  GATUN_ELEMENTWISE_RECIPROCAL = 11, /**< y = 1/x, correctly rounded */
  GATUN_ELEMENTWISE_ADD = 12,        /**< y = x + z */
  GATUN_ELEMENTWISE_SUBTRACT = 13,   /**< y = x − z */
  GATUN_ELEMENTWISE_MULTIPLY = 14,   /**< y = x·z */
  GATUN_ELEMENTWISE_DIVIDE = 15,     /**< y = x / z, correctly rounded */
  GATUN_ELEMENTWISE_MAXIMUM = 16,    /**< y = max(x, z) */
  GATUN_ELEMENTWISE_MINIMUM = 17     /**< y = min(x, z) */
};

typedef struct gatun_elementwise_desc {
  uint32_t struct_size;
  int32_t operation;  /**< GATUN_ELEMENTWISE_... */
  float alpha;        /**< FILL, AFFINE, ACCUMULATE; else ignored */
  float beta;         /**< AFFINE; else ignored */
  gatun_layout x;     /**< f32, u8, i32 or i64 (converted to f32), any strides (0 too); absent for FILL; operations with two inputs: f32 */
  gatun_layout z;     /**< f32, any strides: second input of the operations with two; else absent */
  gatun_layout y;     /**< f32 of the result's shape, any strides without overlap; for COPY also x's dtype */
} gatun_elementwise_desc;

/**
 * Computes y from x (and z). An input broadcasts to y: dimensions are aligned at the last one; a missing dimension, or one of extent 1,
 * repeats. y may be x or z itself (same pointer and layout); any other overlap of y with an input gives undefined values.
 * An empty y is allowed. On CUDA bf16 and f16 may stand wherever f32 does, for each operand by itself: the result of f32 is rounded once;
 * EXP and LOG are within 2 ulp of f32 there as well.
 */
GATUN_API gatun_status gatun_elementwise(gatun_stream* stream, const gatun_elementwise_desc* desc, const void* x, const void* z, void* y,
                                         gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
/**
 * @file reduction.h
 * Sum, mean or maximum over any set of dimensions: one dimension, all of them, or those over which an operand was broadcast (the
 * gradient of a broadcast is the sum to its shape). Also the check that nothing became NaN or infinite.
 */
#ifndef GATUN_REDUCTION_H
#define GATUN_REDUCTION_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What gatun_reduction computes. */
enum {
  GATUN_REDUCTION_SUM = 1,    /**< 0 over nothing */
  GATUN_REDUCTION_MEAN = 2,   /**< NaN over nothing */
  GATUN_REDUCTION_MAXIMUM = 3 /**< −inf over nothing; NaN if any element is NaN */
};

typedef struct gatun_reduction_desc {
  uint32_t struct_size;
  int32_t operation;  /**< GATUN_REDUCTION_... */
  gatun_layout x;     /**< f32, on CUDA also bf16 or f16, any strides (0 too) */
  gatun_layout y;     /**< f32 or dtype of x, any strides without overlap. Dimensions are aligned with x's at the last one: a missing dimension, or one of
                           extent 1, is reduced over; the others have x's extents */
} gatun_reduction_desc;

typedef struct gatun_reduction_count_nonfinite_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout x;      /**< f32, on CUDA also bf16 or f16, any strides */
  gatun_layout count;  /**< i32 (1) */
} gatun_reduction_count_nonfinite_desc;

/** Bytes of workspace that gatun_reduction needs for this descriptor. */
GATUN_API gatun_status gatun_reduction_workspace(const gatun_reduction_desc* desc, size_t* bytes, gatun_error* error);

/**
 * Reduces x to y; sums are f32 at least, rounded once to y's dtype. Elements are combined in chunks of a fixed order: the bits do not depend on the number of threads, and the rounding
 * error grows with the chunk, not with the number of elements.
 */
GATUN_API gatun_status gatun_reduction(gatun_stream* stream, const gatun_reduction_desc* desc, const void* x, void* y, void* workspace,
                                       size_t workspace_bytes, gatun_error* error);

/** count = how many elements of x are NaN or infinite (at most 2³¹ − 1). Guards an update without a trip to the host. */
GATUN_API gatun_status gatun_reduction_count_nonfinite(gatun_stream* stream, const gatun_reduction_count_nonfinite_desc* desc, const void* x,
                                                       void* count, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
/**
 * @file pooling.h
 * Maximum and average pooling of channels-last images, forward and backward. A window of the whole image is global pooling.
 *
 * OH = ⌊(H + padding_top + padding_bottom − window_height) / stride_height⌋ + 1, OW likewise.
 * Storage: on the CPU f32; on CUDA f32, bf16 or f16, the same for x and y, sums in f32. On CUDA x and y have at most 2^31 - 2^16 pixels each,
 * and extents and steps are at most 2^29.
 */
#ifndef GATUN_POOLING_H
#define GATUN_POOLING_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  GATUN_POOLING_MAX = 1,    /**< the largest value of the window; padding never wins */
  GATUN_POOLING_AVERAGE = 2 /**< the mean of the window */
};

/** One descriptor for both directions: dx has the place of x, dy that of y. */
typedef struct gatun_pooling_desc {
  uint32_t struct_size;
  int32_t mode;              /**< GATUN_POOLING_MAX or GATUN_POOLING_AVERAGE */
  gatun_layout x;            /**< (B, H, W, C): x or dx; leading dimensions may be strided; B may be 0, the others not */
  gatun_layout y;            /**< (B, OH, OW, C), stored as x: y or dy; leading dimensions may be strided */
  gatun_layout argmax;       /**< MAX: i32 (B, OH, OW, C) contiguous, row · W + column of the winner in x; AVERAGE: GATUN_NONE */
  int32_t window_height;     /**< ≥ 1 */
  int32_t window_width;      /**< ≥ 1 */
  int32_t stride_height;     /**< ≥ 1 */
  int32_t stride_width;      /**< ≥ 1 */
  int32_t padding_top;       /**< 0 to window_height − 1, so that every window meets the image */
  int32_t padding_bottom;    /**< 0 to window_height − 1 */
  int32_t padding_left;      /**< 0 to window_width − 1 */
  int32_t padding_right;     /**< 0 to window_width − 1 */
  int32_t count_include_pad; /**< AVERAGE: 1 divides by the window's size, 0 by the number of its elements inside the image; MAX: 0 */
} gatun_pooling_desc;

/**
 * y = pooled x. MAX: the first maximum in row order wins, a NaN in the window gives NaN (its first one wins).
 * @param argmax written for MAX, NULL for AVERAGE
 */
GATUN_API gatun_status gatun_pooling_forward(gatun_stream* stream, const gatun_pooling_desc* desc, const void* x, void* y, void* argmax,
                                             gatun_error* error);

/**
 * dx from dy; overwrites dx. Each element of dx gathers from the windows that contain it, in row order.
 * @param argmax of the forward pass for MAX, NULL for AVERAGE
 */
GATUN_API gatun_status gatun_pooling_backward(gatun_stream* stream, const gatun_pooling_desc* desc, const void* dy, const void* argmax,
                                              void* dx, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

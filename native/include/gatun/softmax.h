// SPDX-License-Identifier: Apache-2.0
/**
 * @file softmax.h
 * Softmax of rows along the last dimension, with a temperature.
 *
 * All operands of a call are stored alike: f32, on CUDA also bf16 or f16.
 */
#ifndef GATUN_SOFTMAX_H
#define GATUN_SOFTMAX_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_softmax_desc {
  uint32_t struct_size;
  float temperature;  /**< positive, not subnormal; 1 for the plain softmax */
  gatun_layout x;     /**< (..., N), rows equally spaced */
  gatun_layout y;     /**< shape of x, written; may be x itself */
} gatun_softmax_desc;

typedef struct gatun_softmax_backward_desc {
  uint32_t struct_size;
  float temperature;  /**< as in the forward pass */
  gatun_layout y;     /**< (..., N): output of the forward pass */
  gatun_layout dy;    /**< shape of y */
  gatun_layout dx;    /**< shape of y, written; may be dy itself */
} gatun_softmax_backward_desc;

/** y = exp(x / temperature) / Σ exp(x / temperature). A row of only −inf becomes zeros; a row with a NaN or +inf becomes NaN. */
GATUN_API gatun_status gatun_softmax_forward(gatun_stream* stream, const gatun_softmax_desc* desc, const void* x, void* y,
                                             gatun_error* error);

/** dx = y·(dy − ⟨y, dy⟩) / temperature. */
GATUN_API gatun_status gatun_softmax_backward(gatun_stream* stream, const gatun_softmax_backward_desc* desc, const void* y, const void* dy,
                                              void* dx, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

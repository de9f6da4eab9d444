// SPDX-License-Identifier: Apache-2.0
/**
 * @file activation.h
 * The nonlinearities of networks, forward and backward. Backward passes take the input x, so that nothing else need be kept.
 * Operands are f32; on CUDA also bf16 or f16, all of a call alike. Errors in ulp are those of f32; in the half types a result is within
 * 1e-5 of its size before it is rounded.
 */
#ifndef GATUN_ACTIVATION_H
#define GATUN_ACTIVATION_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Which function. A NaN stays NaN in all of them. */
enum {
  GATUN_ACTIVATION_RELU = 1,    /**< max(x, 0); derivative 0 at 0 */
  GATUN_ACTIVATION_GELU = 2,    /**< x·Φ(x) with the exact normal distribution function (not the tanh form) */
  GATUN_ACTIVATION_SIGMOID = 3, /**< 1 / (1 + e⁻ˣ), within 4 ulp */
  GATUN_ACTIVATION_TANH = 4     /**< within 4 ulp */
};

typedef struct gatun_activation_desc {
  uint32_t struct_size;
  int32_t function;  /**< GATUN_ACTIVATION_... */
  gatun_layout x;    /**< (..., N), rows equally spaced */
  gatun_layout y;    /**< shape and dtype of x; may be x itself */
} gatun_activation_desc;

typedef struct gatun_activation_backward_desc {
  uint32_t struct_size;
  int32_t function;  /**< as in the forward pass */
  gatun_layout x;    /**< (..., N): input of the forward pass */
  gatun_layout dy;   /**< shape and dtype of x */
  gatun_layout dx;   /**< shape and dtype of x, written; may be dy itself */
} gatun_activation_backward_desc;

/** y = f(x) for each element. An empty x is allowed. */
GATUN_API gatun_status gatun_activation_forward(gatun_stream* stream, const gatun_activation_desc* desc, const void* x, void* y,
                                                gatun_error* error);

/** dx = dy·f′(x) for each element. */
GATUN_API gatun_status gatun_activation_backward(gatun_stream* stream, const gatun_activation_backward_desc* desc, const void* x,
                                                 const void* dy, void* dx, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

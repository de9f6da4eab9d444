// SPDX-License-Identifier: Apache-2.0
/**
 * @file layer_norm.h
 * Layer normalisation (Ba, Kiros and Hinton, 2016): each row has mean 0 and variance 1 before gamma and beta.
 *
 * x, y, dy and dx are stored alike: f32, on CUDA also bf16 or f16. Everything else is f32.
 */
#ifndef GATUN_LAYER_NORM_H
#define GATUN_LAYER_NORM_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_layer_norm_desc {
  uint32_t struct_size;
  float epsilon;       /**< added to the variance, positive; 1e-6 in vision transformers */
  gatun_layout x;      /**< (..., C), rows equally spaced */
  gatun_layout gamma;  /**< f32 (C), or absent: 1 */
  gatun_layout beta;   /**< f32 (C), or absent: 0 */
  gatun_layout y;      /**< shape of x, written; x itself only where no backward pass follows */
  gatun_layout mean;   /**< f32 (rows), written; for the backward pass */
  gatun_layout rstd;   /**< f32 (rows), written: 1 / sqrt(biased variance + epsilon); for the backward pass */
} gatun_layer_norm_desc;

typedef struct gatun_layer_norm_backward_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout x;       /**< (..., C): input of the forward pass */
  gatun_layout gamma;   /**< as in the forward pass */
  gatun_layout mean;    /**< f32 (rows) of the forward pass */
  gatun_layout rstd;    /**< f32 (rows) of the forward pass */
  gatun_layout dy;      /**< shape of x */
  gatun_layout dx;      /**< shape of x, written; may be dy itself */
  gatun_layout dgamma;  /**< f32 (C), written, or absent */
  gatun_layout dbeta;   /**< f32 (C), written, or absent */
} gatun_layer_norm_backward_desc;

/** y = (x − mean)·rstd·gamma + beta for each row. */
GATUN_API gatun_status gatun_layer_norm_forward(gatun_stream* stream, const gatun_layer_norm_desc* desc, const void* x, const void* gamma,
                                                const void* beta, void* y, void* mean, void* rstd, gatun_error* error);

/** Bytes of workspace for gatun_layer_norm_backward. */
GATUN_API gatun_status gatun_layer_norm_backward_workspace(const gatun_layer_norm_backward_desc* desc, size_t* bytes, gatun_error* error);

/**
 * With x̂ = (x − mean)·rstd and g = dy·gamma: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) for each row; dgamma = Σ dy·x̂ and dbeta = Σ dy
 * over the rows, in the same pass over memory.
 */
GATUN_API gatun_status gatun_layer_norm_backward(gatun_stream* stream, const gatun_layer_norm_backward_desc* desc, const void* x,
                                                 const void* gamma, const void* mean, const void* rstd, const void* dy, void* dx,
                                                 void* dgamma, void* dbeta, void* workspace, size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
/**
 * @file group_norm.h
 * Group normalisation (Wu and He, 2018): in each sample, each group of neighbouring channels has mean 0 and variance 1 over all
 * positions, before gamma and beta. Samples are independent of each other.
 *
 * x, y, dy and dx are stored alike: f32, on CUDA also bf16 or f16. Everything else is f32.
 */
#ifndef GATUN_GROUP_NORM_H
#define GATUN_GROUP_NORM_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_group_norm_desc {
  uint32_t struct_size;
  float epsilon;       /**< added to the variance, positive; 1e-5 is usual */
  int64_t groups;      /**< divides C; 1 normalises whole samples, C each channel (instance norm) */
  gatun_layout x;      /**< (B, ..., C), rank 2 or more, rows equally spaced */
  gatun_layout gamma;  /**< f32 (C), or absent: 1 */
  gatun_layout beta;   /**< f32 (C), or absent: 0 */
  gatun_layout y;      /**< shape of x, written; x itself only where no backward pass follows */
  gatun_layout mean;   /**< f32 (B, groups) contiguous, written; for the backward pass */
  gatun_layout rstd;   /**< f32 (B, groups) contiguous, written: 1 / sqrt(biased variance + epsilon) */
} gatun_group_norm_desc;

typedef struct gatun_group_norm_backward_desc {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t groups;       /**< as in the forward pass */
  gatun_layout x;       /**< (B, ..., C): input of the forward pass */
  gatun_layout gamma;   /**< as in the forward pass */
  gatun_layout mean;    /**< f32 (B, groups) of the forward pass */
  gatun_layout rstd;    /**< f32 (B, groups) of the forward pass */
  gatun_layout dy;      /**< shape of x */
  gatun_layout dx;      /**< shape of x, written; may be dy itself */
  gatun_layout dgamma;  /**< f32 (C), written, or absent */
  gatun_layout dbeta;   /**< f32 (C), written, or absent */
} gatun_group_norm_backward_desc;

/** Bytes of workspace for gatun_group_norm_forward. */
GATUN_API gatun_status gatun_group_norm_forward_workspace(const gatun_group_norm_desc* desc, size_t* bytes, gatun_error* error);

/** y = (x − mean)·rstd·gamma + beta with the mean and rstd of the element's sample and group. */
GATUN_API gatun_status gatun_group_norm_forward(gatun_stream* stream, const gatun_group_norm_desc* desc, const void* x, const void* gamma,
                                                const void* beta, void* y, void* mean, void* rstd, void* workspace,
                                                size_t workspace_bytes, gatun_error* error);

/** Bytes of workspace for gatun_group_norm_backward. */
GATUN_API gatun_status gatun_group_norm_backward_workspace(const gatun_group_norm_backward_desc* desc, size_t* bytes, gatun_error* error);

/**
 * With x̂ = (x − mean)·rstd and g = dy·gamma, means over the element's sample and group: dx = rstd·(g − mean(g) − x̂·mean(g·x̂));
 * dgamma = Σ dy·x̂ and dbeta = Σ dy over samples and positions.
 */
GATUN_API gatun_status gatun_group_norm_backward(gatun_stream* stream, const gatun_group_norm_backward_desc* desc, const void* x,
                                                 const void* gamma, const void* mean, const void* rstd, const void* dy, void* dx,
                                                 void* dgamma, void* dbeta, void* workspace, size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

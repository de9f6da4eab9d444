// SPDX-License-Identifier: Apache-2.0
/**
 * @file batch_norm.h
 * Batch normalisation (Ioffe and Szegedy, 2015) of rows with C channels: (B, H, W, C) images are B·H·W rows.
 *
 * Training is two calls each way, so that machines can join their sums between them:
 *   forward:  batch_norm_statistics (x → mean, centered), then batch_norm_forward;
 *   backward: batch_norm_backward_sums (→ dgamma, dbeta), then batch_norm_backward (→ dx).
 * Machines with n_i rows join by mean = Σ n_i mean_i / n and centered = Σ (centered_i + n_i (mean_i − mean)²); dgamma and dbeta by
 * their sums.
 *
 * x, y, dy, dx are (..., C) with rows equally spaced, stored alike: f32, on CUDA also bf16 or f16. The other operands are f32, (C)
 * contiguous. With `relu` 1, y = max(0, ·) and the backward calls mask dy where that was 0 (recomputed from x in f32, to the bit).
 *
 * The end of a residual block, y = max(0, norm(x) + residual), is one pass on the CPU: give `residual` to batch_norm_forward; give y to
 * batch_norm_backward_sums, which then writes dresidual = dy where y > 0; and call batch_norm_backward with relu 0 and dresidual as dy.
 * CUDA answers GATUN_UNSUPPORTED to these operands.
 */
#ifndef GATUN_BATCH_NORM_H
#define GATUN_BATCH_NORM_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_batch_norm_statistics_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout x;
  gatun_layout mean;      /**< (C), written: mean over the rows; 0 over no rows */
  gatun_layout centered;  /**< (C), written: Σ (x − mean)² over the rows */
} gatun_batch_norm_statistics_desc;

typedef struct gatun_batch_norm_desc {
  uint32_t struct_size;
  int32_t relu;                   /**< 0 or 1 */
  int64_t count;                  /**< rows that mean and centered are over (on all machines), at least 2 */
  double epsilon;                 /**< added to the variance, positive; 1e-5 is usual */
  gatun_layout x;
  gatun_layout mean;              /**< (C) of batch_norm_statistics */
  gatun_layout centered;          /**< (C) of batch_norm_statistics */
  gatun_layout gamma;             /**< (C) scale, or absent: 1 */
  gatun_layout beta;              /**< (C) shift, or absent: 0 */
  gatun_layout momentum;          /**< (1): running = (1 − momentum)·running + momentum·batch; absent with the running operands */
  gatun_layout running_mean;      /**< (C), updated in place, or absent */
  gatun_layout running_variance;  /**< (C), updated in place with the UNBIASED batch variance, or absent */
  gatun_layout rstd;              /**< (C), written: 1 / sqrt(biased variance + epsilon); for the backward pass */
  gatun_layout y;                 /**< shape of x, written */
  gatun_layout residual;          /**< shape of x, added before the rectifier, or absent; may be y itself */
} gatun_batch_norm_desc;

typedef struct gatun_batch_norm_inference_desc {
  uint32_t struct_size;
  int32_t relu;
  double epsilon;
  gatun_layout x;
  gatun_layout mean;      /**< (C) running mean */
  gatun_layout variance;  /**< (C) running variance */
  gatun_layout gamma;     /**< (C) or absent */
  gatun_layout beta;      /**< (C) or absent */
  gatun_layout y;         /**< shape of x, written; may be x itself */
} gatun_batch_norm_inference_desc;

typedef struct gatun_batch_norm_backward_sums_desc {
  uint32_t struct_size;
  int32_t relu;         /**< as in the forward pass */
  gatun_layout x;
  gatun_layout mean;    /**< (C) of the forward pass */
  gatun_layout rstd;    /**< (C) of the forward pass */
  gatun_layout gamma;   /**< (C) or absent */
  gatun_layout beta;    /**< (C) or absent */
  gatun_layout dy;      /**< shape of x */
  gatun_layout dgamma;  /**< (C), written: Σ dy·(x − mean)·rstd; needed by batch_norm_backward even without gamma */
  gatun_layout dbeta;   /**< (C), written: Σ dy */
  gatun_layout y;       /**< shape of x: of a forward pass with relu and residual; or absent: the mask is computed from x */
  gatun_layout dresidual; /**< shape of x, written: dy where y > 0; there with y only; may be dy itself */
} gatun_batch_norm_backward_sums_desc;

typedef struct gatun_batch_norm_backward_desc {
  uint32_t struct_size;
  int32_t relu;         /**< as in the forward pass */
  int64_t count;        /**< as in the forward pass */
  gatun_layout x;
  gatun_layout mean;    /**< (C) of the forward pass */
  gatun_layout rstd;    /**< (C) of the forward pass */
  gatun_layout gamma;   /**< (C) or absent */
  gatun_layout beta;    /**< (C) or absent */
  gatun_layout dy;      /**< shape of x */
  gatun_layout dgamma;  /**< (C) of batch_norm_backward_sums, over all machines */
  gatun_layout dbeta;   /**< (C) of batch_norm_backward_sums, over all machines */
  gatun_layout dx;      /**< shape of x, written; may be dy itself */
} gatun_batch_norm_backward_desc;

/** Bytes of workspace for gatun_batch_norm_statistics. */
GATUN_API gatun_status gatun_batch_norm_statistics_workspace(const gatun_batch_norm_statistics_desc* desc, size_t* bytes,
                                                             gatun_error* error);

/** Mean and centered sum of squares of each channel, in one pass over memory, without the cancellation of E[x²] − E[x]². */
GATUN_API gatun_status gatun_batch_norm_statistics(gatun_stream* stream, const gatun_batch_norm_statistics_desc* desc, const void* x,
                                                   void* mean, void* centered, void* workspace, size_t workspace_bytes,
                                                   gatun_error* error);

/** Training: y = (x − mean)·rstd·gamma + beta (+ residual); updates the running statistics. */
GATUN_API gatun_status gatun_batch_norm_forward(gatun_stream* stream, const gatun_batch_norm_desc* desc, const void* x, const void* mean,
                                                const void* centered, const void* gamma, const void* beta, const void* momentum,
                                                void* running_mean, void* running_variance, void* rstd, void* y, const void* residual,
                                                gatun_error* error);

/** y = (x − mean) / sqrt(variance + epsilon)·gamma + beta with the running statistics. */
GATUN_API gatun_status gatun_batch_norm_inference(gatun_stream* stream, const gatun_batch_norm_inference_desc* desc, const void* x,
                                                  const void* mean, const void* variance, const void* gamma, const void* beta, void* y,
                                                  gatun_error* error);

/** Bytes of workspace for gatun_batch_norm_backward_sums. */
GATUN_API gatun_status gatun_batch_norm_backward_sums_workspace(const gatun_batch_norm_backward_sums_desc* desc, size_t* bytes,
                                                                gatun_error* error);

/** The sums over rows that the gradient needs; they are the gradients of gamma and beta too. */
GATUN_API gatun_status gatun_batch_norm_backward_sums(gatun_stream* stream, const gatun_batch_norm_backward_sums_desc* desc, const void* x,
                                                      const void* mean, const void* rstd, const void* gamma, const void* beta,
                                                      const void* dy, void* dgamma, void* dbeta, const void* y, void* dresidual,
                                                      void* workspace, size_t workspace_bytes, gatun_error* error);

/** dx = gamma·rstd·(dy − (dbeta + x̂·dgamma) / count), x̂ = (x − mean)·rstd. */
GATUN_API gatun_status gatun_batch_norm_backward(gatun_stream* stream, const gatun_batch_norm_backward_desc* desc, const void* x,
                                                 const void* mean, const void* rstd, const void* gamma, const void* beta, const void* dy,
                                                 const void* dgamma, const void* dbeta, void* dx, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

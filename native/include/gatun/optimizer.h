// SPDX-License-Identifier: Apache-2.0
/**
 * @file optimizer.h
 * Parameter updates over flat buffers: all tensors of a model in one sweep.
 *
 * Values, gradients and state are f32 buffers of the same n elements. Tensor t is elements offsets[t] .. offsets[t+1]-1;
 * offsets start at 0, never fall, and end at n (padding between tensors belongs to the tensor before it: zeros stay zeros).
 * Per tensor, each optional: rate_scale multiplies the learning rate, decay_scale the weight decay (0 = no decay, as for biases
 * and norm weights), adapt switches the layer-wise adaptation of LARS and LARC.
 *
 * Learning rate, step number, EMA momentum, gradient scale and the skip flag are read through pointers, so that a recorded step
 * can be replayed. Skip (optional, i32): when not 0, the call leaves every buffer as it is; set it when the loss was not finite.
 * On the CPU, offsets and step are checked before anything is written. On CUDA these and all numbers behind pointers are device
 * memory: values become NaN where offsets do not rise from 0 to n or step is below 1. Buffers of one call must not overlap.
 * Results are the same bits for any number of threads, and a tensor's do not depend on its place in the buffer.
 */
#ifndef GATUN_OPTIMIZER_H
#define GATUN_OPTIMIZER_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_optimizer_adamw_desc {
  uint32_t struct_size;
  uint32_t reserved;
  float beta1;        /**< decay of the first moment, in [0, 1) */
  float beta2;        /**< decay of the second moment, in [0, 1) */
  float epsilon;      /**< added to the root of the second moment, > 0 */
  float weight_decay; /**< decoupled: value *= 1 - learning_rate * weight_decay, >= 0 */
  gatun_layout values;         /**< f32 (n), updated */
  gatun_layout gradients;      /**< f32 (n) */
  gatun_layout first_moment;   /**< f32 (n), updated; zeros before the first step */
  gatun_layout second_moment;  /**< f32 (n), updated; zeros before the first step */
  gatun_layout offsets;        /**< i64 (T + 1) */
  gatun_layout rate_scale;     /**< f32 (T) or none: 1 */
  gatun_layout decay_scale;    /**< f32 (T) or none: 1 */
  gatun_layout learning_rate;  /**< f32 (1) */
  gatun_layout step;           /**< i64 (1): number of this update, from 1; bias correction divides by 1 - beta^step */
  gatun_layout gradient_scale; /**< f32 (1) or none: gradients are multiplied by it first (clipping, accumulation) */
  gatun_layout skip;           /**< i32 (1) or none */
} gatun_optimizer_adamw_desc;

typedef struct gatun_optimizer_sgd_desc {
  uint32_t struct_size;
  int32_t nesterov;            /**< not 0: step along gradient + momentum * velocity */
  float momentum;              /**< in [0, 1) */
  float weight_decay;          /**< coupled: gradient + weight_decay * value, >= 0 */
  gatun_layout values;         /**< f32 (n), updated */
  gatun_layout gradients;      /**< f32 (n) */
  gatun_layout velocity;       /**< f32 (n), updated; zeros before the first step */
  gatun_layout offsets;        /**< i64 (T + 1) */
  gatun_layout rate_scale;     /**< f32 (T) or none: 1 */
  gatun_layout decay_scale;    /**< f32 (T) or none: 1 */
  gatun_layout learning_rate;  /**< f32 (1) */
  gatun_layout gradient_scale; /**< f32 (1) or none */
  gatun_layout skip;           /**< i32 (1) or none */
} gatun_optimizer_sgd_desc;

/** Shared by LARS and LARC. */
typedef struct gatun_optimizer_lars_desc {
  uint32_t struct_size;
  float momentum;              /**< in [0, 1) */
  float weight_decay;          /**< >= 0 */
  float trust;                 /**< trust coefficient (eta), > 0; 0.001 is usual */
  gatun_layout values;         /**< f32 (n), updated */
  gatun_layout gradients;      /**< f32 (n) */
  gatun_layout velocity;       /**< f32 (n), updated; zeros before the first step; the learning rate is not in it */
  gatun_layout offsets;        /**< i64 (T + 1) */
  gatun_layout rate_scale;     /**< f32 (T) or none: 1 */
  gatun_layout decay_scale;    /**< f32 (T) or none: 1 */
  gatun_layout adapt;          /**< u8 (T) or none: adapt all; 0 = this tensor's factor is 1 (LARS: biases and norm weights) */
  gatun_layout learning_rate;  /**< f32 (1) */
  gatun_layout gradient_scale; /**< f32 (1) or none */
  gatun_layout skip;           /**< i32 (1) or none */
} gatun_optimizer_lars_desc;

typedef struct gatun_optimizer_ema_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout average;  /**< f32 (n), updated */
  gatun_layout values;   /**< f32 (n) */
  gatun_layout momentum; /**< f32 (1) */
  gatun_layout skip;     /**< i32 (1) or none */
} gatun_optimizer_ema_desc;

typedef struct gatun_optimizer_advance_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout step; /**< i64 (1), updated */
  gatun_layout skip; /**< i32 (1) or none */
} gatun_optimizer_advance_desc;

typedef struct gatun_optimizer_gradient_norm_desc {
  uint32_t struct_size;
  float max_norm;         /**< norm above which scale shrinks the gradient, > 0; infinity never does */
  gatun_layout gradients; /**< f32 (n) */
  gatun_layout norm;      /**< f32 (1), written */
  gatun_layout scale;     /**< f32 (1) or none, written: min(1, max_norm / norm), for an update's gradient_scale */
  gatun_layout skip;      /**< i32 (1) or none: set to 1 when the norm is not finite, else left as it is */
} gatun_optimizer_gradient_norm_desc;

/**
 * AdamW (Loshchilov, Hutter, 2019, algorithm 2):
 * p *= 1 - lr*wd; m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g*g; p -= lr * m/(1-beta1^step) / (sqrt(v/(1-beta2^step)) + epsilon).
 */
GATUN_API gatun_status gatun_optimizer_adamw(gatun_stream* stream, const gatun_optimizer_adamw_desc* desc, void* values,
                                             const void* gradients, void* first_moment, void* second_moment, const void* offsets,
                                             const void* rate_scale, const void* decay_scale, const void* learning_rate,
                                             const void* step, const void* gradient_scale, const void* skip, gatun_error* error);

/** Stochastic gradient descent: u = g + wd*p; m = momentum*m + u; p -= lr * (nesterov ? u + momentum*m : m). */
GATUN_API gatun_status gatun_optimizer_sgd(gatun_stream* stream, const gatun_optimizer_sgd_desc* desc, void* values,
                                           const void* gradients, void* velocity, const void* offsets, const void* rate_scale,
                                           const void* decay_scale, const void* learning_rate, const void* gradient_scale,
                                           const void* skip, gatun_error* error);

/** Bytes of workspace that gatun_optimizer_lars and gatun_optimizer_larc need. */
GATUN_API gatun_status gatun_optimizer_lars_workspace(const gatun_optimizer_lars_desc* desc, size_t* bytes, gatun_error* error);

/**
 * LARS (You, Gitman, Ginsburg, 2017, as BYOL uses it): u = g + wd*p; u *= trust*|p|/|u| per adapted tensor (1 if a norm is 0);
 * m = momentum*m + u; p -= lr*m. Give biases and norm weights decay_scale 0 and adapt 0.
 */
GATUN_API gatun_status gatun_optimizer_lars(gatun_stream* stream, const gatun_optimizer_lars_desc* desc, void* values,
                                            const void* gradients, void* velocity, const void* offsets, const void* rate_scale,
                                            const void* decay_scale, const void* adapt, const void* learning_rate,
                                            const void* gradient_scale, const void* skip, void* workspace, size_t workspace_bytes,
                                            gatun_error* error);

/**
 * LARC without clipping (as SwAV uses it, on every tensor): u = (g + wd*p) * trust*|p| / (|g| + wd*|p| + 1e-8) per adapted tensor
 * (u = g if a norm is 0); m = momentum*m + u; p -= lr*m.
 */
GATUN_API gatun_status gatun_optimizer_larc(gatun_stream* stream, const gatun_optimizer_lars_desc* desc, void* values,
                                            const void* gradients, void* velocity, const void* offsets, const void* rate_scale,
                                            const void* decay_scale, const void* adapt, const void* learning_rate,
                                            const void* gradient_scale, const void* skip, void* workspace, size_t workspace_bytes,
                                            gatun_error* error);

/** Exponential moving average: average = momentum*average + (1 - momentum)*values. */
GATUN_API gatun_status gatun_optimizer_ema(gatun_stream* stream, const gatun_optimizer_ema_desc* desc, void* average,
                                           const void* values, const void* momentum, const void* skip, gatun_error* error);

/** step += 1: the number of the update that follows, counted where the update reads it. */
GATUN_API gatun_status gatun_optimizer_advance(gatun_stream* stream, const gatun_optimizer_advance_desc* desc, void* step, const void* skip,
                                               gatun_error* error);

/** Bytes of workspace that gatun_optimizer_gradient_norm needs. */
GATUN_API gatun_status gatun_optimizer_gradient_norm_workspace(const gatun_optimizer_gradient_norm_desc* desc, size_t* bytes,
                                                               gatun_error* error);

/** Euclidean norm of the whole gradient, and the scale that clips it. */
GATUN_API gatun_status gatun_optimizer_gradient_norm(gatun_stream* stream, const gatun_optimizer_gradient_norm_desc* desc,
                                                     const void* gradients, void* norm, void* scale, void* skip, void* workspace,
                                                     size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

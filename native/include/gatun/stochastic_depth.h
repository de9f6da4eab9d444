// SPDX-License-Identifier: Apache-2.0
/**
 * @file stochastic_depth.h
 * Residual branches that are dropped at random for each sample (Huang et al., 2016), in two forms:
 *  - masked: every sample runs through the branch; a mask keeps it with probability 1 - rate, scaled by 1 / (1 - rate);
 *  - subset (DINOv2: Oquab et al., 2023): a random max(floor(B (1 - rate)), 1) of the B samples runs through it, the others cost nothing;
 *    what it adds is scaled by B / n.
 * Both join the branch to its input by gatun_stochastic_depth_forward, with the scale of LayerScale (gamma) fused.
 * The decisions are a function of (key, sample id): the same on every device and for any number of threads.
 * Where "f32" is marked with * CUDA also takes bf16 and f16, all of a call alike; it computes in f32.
 * Indices out of range are an error on the CPU. CUDA reads them when the operation runs: forward, everything that the call writes is NaN (y; in
 * place, those rows of y that something is added to); backward, its row of dresidual and all of dgamma.
 */
#ifndef GATUN_STOCHASTIC_DEPTH_H
#define GATUN_STOCHASTIC_DEPTH_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_stochastic_depth_mask_desc {
  uint32_t struct_size;
  float rate;        /**< probability that a sample is dropped, in [0, 1) */
  int64_t first_id;  /**< sample id of row 0 when ids is absent; row r then has first_id + r */
  gatun_layout ids;  /**< i64 (B): global sample ids; GATUN_NONE: first_id + row. Equal ids share their decision */
  gatun_layout mask; /**< f32 (B): receives 0 or 1 / (1 - rate) */
} gatun_stochastic_depth_mask_desc;

typedef struct gatun_stochastic_depth_subset_desc {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t samples;      /**< B, at most 2^31 - 1 */
  int64_t first_id;     /**< as in gatun_stochastic_depth_mask_desc */
  gatun_layout ids;     /**< i64 (B) or GATUN_NONE */
  gatun_layout indices; /**< i32 (n), n <= B: receives the rows of the samples that are kept, no row twice */
} gatun_stochastic_depth_subset_desc;

typedef struct gatun_stochastic_depth_desc {
  uint32_t struct_size;
  float scale;           /**< what everything added is multiplied by: B / n for a subset, 1 with a mask */
  gatun_layout x;        /**< f32* (B, ..., C), each sample contiguous */
  gatun_layout residual; /**< f32* (n, ..., C) */
  gatun_layout indices;  /**< i32 (n), each in [0, B): sample of each residual; GATUN_NONE: residual i belongs to sample i, n = B */
  gatun_layout mask;     /**< f32 (n) or GATUN_NONE: factor of each residual; a residual with factor 0 is not read */
  gatun_layout gamma;    /**< f32 (C) or GATUN_NONE: factor of each channel */
  gatun_layout y;        /**< shape and dtype of x; may be x itself */
} gatun_stochastic_depth_desc;

typedef struct gatun_stochastic_depth_backward_desc {
  uint32_t struct_size;
  float scale;            /**< as in the forward pass, like all operands of the same name */
  gatun_layout dy;        /**< f32* (B, ..., C) */
  gatun_layout residual;  /**< f32* (n, ..., C); GATUN_NONE where dgamma is absent */
  gatun_layout indices;
  gatun_layout mask;
  gatun_layout gamma;
  gatun_layout dresidual; /**< f32* (n, ..., C), on CUDA at most 2^30 positions a sample; must not be dy */
  gatun_layout dgamma;    /**< f32 (C) or GATUN_NONE */
} gatun_stochastic_depth_backward_desc;

/** Masks: mask[b] = 0 where draw 0 of the sample is below rate, else 1 / (1 - rate). */
GATUN_API gatun_status gatun_stochastic_depth_mask(gatun_stream* stream, const gatun_stochastic_depth_mask_desc* desc,
                                                   const gatun_random_key* key, const void* ids, void* mask, gatun_error* error);

/** Bytes of workspace that gatun_stochastic_depth_subset needs. */
GATUN_API gatun_status gatun_stochastic_depth_subset_workspace(const gatun_stochastic_depth_subset_desc* desc, size_t* bytes,
                                                               gatun_error* error);

/**
 * Subsets: the rows of the n samples whose 64-bit random keys (as in gatun_random_permutation, by sample id) are smallest, in the order
 * of these keys; equal keys in the order of the rows.
 */
GATUN_API gatun_status gatun_stochastic_depth_subset(gatun_stream* stream, const gatun_stochastic_depth_subset_desc* desc,
                                                     const gatun_random_key* key, const void* ids, void* indices, void* workspace,
                                                     size_t workspace_bytes, gatun_error* error);

/**
 * y = x, then y[indices[i]] += scale * mask[i] * gamma * residual[i] for each i, in this order. On the CPU an index out of range
 * is an error that names it. Without indices, mask and gamma this is a scaled addition; with indices alone, a scatter-add of rows.
 */
GATUN_API gatun_status gatun_stochastic_depth_forward(gatun_stream* stream, const gatun_stochastic_depth_desc* desc, const void* x,
                                                      const void* residual, const void* indices, const void* mask, const void* gamma,
                                                      void* y, gatun_error* error);

/** Bytes of workspace that gatun_stochastic_depth_backward needs. */
GATUN_API gatun_status gatun_stochastic_depth_backward_workspace(const gatun_stochastic_depth_backward_desc* desc, size_t* bytes,
                                                                 gatun_error* error);

/**
 * dresidual[i] = scale * mask[i] * gamma * dy[indices[i]] and dgamma = sum over samples and positions of
 * scale * mask[i] * residual[i] * dy[indices[i]]. The gradient of x is dy itself.
 */
GATUN_API gatun_status gatun_stochastic_depth_backward(gatun_stream* stream, const gatun_stochastic_depth_backward_desc* desc,
                                                       const void* dy, const void* residual, const void* indices, const void* mask,
                                                       const void* gamma, void* dresidual, void* dgamma, void* workspace,
                                                       size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

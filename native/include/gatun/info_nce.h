// SPDX-License-Identifier: Apache-2.0
/**
 * @file info_nce.h
 * The contrastive loss InfoNCE (van den Oord et al., 2018) in the forms NT-Xent (SimCLR: Chen et al., 2020, equation 1) and supervised
 * (SupCon: Khosla et al., 2020, equation 2), without the N×M matrix of scores: log-sum-exp is computed online over tiles, and the
 * backward pass recomputes the scores from the rows and the log-sum-exp.
 *
 * Every row has a group; the positives of a query are the keys of its own group. A group below 0 means none: the row has no positives,
 * but is a negative of the others.
 *  - Two operands: the queries q are compared with all keys k; P(i) = {j : group of key j = group of query i ≥ 0}.
 *  - Self form, k absent: the queries are the keys, and no row is compared with itself; P(i) excludes i.
 *
 * With s_ij = q_i·k_j / temperature and lse_i = log Σ_j exp(s_ij) over the keys that i is compared with,
 * loss_i = lse_i − mean of s_ij over P(i), and 0 where P(i) is empty. SimCLR: the two views of an image are a group. SupCon: the rows of a
 * label are a group. Rows need not have unit length, though both methods normalise them.
 *
 * A query that is compared with nothing (no keys; a single row in the self form) has loss 0 and lse −∞. NaN in a row makes the lse of
 * each row that sees it NaN, and the loss of those that have positives. Results are the same bits for any number of threads. Scores, losses
 * and sums are f32; products of bf16 and f16 rows are made on tensor cores.
 */
#ifndef GATUN_INFO_NCE_H
#define GATUN_INFO_NCE_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_info_nce_desc {
  uint32_t struct_size;
  float temperature;          /**< positive, not subnormal */
  gatun_layout q;             /**< f32, on CUDA also bf16 and f16 (N, D), D ≥ 1 */
  gatun_layout k;             /**< as q (M, D); or absent: the self form */
  gatun_layout query_groups;  /**< i32 (N) */
  gatun_layout key_groups;    /**< i32 (M); absent in the self form */
  gatun_layout loss;          /**< f32 (N), written */
  gatun_layout lse;           /**< optional: f32 (N), written; kept for the backward pass */
  gatun_layout positives;     /**< optional: i32 (N), written: the number of positives of each query; kept for the backward pass */
} gatun_info_nce_desc;

typedef struct gatun_info_nce_backward_desc {
  uint32_t struct_size;
  float temperature;          /**< as in the forward pass, as are the following */
  gatun_layout q;
  gatun_layout k;
  gatun_layout query_groups;
  gatun_layout key_groups;
  gatun_layout lse;           /**< of the forward pass */
  gatun_layout positives;     /**< of the forward pass */
  gatun_layout dloss;         /**< f32 (N), any stride (0: one value for all rows): gradient of each row's loss */
  gatun_layout dq;            /**< shape and dtype of q, written */
  gatun_layout dk;            /**< two operands only, optional: shape and dtype of k, written */
} gatun_info_nce_backward_desc;

/** Bytes of workspace that gatun_info_nce_forward needs on this stream; it does not grow with N·M. */
GATUN_API gatun_status gatun_info_nce_forward_workspace(gatun_stream* stream, const gatun_info_nce_desc* desc, size_t* bytes,
                                                        gatun_error* error);

/**
 * The loss of each query, its log-sum-exp (natural, of s) and its number of positives. The outputs must not overlap the inputs.
 * @param workspace aligned to 64 bytes
 */
GATUN_API gatun_status gatun_info_nce_forward(gatun_stream* stream, const gatun_info_nce_desc* desc, const void* q, const void* k,
                                              const void* query_groups, const void* key_groups, void* loss, void* lse, void* positives,
                                              void* workspace, size_t workspace_bytes, gatun_error* error);

/** Bytes of workspace that gatun_info_nce_backward needs on this stream; it does not grow with N·M. */
GATUN_API gatun_status gatun_info_nce_backward_workspace(gatun_stream* stream, const gatun_info_nce_backward_desc* desc, size_t* bytes,
                                                         gatun_error* error);

/**
 * With G_ij = dloss_i / temperature · (exp(s_ij − lse_i) − [j ∈ P(i)] / |P(i)|), 0 where P(i) is empty: dq = G·k and dk = Gᵀ·q; in the self
 * form dq = (G + Gᵀ)·q, a row being query and key at once. The gradients must not overlap each other or the inputs.
 * @param workspace aligned to 64 bytes
 */
GATUN_API gatun_status gatun_info_nce_backward(gatun_stream* stream, const gatun_info_nce_backward_desc* desc, const void* q, const void* k,
                                               const void* query_groups, const void* key_groups, const void* lse, const void* positives,
                                               const void* dloss, void* dq, void* dk, void* workspace, size_t workspace_bytes,
                                               gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

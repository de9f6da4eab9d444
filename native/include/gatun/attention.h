// SPDX-License-Identifier: Apache-2.0
/**
 * @file attention.h
 * Scaled dot-product attention, softmax(scale·q·kᵀ + bias)·v (Vaswani et al. 2017, equation 1), without the N×N matrix:
 * the softmax is computed online over tiles of keys, and the backward pass recomputes the scores from q, k and the
 * log-sum-exp of the forward pass (Dao et al. 2022).
 *
 * Two forms, told apart by the rank of q:
 *  - batched, rank 4: q (B, Nq, H, D), k and v (B, Nk, H, D); the offsets are absent.
 *  - ragged, rank 3: q (Tq, H, D), k and v (Tk, H, D), with S sequences given by offsets i32 (S + 1): sequence s attends
 *    from rows query_offsets[s] … query_offsets[s+1]-1 of q to rows key_offsets[s] … key_offsets[s+1]-1 of k and v, and to
 *    no others. Offsets do not decrease and stay within 0 … T. Rows before the first and behind the last offset belong to no
 *    sequence: their output is 0, their log-sum-exp −∞, their gradients 0. Crops of several lengths, or batches with masked
 *    (padded) keys, are one call.
 *
 * Every operand may be a strided view, for example of one (B, N, 3, H, D) buffer; only its last dimension is contiguous.
 *
 * Causal: query i sees keys j ≤ i + (Nk − Nq), per sequence: the last query sees all keys (bottom-right alignment).
 *
 * A query that sees no key (no keys, causal with Nk < Nq, or a bias of −∞ everywhere) gives output 0, log-sum-exp −∞ and
 * gradient 0. NaN propagates to every row that sees it; q, k, v at masked places must still be numbers (0·NaN is NaN).
 * Exclude keys with a bias of −∞. A finite bias beyond ±2.3e38 counts as infinite.
 *
 * Storage: f32; on CUDA q, k, v, out and their gradients are f32, bf16 or f16, all alike, with f32 arithmetic. Probabilities and score
 * gradients are rounded to that type before they are multiplied. The bias, the log-sum-exp and dbias are always f32.
 *
 * Results are the same bits for any number of threads, and in every run on CUDA.
 *
 * On CUDA, offsets lie in device memory and are checked there: where they decrease or leave 0 … T, nothing outside the operands is
 * touched and all outputs (and gradients) are NaN. No extent may exceed 2^30. The log-sum-exp may be that of a forward pass on another device.
 */
#ifndef GATUN_ATTENTION_H
#define GATUN_ATTENTION_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Largest head dimension D. */
#define GATUN_ATTENTION_MAX_DEPTH 128

typedef struct gatun_attention_desc {
  uint32_t struct_size;
  int32_t causal;               /**< 0 or 1 */
  float scale;                  /**< finite; 1/√D is usual */
  uint32_t reserved;
  gatun_layout q;               /**< f32 (on CUDA also bf16, f16) (B, Nq, H, D) or (Tq, H, D); 1 ≤ D ≤ GATUN_ATTENTION_MAX_DEPTH */
  gatun_layout k;               /**< as q: (B, Nk, H, D) or (Tk, H, D) */
  gatun_layout v;               /**< as q, shape of k */
  gatun_layout bias;            /**< batched form only, optional: f32 (B, H, Nq, Nk), added to the scaled scores. The first three extents
                                     may each be 1 (broadcast); stride 0 is allowed too */
  gatun_layout query_offsets;   /**< ragged form only: i32 (S + 1) */
  gatun_layout key_offsets;     /**< ragged form only: i32 (S + 1); may be query_offsets itself */
  gatun_layout out;             /**< as q, shape of q */
  gatun_layout log_sum_exp;     /**< optional: f32 (B, H, Nq) or (H, Tq): log Σⱼ exp(scoreᵢⱼ), kept for the backward pass */
} gatun_attention_desc;

typedef struct gatun_attention_backward_desc {
  uint32_t struct_size;
  int32_t causal;               /**< as in the forward pass, as are the following */
  float scale;
  uint32_t reserved;
  gatun_layout q;
  gatun_layout k;
  gatun_layout v;
  gatun_layout bias;
  gatun_layout query_offsets;
  gatun_layout key_offsets;
  gatun_layout out;             /**< output of the forward pass */
  gatun_layout log_sum_exp;     /**< of the forward pass; required */
  gatun_layout dout;            /**< as q, shape of out */
  gatun_layout dq;              /**< as q, shape of q */
  gatun_layout dk;              /**< as q, shape of k */
  gatun_layout dv;              /**< f32, shape of v */
  gatun_layout dbias;           /**< optional: f32, shape of bias; where an extent of bias is 1, the sum over what it was broadcast to
                                     (batch, heads, queries, any of them together), in ascending order. A bias that was broadcast by stride 0
                                     instead gets a gradient of its full shape, unsummed */
} gatun_attention_backward_desc;

/**
 * Bytes of workspace that gatun_attention_forward needs on this stream: a few hundred KiB a thread, whatever the sequence
 * lengths; on CUDA 0 (batched) or a few bytes for each tile of rows (ragged). The pointers of offsets are not needed.
 */
GATUN_API gatun_status gatun_attention_forward_workspace(gatun_stream* stream, const gatun_attention_desc* desc, size_t* bytes,
                                                         gatun_error* error);

/**
 * out = softmax(scale·q·kᵀ + bias)·v for each batch entry (or sequence) and head.
 * out and log_sum_exp must not overlap the inputs.
 * @param workspace aligned to 64 bytes
 */
GATUN_API gatun_status gatun_attention_forward(gatun_stream* stream, const gatun_attention_desc* desc, const void* q, const void* k,
                                               const void* v, const void* bias, const void* query_offsets, const void* key_offsets,
                                               void* out, void* log_sum_exp, void* workspace, size_t workspace_bytes,
                                               gatun_error* error);

/** Bytes of workspace that gatun_attention_backward needs on this stream; below 2 MiB a thread, on CUDA 8 bytes for each query of each head. */
GATUN_API gatun_status gatun_attention_backward_workspace(gatun_stream* stream, const gatun_attention_backward_desc* desc, size_t* bytes,
                                                          gatun_error* error);

/**
 * Writes dq, dk, dv and, if present, dbias. With P = exp(scale·q·kᵀ + bias − log_sum_exp), δ = rowsum(dout∘out) and
 * dS = P∘(dout·vᵀ − δ): dq = scale·dS·k, dk = scale·dSᵀ·q, dv = Pᵀ·dout, dbias = dS. dbias costs two more products of the five.
 * `out` is what the forward pass wrote: δ is also rowsum(P∘(dout·vᵀ)), from which few keys are computed.
 * The gradients must not overlap each other or the inputs (but may be views of one buffer).
 * @param workspace aligned to 64 bytes
 */
GATUN_API gatun_status gatun_attention_backward(gatun_stream* stream, const gatun_attention_backward_desc* desc, const void* q,
                                                const void* k, const void* v, const void* bias, const void* query_offsets,
                                                const void* key_offsets, const void* out, const void* log_sum_exp, const void* dout,
                                                void* dq, void* dk, void* dv, void* dbias, void* workspace, size_t workspace_bytes,
                                                gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
/**
 * @file matmul.h
 * Matrix product with what stands before and behind it in a network: c = E(P(a) · Q(b)).
 *
 * P and Q work on the operands while they are packed for the product, E on its blocks before they are written, so neither a normalised
 * nor an activated matrix is ever stored. CPU only: on CUDA the answer is GATUN_UNSUPPORTED, and the same is composed of other operations.
 */
#ifndef GATUN_MATMUL_H
#define GATUN_MATMUL_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What happens to an operand on the way in. */
enum {
  GATUN_MATMUL_AS_IS = 0,
  /**
   * Layer normalisation as in layer_norm.h. Of a: each row over K, and its mean and rstd are written. Of b: row k with mean[k] and rstd[k],
   * which are read. The operand has contiguous rows. At most one of a and b.
   */
  GATUN_MATMUL_LAYER_NORM = 1,
  GATUN_MATMUL_GELU = 2 /**< x·Φ(x), exact */
};

/** What happens to the product. */
enum {
  GATUN_MATMUL_LINEAR = 0,
  GATUN_MATMUL_TO_GELU = 1,      /**< x·Φ(x) of the product and its bias, which hidden keeps if it is there */
  GATUN_MATMUL_GELU_GRADIENT = 2 /**< the product times the derivative of x·Φ(x) at hidden, which is read */
};

typedef struct gatun_matmul_desc {
  uint32_t struct_size;
  int32_t a_prologue;
  int32_t b_prologue;
  int32_t activation;
  int32_t accumulate;      /**< 1: results are added to c and to a_sums; 0: they are overwritten */
  float epsilon;           /**< of LAYER_NORM of a: added to the variance, positive; else not looked at */
  gatun_layout a;          /**< f32 (M, K): rows or columns contiguous (a transposed view), each extent below 2^31 */
  gatun_layout b;          /**< f32 (K, N): likewise */
  gatun_layout c;          /**< f32 (M, N): rows contiguous */
  gatun_layout mean;       /**< f32 (M) written, or (K) read: of LAYER_NORM, else absent */
  gatun_layout rstd;       /**< the same: 1 / sqrt(biased variance + epsilon) */
  gatun_layout gamma;      /**< f32 (channels): of LAYER_NORM, K of a or N of b; or absent: 1 */
  gatun_layout beta;       /**< f32 (channels): or absent: 0 */
  gatun_layout scale_m;    /**< f32 (S), S divides M: a(m, k) is multiplied by scale_m[m / (M / S)]; or absent. Only where a is taken as it is */
  gatun_layout scale_k;    /**< f32 (S), S divides K: and by scale_k[k / (K / S)]; or absent */
  gatun_layout bias;       /**< f32 (N), or absent */
  gatun_layout hidden;     /**< f32 (M, N), rows contiguous: TO_GELU: written, or absent; GELU_GRADIENT: read */
  gatun_layout factor_m;   /**< f32 (S), S divides M, or absent */
  gatun_layout factor_n;   /**< f32 (N), or absent */
  gatun_layout residual;   /**< f32 (M, N), rows contiguous, or absent; may be c itself unless accumulate is set */
  gatun_layout a_sums;     /**< f32 (M), or absent: written with the sums over K of what a is multiplied with */
} gatun_matmul_desc;

/** Bytes of workspace for gatun_matmul; they grow with the stream's number of threads. */
GATUN_API gatun_status gatun_matmul_workspace(gatun_stream* stream, const gatun_matmul_desc* desc, size_t* bytes, gatun_error* error);

/**
 * v = Σ_k P(a)(m, k)·Q(b)(k, n) + bias[n]; v is kept in hidden where asked for; v = activation(v); v = v·factor_m[m / (M / S)]·factor_n[n] +
 * residual(m, n); c = v, or c + v with accumulate. With a = dyᵀ and b = x, a_sums is the gradient of the bias beside that of the weights.
 * With K = 0 the sum is 0. Empty matrices are allowed. The same bits for any number of threads. Nothing that is written overlaps
 * anything else, except c and residual, which may be the same.
 */
GATUN_API gatun_status gatun_matmul(gatun_stream* stream, const gatun_matmul_desc* desc, const void* a, const void* b, void* c, void* mean,
                                    void* rstd, const void* gamma, const void* beta, const void* scale_m, const void* scale_k,
                                    const void* bias, void* hidden, const void* factor_m, const void* factor_n, const void* residual,
                                    void* a_sums, void* workspace, size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

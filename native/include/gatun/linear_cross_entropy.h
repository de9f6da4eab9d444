// SPDX-License-Identifier: Apache-2.0
/**
 * @file linear_cross_entropy.h
 * Cross-entropy of the scores of rows with prototypes, and the gradients of both, without a matrix of scores: loss and gradients in one call, some
 * hundred rows at a time, whose scores stay in the caches and become their own gradient in place. The loss of swapped prediction from features
 * and prototypes (Caron et al., 2020, section 3.1), and of a linear classifier.
 *
 * Each score is computed once, as no backward pass asks for it again. The price is that the factor of the gradients has to be known with the
 * loss; a factor on top of it is multiplied in afterwards, as the gradients are linear in it.
 *
 * CPU only: on CUDA the answer is GATUN_UNSUPPORTED, and the same is composed of products and gatun_cross_entropy.
 */
#ifndef GATUN_LINEAR_CROSS_ENTROPY_H
#define GATUN_LINEAR_CROSS_ENTROPY_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_linear_cross_entropy_desc {
  uint32_t struct_size;
  float temperature;        /**< positive, not subnormal */
  float factor;             /**< finite: gradients are those of factor · Σ_n loss_n, 1 / N for the mean */
  uint32_t reserved;
  gatun_layout z;           /**< f32 (N, D), D >= 1, rows contiguous, each extent below 2^31 */
  gatun_layout prototypes;  /**< f32 (K, D), K >= 1, rows contiguous */
  gatun_layout targets;     /**< f32 (R, K), rows contiguous: soft targets, of any row sum; or i32 (R): labels, below 0 for none. R divides N: row n
                                 has target n mod R, so that views of a batch share theirs */
  gatun_layout scores;      /**< f32 (N, K), rows contiguous: z · prototypesᵀ, where it is at hand, overwritten; or absent: computed */
  gatun_layout loss;        /**< f32 (N), written */
  gatun_layout dz;          /**< f32 (N, D), rows contiguous, written; or absent */
  gatun_layout dprototypes; /**< f32 (K, D), rows contiguous, written; or absent */
} gatun_linear_cross_entropy_desc;

/**
 * Bytes of workspace for gatun_linear_cross_entropy with this descriptor and stream: some MiB for the scores of a chunk of rows, unless they are
 * given, and for its products; it does not grow with N beyond one chunk, but with K and the number of threads.
 */
GATUN_API gatun_status gatun_linear_cross_entropy_workspace(gatun_stream* stream, const gatun_linear_cross_entropy_desc* desc, size_t* bytes,
                                                            gatun_error* error);

/**
 * With s = z · prototypesᵀ, loss_n = −Σ_k t_nk · log softmax(s_n / temperature)_k as gatun_cross_entropy_forward has it, masked rows and labels
 * included, and G_n = factor / temperature · (softmax(s_n / temperature) · Σ_k t_nk − t_n): dz = G · prototypes, dprototypes = Gᵀ · z. Targets are
 * constants. Nothing that is written overlaps anything else. The same bits for any number of threads.
 * @param scores NULL where desc->scores is absent, as are dz and dprototypes. Loss and gradients come from this one call: nothing of the scores
 *               or the workspace is needed after it
 * @param workspace the caller's, aligned to 64 bytes; of the bytes that gatun_linear_cross_entropy_workspace tells or more, of any contents,
 *                  overwritten
 */
GATUN_API gatun_status gatun_linear_cross_entropy(gatun_stream* stream, const gatun_linear_cross_entropy_desc* desc, const void* z,
                                                  const void* prototypes, const void* targets, void* scores, void* loss, void* dz,
                                                  void* dprototypes, void* workspace, size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

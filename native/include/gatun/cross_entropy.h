// SPDX-License-Identifier: Apache-2.0
/**
 * @file cross_entropy.h
 * Cross-entropy between targets and the softmax of logits with a temperature, row by row; the softmax is never stored.
 * Soft targets are how swapped prediction compares codes with predictions (Caron et al., 2020, section 3.1).
 *
 * Targets are constants: there is no gradient with respect to them. Logits and their gradient are stored alike: f32, on CUDA also bf16 or
 * f16; everything else is f32.
 */
#ifndef GATUN_CROSS_ENTROPY_H
#define GATUN_CROSS_ENTROPY_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_cross_entropy_desc {
  uint32_t struct_size;
  float temperature;     /**< positive, not subnormal */
  gatun_layout logits;   /**< (..., K), rows equally spaced */
  gatun_layout targets;  /**< f32, shape of logits: soft targets, of any row sum; or i32 (rows): labels, below 0 for none */
  gatun_layout loss;     /**< f32 (rows), written */
  gatun_layout lse;      /**< f32 (rows), written: log Σ exp(logits / temperature); or absent */
  gatun_layout kept;     /**< f32 (2 · rows), written: of use to the backward pass alone; or absent */
} gatun_cross_entropy_desc;

typedef struct gatun_cross_entropy_backward_desc {
  uint32_t struct_size;
  float temperature;     /**< as in the forward pass */
  gatun_layout logits;   /**< as in the forward pass */
  gatun_layout targets;  /**< as in the forward pass */
  gatun_layout kept;     /**< of the forward pass of the same operands; or absent: the same bits, with more sweeps over each row */
  gatun_layout dloss;    /**< f32 (rows), any stride (0: one value for all rows): gradient of each row's loss */
  gatun_layout dlogits;  /**< shape and type of logits, written; may be logits itself */
} gatun_cross_entropy_backward_desc;

/**
 * loss_b = −Σ_k t_bk · log softmax(logits_b / temperature)_k, or −log softmax(...)_label. A logit of −inf where the target is 0 counts
 * as 0. A row without a label, or of only −inf, has loss 0 (lse −inf). A label of K or more gives a loss of NaN. What is in kept, and whether
 * anything is written there, is the device's affair.
 */
GATUN_API gatun_status gatun_cross_entropy_forward(gatun_stream* stream, const gatun_cross_entropy_desc* desc, const void* logits,
                                                   const void* targets, void* loss, void* lse, void* kept, gatun_error* error);

/** dlogits_b = dloss_b / temperature · (softmax(logits_b / temperature)·Σ_k t_bk − t_b); 0 in rows whose loss is 0 as above. */
GATUN_API gatun_status gatun_cross_entropy_backward(gatun_stream* stream, const gatun_cross_entropy_backward_desc* desc,
                                                    const void* logits, const void* targets, const void* kept, const void* dloss,
                                                    void* dlogits, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
/**
 * @file l2_normalize.h
 * Rows scaled to unit Euclidean length: y = x / max(‖x‖₂, epsilon), as embeddings and prototypes are before a cosine.
 *
 * x, y, dy and dx are stored alike: f32, on CUDA also bf16 or f16. Lengths are f32.
 */
#ifndef GATUN_L2_NORMALIZE_H
#define GATUN_L2_NORMALIZE_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_l2_normalize_desc {
  uint32_t struct_size;
  float epsilon;      /**< smallest length divided by, > 0 and not subnormal; 1e-12 is usual */
  gatun_layout x;     /**< (..., D): rows along the last dimension, equally spaced */
  gatun_layout y;     /**< shape of x; may be x itself */
  gatun_layout norm;  /**< f32 (rows) contiguous: ‖x‖₂ of each row; kept for the backward pass */
} gatun_l2_normalize_desc;

typedef struct gatun_l2_normalize_backward_desc {
  uint32_t struct_size;
  float epsilon;      /**< as in the forward pass */
  gatun_layout y;     /**< (..., D): output of the forward pass */
  gatun_layout norm;  /**< f32 (rows): lengths of the forward pass */
  gatun_layout dy;    /**< shape of y */
  gatun_layout dx;    /**< shape of y; may be dy itself */
} gatun_l2_normalize_backward_desc;

/**
 * y = x / max(‖x‖, epsilon) for each row. A row of zeros stays zeros; a row with a NaN becomes NaN. Squares are summed in f32: a row
 * longer than 1.8e19 has norm +∞ and becomes zeros.
 * An empty x (no rows or no columns) is allowed.
 */
GATUN_API gatun_status gatun_l2_normalize_forward(gatun_stream* stream, const gatun_l2_normalize_desc* desc, const void* x, void* y,
                                                  void* norm, gatun_error* error);

/** dx = (dy − y⟨y, dy⟩) / ‖x‖ where ‖x‖ > epsilon, else dy / epsilon. */
GATUN_API gatun_status gatun_l2_normalize_backward(gatun_stream* stream, const gatun_l2_normalize_backward_desc* desc, const void* y,
                                                   const void* norm, const void* dy, void* dx, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

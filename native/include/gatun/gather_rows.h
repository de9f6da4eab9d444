// SPDX-License-Identifier: Apache-2.0
/**
 * @file gather_rows.h
 * Rows picked by index: y[i] = x[indices[i]]. A row is everything behind the first dimension, and must be contiguous; rows may be
 * spaced. Indices may repeat. On the CPU one that is out of range is an error that names it. CUDA reads them when the operation runs: forward,
 * the row of y that it is for gets bytes 0xff, which are NaN in every floating dtype, -1 in i32 and i64; backward, all of dx is NaN.
 */
#ifndef GATUN_GATHER_ROWS_H
#define GATUN_GATHER_ROWS_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_gather_rows_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout x;       /**< any dtype (N, ...) */
  gatun_layout indices; /**< i32 (n), each in [0, N) */
  gatun_layout y;       /**< dtype of x, (n, ...); must not be x */
} gatun_gather_rows_desc;

typedef struct gatun_gather_rows_backward_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout dy;      /**< f32, on CUDA also bf16 or f16 (n, ...) */
  gatun_layout indices; /**< i32 (n), each in [0, N) */
  gatun_layout dx;      /**< dtype of dy (N, ...); must not be dy */
} gatun_gather_rows_backward_desc;

/** y[i] = x[indices[i]]: copies bytes, whatever the dtype. */
GATUN_API gatun_status gatun_gather_rows_forward(gatun_stream* stream, const gatun_gather_rows_desc* desc, const void* x,
                                                 const void* indices, void* y, gatun_error* error);

/** dx[r] = sum of dy[i] over all i with indices[i] = r, in the order of i and in f32; 0 for rows that nothing picked. */
GATUN_API gatun_status gatun_gather_rows_backward(gatun_stream* stream, const gatun_gather_rows_backward_desc* desc, const void* dy,
                                                  const void* indices, void* dx, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

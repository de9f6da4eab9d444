// SPDX-License-Identifier: Apache-2.0
/**
 * @file gemm.h
 * Matrix product: on the CPU by a library's kernel on this library's threads, on CUDA by a kernel of Gatun's.
 *
 * CPU: a library cuts a product by how many threads it has, so that its results change with their number, and may have threads of its own,
 * which compete with OpenMP's for the same cores. Here the product is cut into tiles that depend on the shape alone, each tile is one call
 * of the library on one thread, and the stream's team works through the tiles: one pool of threads in the process, and the
 * same bits for any number of them.
 *
 * CUDA: f32 by fused multiply-add, bf16 and f16 on tensor cores, accumulated in f32. The same bits every time.
 */
#ifndef GATUN_GEMM_H
#define GATUN_GEMM_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A function with the signature and meaning of oneDNN's dnnl_sgemm: row-major, 'N' or 'T' for each operand, 0 on success. It must allow
 * calls from several threads at once and work on the calling thread when it is called inside an OpenMP region, or when OpenMP's number of
 * threads is 1, as it is made to be here.
 */
typedef int (*gatun_sgemm)(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                           const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

typedef struct gatun_gemm_desc {
  uint32_t struct_size;
  float alpha;
  float beta;      /**< 0: the contents of c are not read */
  uint32_t reserved;
  gatun_layout a;  /**< f32, on CUDA also bf16 or f16 (M, K): rows or columns contiguous (a transposed view), each extent below 2^31 - 255 */
  gatun_layout b;  /**< (K, N): likewise, dtype of a */
  gatun_layout c;  /**< f32 or dtype of a (M, N): rows contiguous */
} gatun_gemm_desc;

/**
 * c = alpha·a·b + beta·c. With K = 0 this is beta·c. Empty matrices are allowed. c must not overlap a or b.
 * @param sgemm the library's function; not used on CUDA, where it may be NULL
 */
GATUN_API gatun_status gatun_gemm(gatun_stream* stream, const gatun_gemm_desc* desc, gatun_sgemm sgemm, const void* a, const void* b,
                                  void* c, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

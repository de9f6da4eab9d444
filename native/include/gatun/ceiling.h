// SPDX-License-Identifier: Apache-2.0
/**
 * @file ceiling.h
 * What this machine can do at this moment: multiply-adds from registers, and copying. Benchmarks run them in between and give every
 * time as a fraction of them, since the speed of shared machines drifts.
 */
#ifndef GATUN_CEILING_H
#define GATUN_CEILING_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_ceiling_fma_desc {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t iterations;  /**< rounds of the loop, > 0; the work is written to flops */
  gatun_layout flops;  /**< i64 (1): receives the floating-point operations done, all threads together */
  gatun_layout result; /**< f32 (1): depends on every multiply-add, so that none can be left out */
} gatun_ceiling_fma_desc;

typedef struct gatun_ceiling_mma_desc {
  uint32_t struct_size;
  int32_t dtype;       /**< of the factors: GATUN_BF16 or GATUN_F16; sums are f32 */
  int64_t iterations;  /**< as in gatun_ceiling_fma_desc */
  gatun_layout flops;  /**< i64 (1) */
  gatun_layout result; /**< f32 (1) */
} gatun_ceiling_mma_desc;

typedef struct gatun_ceiling_copy_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout x; /**< f32 (n) contiguous */
  gatun_layout y; /**< f32 (n) contiguous, not overlapping x */
} gatun_ceiling_copy_desc;

/**
 * Multiply-adds on registers only, on all threads of the stream (CUDA: of the device): the peak of f32 arithmetic at the ISA level in use.
 * flops and result are written when the operation runs, on CUDA into device memory.
 */
GATUN_API gatun_status gatun_ceiling_fma(gatun_stream* stream, const gatun_ceiling_fma_desc* desc, void* flops, void* result,
                                         gatun_error* error);

/**
 * Products of 16 x 16 and 16 x 8 matrices from registers on CUDA's tensor cores (mma.sync), data random: the peak of warp-wide matrix
 * arithmetic. Hopper's warpgroup instructions reach more. GATUN_UNSUPPORTED on the CPU.
 */
GATUN_API gatun_status gatun_ceiling_mma(gatun_stream* stream, const gatun_ceiling_mma_desc* desc, void* flops, void* result,
                                         gatun_error* error);

/** y = x on all threads of the stream: the peak of memory traffic at this footprint (8n bytes). */
GATUN_API gatun_status gatun_ceiling_copy(gatun_stream* stream, const gatun_ceiling_copy_desc* desc, const void* x, void* y,
                                          gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
/**
 * @file random.h
 * Random numbers as a pure function of (seed, step, stream, sample id, index): Philox4x32-10 (Salmon et al., 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"). The same bits on every device, instruction set and thread count.
 *
 * Packing. The key (seed, step, stream) is folded into 128 bits by one Philox block:
 *   (k0, k1, t0, t1) = philox(counter = (step low, step high, stream, 0x6761746e), key = (seed low, seed high))
 * Word `index & 3` of the block
 *   philox(counter = (block low, block high, id low XOR t0, id high XOR t1), key = (k0, k1)),   block = index >> 2
 * is draw `index` of sample `id`: 32 uniformly distributed bits. The numbers below are made from them with integer arithmetic and
 * single-rounded f32 operations only.
 */
#ifndef GATUN_RANDOM_H
#define GATUN_RANDOM_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_random_bits_desc {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t first_id;  /**< sample id of row 0 when ids is absent; row r then has first_id + r */
  gatun_layout ids;  /**< i64 (rows) contiguous: sample id of each row; GATUN_NONE: first_id + row */
  gatun_layout out;  /**< i32 (..., N): rows along the last dimension, equally spaced; row r, column c is draw c of its sample */
} gatun_random_bits_desc;

typedef struct gatun_random_uniform_desc {
  uint32_t struct_size;
  float low;
  float high;
  uint32_t reserved;
  int64_t first_id;  /**< as in gatun_random_bits_desc */
  gatun_layout ids;  /**< as in gatun_random_bits_desc */
  gatun_layout out;  /**< f32 (..., N) */
} gatun_random_uniform_desc;

typedef struct gatun_random_normal_desc {
  uint32_t struct_size;
  float mean;
  float deviation;   /**< standard deviation, >= 0 */
  uint32_t reserved;
  int64_t first_id;  /**< as in gatun_random_bits_desc */
  gatun_layout ids;  /**< as in gatun_random_bits_desc */
  gatun_layout out;  /**< f32 (..., N) */
} gatun_random_normal_desc;

typedef struct gatun_random_permutation_desc {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t count;     /**< the permutation is of 0 .. count-1; at most 2^31 - 1 */
  gatun_layout out;  /**< i32 (N) contiguous, N <= count: the first N entries of the permutation */
} gatun_random_permutation_desc;

/**
 * Raw bits: out[r, c] = draw c of the sample of row r, all 32 bits of the i32.
 * @param key read when the operation runs, so that it may change from step to step; device memory on CUDA, here and below
 */
GATUN_API gatun_status gatun_random_bits(gatun_stream* stream, const gatun_random_bits_desc* desc, const gatun_random_key* key,
                                         const void* ids, void* out, gatun_error* error);

/**
 * Uniform numbers: low + (high - low) * u, one rounding, where u = (draw >> 8) / 2^24 is in [0, 1).
 * low = 0, high = 1 gives u itself; with other bounds the rounding may reach high.
 */
GATUN_API gatun_status gatun_random_uniform(gatun_stream* stream, const gatun_random_uniform_desc* desc, const gatun_random_key* key,
                                            const void* ids, void* out, gatun_error* error);

/**
 * Normal numbers: mean + deviation * z by Box and Muller's method. Draws 4b .. 4b+3 of a sample give columns 4b .. 4b+3: draws 0 and 1
 * give radius and angle of columns 0 (cosine) and 1 (sine), draws 2 and 3 those of columns 2 and 3. |z| is below 6.67.
 */
GATUN_API gatun_status gatun_random_normal(gatun_stream* stream, const gatun_random_normal_desc* desc, const gatun_random_key* key,
                                           const void* ids, void* out, gatun_error* error);

/** Bytes of workspace that gatun_random_permutation needs. */
GATUN_API gatun_status gatun_random_permutation_workspace(const gatun_random_permutation_desc* desc, size_t* bytes, gatun_error* error);

/**
 * A permutation of 0 .. count-1 that depends on key and count only: the numbers in the order of their 64-bit keys
 * (draw 1 << 32 | draw 0 of sample i), equal keys in the order of the numbers. Every permutation is equally likely but for such ties.
 * @param workspace aligned to 64 bytes
 */
GATUN_API gatun_status gatun_random_permutation(gatun_stream* stream, const gatun_random_permutation_desc* desc,
                                                const gatun_random_key* key, void* out, void* workspace, size_t workspace_bytes,
                                                gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

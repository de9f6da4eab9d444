// SPDX-License-Identifier: Apache-2.0
/**
 * @file sinkhorn.h
 * Codes of samples over prototypes by Sinkhorn and Knopp's iteration (SwAV: Caron et al., 2020, section 3.1): the assignment that spreads
 * a batch evenly over the prototypes. With P = exp(scores / epsilon), B samples and K prototypes,
 *   repeat `iterations` times: divide each prototype by its sum and by K, then each sample by its sum and by B;
 * at the end times B: the codes of a sample sum to 1, those of a prototype only roughly to B / K.
 *
 * Computed as Q = v P u with one vector a side; the constants K and B and any offset of the scores cancel. P is recomputed in each of the
 * iterations + 1 sweeps over the scores, or waits in codes where these are for all samples and fit caches, so that nothing of size B x K is needed but scores
 * and codes.
 *
 * Any finite scores are allowed. As long as they spread over at most 70 epsilon (cosines with epsilon = 0.05 spread over 40), all is f32.
 * Beyond that exp would underflow and lose whole prototypes or samples: gatun_sinkhorn then computes the same function with logarithms
 * in f64, many times slower. A score that is NaN or infinite makes every code NaN.
 *
 * Over several machines, each with its own samples: gatun_sinkhorn_range, join (minimum, maximum); gatun_sinkhorn_sums without previous
 * sums, join (add); `iterations` - 1 times gatun_sinkhorn_sums with the joined ones, join (add); gatun_sinkhorn_finish. gatun_sinkhorn is
 * these calls in this order up to rounding: it finds the range along with the first sums, and on CUDA keeps all on chip if it fits.
 *
 * On CUDA range, previous and sums are memory of the device, which the calls do not look at: a spread of more than 70 epsilon makes sums and
 * codes NaN where the CPU refuses it. The one call works for any spread there too.
 *
 * Streaming (gatun_sinkhorn_streaming): the same codes from features and prototypes instead of their scores. The scores are recomputed tile by
 * tile in each sweep, 2 x iterations products of B x K x D in all, and memory is O((B + K) D): for K in the tens of thousands, where
 * the matrix of scores would not fit or pay. What remains of it are a potential for each sample and each prototype, from which the codes of
 * any samples follow: SwAV takes those of its batch, not of the queue before it, a block of rows at a time, to compare them with another
 * view's predictions.
 */
#ifndef GATUN_SINKHORN_H
#define GATUN_SINKHORN_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_sinkhorn_desc {
  uint32_t struct_size;
  float epsilon;       /**< > 0; 0.05 is usual: smaller gives harder codes */
  int32_t iterations;  /**< >= 1; 3 is usual */
  uint32_t reserved;
  gatun_layout scores; /**< f32 (B, K): samples by prototypes, rows equally spaced */
  gatun_layout codes;  /**< f32 (R, K), R <= B: codes of the last R samples (a queue comes first); may be these rows of scores */
} gatun_sinkhorn_desc;

/** Bytes of workspace that any of the calls below needs. */
GATUN_API gatun_status gatun_sinkhorn_workspace(const gatun_sinkhorn_desc* desc, size_t* bytes, gatun_error* error);

/** All of it in one call. The bits do not depend on the number of threads. */
GATUN_API gatun_status gatun_sinkhorn(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, void* codes,
                                      void* workspace, size_t workspace_bytes, gatun_error* error);

/**
 * Smallest and largest score.
 * @param range f32 (2): receives minimum, maximum; both NaN when a score is not finite; +infinity, -infinity when there are no scores
 */
GATUN_API gatun_status gatun_sinkhorn_range(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, void* range,
                                            void* workspace, size_t workspace_bytes, gatun_error* error);

/**
 * One sweep: the sum of each prototype over the samples, each sample first divided by its own sum under the previous prototype sums.
 * @param range f32 (2) of all samples; a spread of more than 70 epsilon is refused
 * @param previous f32 (K): sums of the sweep before, of all samples; NULL in the first sweep, where samples are taken as they are
 * @param sums f32 (K): receives the sums of these samples; may be previous
 */
GATUN_API gatun_status gatun_sinkhorn_sums(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, const void* range,
                                           const void* previous, void* sums, void* workspace, size_t workspace_bytes,
                                           gatun_error* error);

/** The codes from the sums of the last sweep over all samples; range as in gatun_sinkhorn_sums. */
GATUN_API gatun_status gatun_sinkhorn_finish(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores,
                                             const void* range, const void* sums, void* codes, void* workspace, size_t workspace_bytes,
                                             gatun_error* error);

typedef struct gatun_sinkhorn_streaming_desc {
  uint32_t struct_size;
  float epsilon;                     /**< > 0, as in gatun_sinkhorn_desc, as are the iterations */
  int32_t iterations;                /**< >= 1 */
  uint32_t reserved;
  gatun_layout features;             /**< f32, on CUDA also bf16 and f16 (B, D), D >= 1: z, of which and the prototypes the scores are the products */
  gatun_layout prototypes;           /**< as features (K, D) */
  gatun_layout sample_potentials;    /**< f32 (B) */
  gatun_layout prototype_potentials; /**< f32 (K) */
  gatun_layout codes;                /**< of gatun_sinkhorn_streaming_codes: f32 (B, K), rows equally spaced; else ignored */
} gatun_sinkhorn_streaming_desc;

/** Bytes of workspace that either of the calls below needs: O((B + K) D). */
GATUN_API gatun_status gatun_sinkhorn_streaming_workspace(const gatun_sinkhorn_streaming_desc* desc, size_t* bytes, gatun_error* error);

/**
 * The potentials f of samples and g of prototypes with which e^(<z_b, c_k> / epsilon + f_b + g_k) is the code of sample b for prototype k,
 * as gatun_sinkhorn defines it: g from the sums over the samples, f last, so that codes of a sample sum to 1. All in f32 with
 * logarithms: no range of the scores need be known, but codes lose digits as |score| / epsilon grows (2e-6 of a code at 20). Features and
 * prototypes are to be finite; a NaN among them makes every code NaN. Sums are f32, products of bf16 and f16 are made on tensor cores. The
 * bits do not depend on the number of threads.
 * @param sample_potentials f32 (B), written
 * @param prototype_potentials f32 (K), written
 */
GATUN_API gatun_status gatun_sinkhorn_streaming(gatun_stream* stream, const gatun_sinkhorn_streaming_desc* desc, const void* features,
                                                const void* prototypes, void* sample_potentials, void* prototype_potentials, void* workspace,
                                                size_t workspace_bytes, gatun_error* error);

/**
 * The codes of any of the samples from the potentials: `features` and `sample_potentials` are those of the samples wanted, in the
 * descriptor too. The iterations do not matter.
 */
GATUN_API gatun_status gatun_sinkhorn_streaming_codes(gatun_stream* stream, const gatun_sinkhorn_streaming_desc* desc, const void* features,
                                                      const void* prototypes, const void* sample_potentials, const void* prototype_potentials,
                                                      void* codes, void* workspace, size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

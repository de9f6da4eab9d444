// SPDX-License-Identifier: Apache-2.0
/**
 * @file kmeans.h
 * The steps of k-means (Lloyd, 1982), plain and spherical (Dhillon and Modha, 2001): assign rows to centroids, sum the rows of each
 * centroid, move the centroids. Sums are a call of their own, so that several machines can add theirs before the centroids move.
 * Initial centroids are any rows of the data, for example those of gatun_random_permutation. The bits do not depend on the number of
 * threads.
 */
#ifndef GATUN_KMEANS_H
#define GATUN_KMEANS_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What becomes of a centroid without rows. */
enum {
  GATUN_KMEANS_KEEP = 0, /**< it stays where it is (DeepCluster-v2) */
  GATUN_KMEANS_SPLIT = 1 /**< it takes half of the largest cluster: both get its mean, their coordinates scaled by 1 +- 1/1024 in turns
                              (DeepCluster); it stays where no cluster has two rows */
};

typedef struct gatun_kmeans_assign_desc {
  uint32_t struct_size;
  int32_t spherical;       /**< 0: smallest squared distance; 1: largest dot product (rows and centroids of unit length) */
  gatun_layout rows;       /**< f32 (N, D), equally spaced */
  gatun_layout centroids;  /**< f32 (K, D), K >= 1, equally spaced */
  gatun_layout assignment; /**< i32 (N): receives the centroid of each row */
  gatun_layout score;      /**< f32 (N): receives the squared distance, or the dot product */
} gatun_kmeans_assign_desc;

typedef struct gatun_kmeans_sums_desc {
  uint32_t struct_size;
  uint32_t reserved;
  gatun_layout rows;       /**< f32 (N, D), equally spaced */
  gatun_layout assignment; /**< i32 (N), each below K; a negative one means that the row belongs to no centroid */
  gatun_layout sums;       /**< f32 (K, D) contiguous: receives the sum of the rows of each centroid (added in f64, then rounded) */
  gatun_layout counts;     /**< i64 (K): receives their number */
} gatun_kmeans_sums_desc;

typedef struct gatun_kmeans_update_desc {
  uint32_t struct_size;
  int32_t spherical;      /**< 1: centroids are scaled to unit length (a zero one stays zero) */
  int32_t empty;          /**< GATUN_KMEANS_KEEP or GATUN_KMEANS_SPLIT */
  uint32_t reserved;
  gatun_layout sums;      /**< f32 (K, D) */
  gatun_layout counts;    /**< i64 (K), read and written: sizes after splitting */
  gatun_layout centroids; /**< f32 (K, D), read and written */
} gatun_kmeans_update_desc;

/** Bytes of workspace that gatun_kmeans_assign needs: a copy of the centroids on the CPU, none on CUDA, nothing of size N x K. */
GATUN_API gatun_status gatun_kmeans_assign_workspace(const gatun_kmeans_assign_desc* desc, size_t* bytes, gatun_error* error);

/**
 * The best centroid of each row, of equally good ones the one with the lowest index. Distances are sums of squared differences, not
 * expanded products, so that they are accurate for rows far from the origin. A row that no centroid scores (it holds a
 * NaN, or every distance overflows) gets assignment -1 and score NaN.
 */
GATUN_API gatun_status gatun_kmeans_assign(gatun_stream* stream, const gatun_kmeans_assign_desc* desc, const void* rows,
                                           const void* centroids, void* assignment, void* score, void* workspace,
                                           size_t workspace_bytes, gatun_error* error);

/** Bytes of workspace that gatun_kmeans_sums needs. */
GATUN_API gatun_status gatun_kmeans_sums_workspace(const gatun_kmeans_sums_desc* desc, size_t* bytes, gatun_error* error);

/**
 * Sum and number of the rows of each centroid. An assignment of K or more is an error that names it; on CUDA, where the call cannot look
 * at it, it makes every sum NaN.
 */
GATUN_API gatun_status gatun_kmeans_sums(gatun_stream* stream, const gatun_kmeans_sums_desc* desc, const void* rows,
                                         const void* assignment, void* sums, void* counts, void* workspace, size_t workspace_bytes,
                                         gatun_error* error);

/** Each centroid becomes the mean of its rows; then empty ones are dealt with, then, if spherical, all are scaled to unit length. */
GATUN_API gatun_status gatun_kmeans_update(gatun_stream* stream, const gatun_kmeans_update_desc* desc, const void* sums, void* counts,
                                           void* centroids, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

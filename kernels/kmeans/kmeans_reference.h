// SPDX-License-Identifier: Apache-2.0
// The steps of k-means, as plainly as they can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cstdint>

namespace gatun {

// Squared distance, or dot product, of row i and centroid k.
template <class T>
T kmeans_score_reference(const T* row, const T* centroid, int64_t dimension, bool spherical) {
  T sum = 0;
  for (int64_t c = 0; c < dimension; ++c) {
    const T difference = row[c] - centroid[c];
    sum += spherical ? row[c] * centroid[c] : difference * difference;
  }
  return sum;
}

template <class T>
void kmeans_assign_reference(const T* rows, const T* centroids, int32_t* assignment, T* score, int64_t n, int64_t k, int64_t dimension,
                             bool spherical) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      const T value = kmeans_score_reference(rows + i * dimension, centroids + j * dimension, dimension, spherical);
      if (j == 0 || (spherical ? value > score[i] : value < score[i])) {
        score[i] = value;
        assignment[i] = static_cast<int32_t>(j);
      }
    }
  }
}

template <class T>
void kmeans_sums_reference(const T* rows, const int32_t* assignment, T* sums, int64_t* counts, int64_t n, int64_t k, int64_t dimension) {
  for (int64_t j = 0; j < k * dimension; ++j) sums[j] = 0;
  for (int64_t j = 0; j < k; ++j) counts[j] = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (assignment[i] < 0) continue;
    ++counts[assignment[i]];
    for (int64_t c = 0; c < dimension; ++c) sums[assignment[i] * dimension + c] += rows[i * dimension + c];
  }
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Sinkhorn and Knopp's iteration as SwAV writes it. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace gatun {

// scores, codes: (samples, prototypes) contiguous. Spreads beyond the range of T are not for this form.
template <class T>
void sinkhorn_reference(const T* scores, T* codes, int64_t samples, int64_t prototypes, T epsilon, int iterations) {
  const int64_t count = samples * prototypes;
  T largest = count > 0 ? scores[0] : T(0);
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, scores[i]);
  T total = 0;
  for (int64_t i = 0; i < count; ++i) total += codes[i] = std::exp((scores[i] - largest) / epsilon);
  for (int64_t i = 0; i < count; ++i) codes[i] /= total;
  for (int iteration = 0; iteration < iterations; ++iteration) {
    for (int64_t k = 0; k < prototypes; ++k) {
      T sum = 0;
      for (int64_t b = 0; b < samples; ++b) sum += codes[b * prototypes + k];
      for (int64_t b = 0; b < samples; ++b) codes[b * prototypes + k] /= sum * static_cast<T>(prototypes);
    }
    for (int64_t b = 0; b < samples; ++b) {
      T sum = 0;
      for (int64_t k = 0; k < prototypes; ++k) sum += codes[b * prototypes + k];
      for (int64_t k = 0; k < prototypes; ++k) codes[b * prototypes + k] /= sum * static_cast<T>(samples);
    }
  }
  for (int64_t i = 0; i < count; ++i) codes[i] *= static_cast<T>(samples);
}

}  // namespace gatun

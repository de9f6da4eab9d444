// SPDX-License-Identifier: Apache-2.0
// The mathematics of linear_cross_entropy, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <vector>

#include "kernels/cross_entropy/cross_entropy_reference.h"

namespace gatun {

template <class T>
struct LinearCrossEntropyReference {
  std::vector<T> scores, loss, dz, dprototypes;
};

// z: (rows, depth), prototypes: (count, depth), targets: (rows of targets, count), contiguous
template <class T>
LinearCrossEntropyReference<T> linear_cross_entropy_reference(const std::vector<T>& z, const std::vector<T>& prototypes, const std::vector<T>& targets,
                                                              size_t depth, T temperature, T factor) {
  const size_t rows = z.size() / depth, count = prototypes.size() / depth;
  LinearCrossEntropyReference<T> out;
  std::vector<T> all;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t k = 0; k < count; ++k) {
      T sum = 0;
      for (size_t i = 0; i < depth; ++i) sum += z[r * depth + i] * prototypes[k * depth + i];
      out.scores.push_back(sum);
      all.push_back(targets[(r * count + k) % targets.size()]);
    }
  }
  const auto rest = cross_entropy_reference<T>(out.scores, all, std::vector<T>(rows, factor), count, temperature);
  out.loss = rest.loss;
  out.dz.resize(z.size());
  out.dprototypes.resize(prototypes.size());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t k = 0; k < count; ++k) {
      for (size_t i = 0; i < depth; ++i) {
        out.dz[r * depth + i] += rest.dlogits[r * count + k] * prototypes[k * depth + i];
        out.dprototypes[k * depth + i] += rest.dlogits[r * count + k] * z[r * depth + i];
      }
    }
  }
  return out;
}

}  // namespace gatun

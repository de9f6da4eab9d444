// SPDX-License-Identifier: Apache-2.0
// The derived tolerance as doctest checks.
#pragma once

#include <cmath>
#include <vector>

#include "doctest/doctest.h"
#include "kernels/testing/numbers.h"
#include "kernels/testing/storage.h"

namespace gatun::testing {

// CHECKs the kernel's result against the truth within the bound, and that four times the bound would have been noticed.
inline void check_close(const std::vector<float>& result, const std::vector<double>& truth, const std::vector<float>& naive) {
  const double allowed = bound(truth, naive);
  CHECK(distance(result, truth) <= allowed);
  for (size_t i = 0; i < result.size(); ++i) {
    if (!std::isfinite(result[i])) continue;
    std::vector<float> perturbed = result;
    perturbed[i] = static_cast<float>(perturbed[i] + (result[i] >= truth[i] ? 4 : -4) * allowed);
    CHECK(distance(perturbed, truth) > allowed);
    break;
  }
}

// The same for a result in a storage type.
template <class T>
void check_stored(const std::vector<T>& result, const std::vector<double>& truth, const std::vector<float>& naive) {
  const double allowed = stored_bound<T>(truth, naive);
  const std::vector<float> values = loaded(result);
  CHECK(distance(values, truth) <= allowed);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    std::vector<float> perturbed = values;
    perturbed[i] = static_cast<float>(perturbed[i] + (values[i] >= truth[i] ? 4 : -4) * allowed);
    CHECK(distance(perturbed, truth) > allowed);
    break;
  }
}

}  // namespace gatun::testing

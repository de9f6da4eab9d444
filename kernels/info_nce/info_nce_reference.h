// SPDX-License-Identifier: Apache-2.0
// The mathematics of info_nce, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace gatun {

template <class T>
struct InfoNceReference {
  std::vector<T> loss, lse, dq, dk;
  std::vector<int32_t> positives;
};

// q (N, depth), k (M, depth); self: k is q, and its gradient lands in dq.
template <class T>
InfoNceReference<T> info_nce_reference(bool self, const std::vector<T>& q, const std::vector<T>& k, const std::vector<int32_t>& query_groups,
                                       const std::vector<int32_t>& key_groups, const std::vector<T>& dloss, int64_t depth, T temperature) {
  const int64_t queries = static_cast<int64_t>(query_groups.size()), keys = static_cast<int64_t>(key_groups.size());
  InfoNceReference<T> out;
  out.dq.resize(q.size());
  out.dk.resize(k.size());
  const auto allowed = [&](int64_t i, int64_t j) { return !self || i != j; };
  const auto positive = [&](int64_t i, int64_t j) { return allowed(i, j) && query_groups[i] >= 0 && query_groups[i] == key_groups[j]; };
  std::vector<T> score(static_cast<size_t>(keys));
  for (int64_t i = 0; i < queries; ++i) {
    T most = -std::numeric_limits<T>::infinity();
    int32_t count = 0;
    for (int64_t j = 0; j < keys; ++j) {
      T sum = 0;
      for (int64_t c = 0; c < depth; ++c) sum += q[i * depth + c] * k[j * depth + c];
      score[j] = sum / temperature;
      if (allowed(i, j)) most = std::max(most, score[j]);
      if (positive(i, j)) ++count;
    }
    T total = 0, loss = 0;
    for (int64_t j = 0; j < keys; ++j) total += allowed(i, j) ? std::exp(score[j] - most) : T(0);
    const T lse = total == 0 ? -std::numeric_limits<T>::infinity() : most + std::log(total);
    for (int64_t j = 0; j < keys; ++j) {
      if (positive(i, j)) loss -= (score[j] - lse) / static_cast<T>(count);
    }
    out.loss.push_back(loss);
    out.lse.push_back(lse);
    out.positives.push_back(count);
    for (int64_t j = 0; j < keys && count > 0; ++j) {
      if (!allowed(i, j)) continue;
      const T g = dloss[i] / temperature * (std::exp(score[j] - lse) - (positive(i, j) ? 1 / static_cast<T>(count) : T(0)));
      std::vector<T>& dk = self ? out.dq : out.dk;
      for (int64_t c = 0; c < depth; ++c) {
        out.dq[i * depth + c] += g * k[j * depth + c];
        dk[j * depth + c] += g * q[i * depth + c];
      }
    }
  }
  return out;
}

}  // namespace gatun

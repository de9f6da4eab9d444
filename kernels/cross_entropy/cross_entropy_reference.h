// SPDX-License-Identifier: Apache-2.0
// The mathematics of cross_entropy, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace gatun {

template <class T>
struct CrossEntropyReference {
  std::vector<T> loss, lse, dlogits;
};

// logits, targets: (rows, columns) contiguous; dloss: (rows)
template <class T>
CrossEntropyReference<T> cross_entropy_reference(const std::vector<T>& logits, const std::vector<T>& targets, const std::vector<T>& dloss,
                                                 size_t columns, T temperature) {
  CrossEntropyReference<T> out;
  out.dlogits.resize(logits.size());
  for (size_t row = 0; row < logits.size(); row += columns) {
    const T largest = *std::max_element(logits.begin() + row, logits.begin() + row + columns) / temperature;
    T sum = 0, total = 0, loss = 0;
    for (size_t i = row; i < row + columns; ++i) sum += std::exp(logits[i] / temperature - largest);
    for (size_t i = row; i < row + columns; ++i) {
      total += targets[i];
      if (targets[i] != 0) loss -= targets[i] * (logits[i] / temperature - largest - std::log(sum));
    }
    out.loss.push_back(loss);
    out.lse.push_back(largest + std::log(sum));
    for (size_t i = row; i < row + columns; ++i) {
      out.dlogits[i] = dloss[row / columns] / temperature * (total * std::exp(logits[i] / temperature - largest) / sum - targets[i]);
    }
  }
  return out;
}

}  // namespace gatun

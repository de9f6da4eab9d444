// SPDX-License-Identifier: Apache-2.0
// The mathematics of attention for one head, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding:
// with `round`, what a kernel rounds to its storage type before a product.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace gatun {

struct Unrounded {
  template <class T>
  T operator()(T value) const {
    return value;
  }
};

struct AttentionSize {
  int64_t queries, keys, depth;
  bool causal;
  bool sees(int64_t i, int64_t j) const { return !causal || j <= i + keys - queries; }
};

template <class T>
T attention_score(const AttentionSize& n, T scale, const T* q, const T* k, const T* bias, int64_t i, int64_t j) {
  if (!n.sees(i, j)) return -std::numeric_limits<T>::infinity();
  T sum = 0;
  for (int64_t c = 0; c < n.depth; ++c) sum += q[i * n.depth + c] * k[j * n.depth + c];
  return scale * sum + (bias != nullptr ? bias[i * n.keys + j] : T(0));
}

// q, out: (queries, depth); k, v: (keys, depth); bias: (queries, keys) or null; lse: (queries)
template <class T, class Round = Unrounded>
void attention_reference(const AttentionSize& n, T scale, const T* q, const T* k, const T* v, const T* bias, T* out, T* lse, Round round = {}) {
  std::vector<T> score(static_cast<size_t>(n.keys));
  for (int64_t i = 0; i < n.queries; ++i) {
    T most = -std::numeric_limits<T>::infinity();
    for (int64_t j = 0; j < n.keys; ++j) {
      score[static_cast<size_t>(j)] = attention_score(n, scale, q, k, bias, i, j);
      if (score[static_cast<size_t>(j)] > most || std::isnan(score[static_cast<size_t>(j)])) most = score[static_cast<size_t>(j)];
    }
    T sum = 0;
    for (int64_t c = 0; c < n.depth; ++c) out[i * n.depth + c] = 0;
    lse[i] = most;
    if (most == -std::numeric_limits<T>::infinity()) continue;
    for (int64_t j = 0; j < n.keys; ++j) {
      const T weight = std::exp(score[static_cast<size_t>(j)] - most);
      sum += weight;
      for (int64_t c = 0; c < n.depth; ++c) out[i * n.depth + c] += round(weight) * v[j * n.depth + c];
    }
    for (int64_t c = 0; c < n.depth; ++c) out[i * n.depth + c] = round(out[i * n.depth + c] / sum);
    lse[i] = most + std::log(sum);
  }
}

// Writes dq, dk, dv; dbias (queries, keys) may be null.
template <class T, class Round = Unrounded>
void attention_backward_reference(const AttentionSize& n, T scale, const T* q, const T* k, const T* v, const T* bias, const T* out,
                                  const T* lse, const T* dout, T* dq, T* dk, T* dv, T* dbias,
                                  Round round = {}) {
  for (int64_t c = 0; c < n.queries * n.depth; ++c) dq[c] = 0;
  for (int64_t c = 0; c < n.keys * n.depth; ++c) dk[c] = dv[c] = 0;
  for (int64_t i = 0; i < n.queries; ++i) {
    T delta = 0;
    for (int64_t c = 0; c < n.depth; ++c) delta += dout[i * n.depth + c] * out[i * n.depth + c];
    for (int64_t j = 0; j < n.keys; ++j) {
      const bool empty = lse[i] == -std::numeric_limits<T>::infinity();
      const T weight = empty ? T(0) : std::exp(attention_score(n, scale, q, k, bias, i, j) - lse[i]);
      T dweight = 0;
      for (int64_t c = 0; c < n.depth; ++c) dweight += dout[i * n.depth + c] * v[j * n.depth + c];
      const T dscore = weight * (dweight - delta);
      if (dbias != nullptr) dbias[i * n.keys + j] = dscore;
      for (int64_t c = 0; c < n.depth; ++c) {
        dq[i * n.depth + c] += scale * round(dscore) * k[j * n.depth + c];
        dk[j * n.depth + c] += scale * round(dscore) * q[i * n.depth + c];
        dv[j * n.depth + c] += round(weight) * dout[i * n.depth + c];
      }
    }
  }
}

}  // namespace gatun

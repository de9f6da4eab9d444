// SPDX-License-Identifier: Apache-2.0
// The naive product with its prologues and epilogue, as matmul.h says them.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "gatun/matmul.h"

namespace gatun {

// All matrices packed by rows: a (m, k), b (k, n). An empty vector is an absent operand.
template <class T>
struct MatmulReference {
  int64_t m, n, k;
  int32_t a_prologue = 0, b_prologue = 0, activation = 0;
  bool accumulate = false;
  T epsilon = T(1e-6);
  std::vector<T> a, b, c, gamma, beta, scale_m, scale_k, bias, hidden, factor_m, factor_n, residual, a_sums, mean, rstd;

  static T gelu(T x) { return x * std::erfc(-x * T(M_SQRT1_2)) / 2; }
  static T gelu_gradient(T x) { return std::erfc(-x * T(M_SQRT1_2)) / 2 + x * std::exp(-x * x / 2) * T(0.39894228040143267794); }
  static T at(const std::vector<T>& factors, int64_t i, int64_t extent) {
    return factors.empty() ? T(1) : factors[static_cast<size_t>(i / (extent / static_cast<int64_t>(factors.size())))];
  }
  static size_t index(int64_t i, int64_t j, int64_t columns) { return static_cast<size_t>(i * columns + j); }

  void normalize(std::vector<T>& x, int64_t rows, int64_t columns) const {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        T& value = x[index(r, c, columns)];
        value = (value - mean[static_cast<size_t>(r)]) * rstd[static_cast<size_t>(r)] * at(gamma, c, columns) + (beta.empty() ? T(0) : beta[static_cast<size_t>(c)]);
      }
    }
  }

  // c, hidden of TO_GELU, a_sums, and mean and rstd of LAYER_NORM of a.
  void compute(bool with_sums, bool keep_hidden) {
    if (a_prologue == GATUN_MATMUL_LAYER_NORM) {
      mean.assign(static_cast<size_t>(m), T(0));
      rstd.assign(static_cast<size_t>(m), T(0));
      for (int64_t r = 0; r < m; ++r) {
        T sum = 0, squares = 0;
        for (int64_t i = 0; i < k; ++i) sum += a[index(r, i, k)];
        const T average = sum / static_cast<T>(k);
        for (int64_t i = 0; i < k; ++i) squares += (a[index(r, i, k)] - average) * (a[index(r, i, k)] - average);
        mean[static_cast<size_t>(r)] = average;
        rstd[static_cast<size_t>(r)] = 1 / std::sqrt(squares / static_cast<T>(k) + epsilon);
      }
      normalize(a, m, k);
    }
    if (b_prologue == GATUN_MATMUL_LAYER_NORM) normalize(b, k, n);
    if (a_prologue == GATUN_MATMUL_GELU) for (T& value : a) value = gelu(value);
    if (b_prologue == GATUN_MATMUL_GELU) for (T& value : b) value = gelu(value);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t i = 0; i < k; ++i) a[index(r, i, k)] *= at(scale_m, r, m) * at(scale_k, i, k);
    }
    if (with_sums) {
      a_sums.resize(static_cast<size_t>(m));
      for (int64_t r = 0; r < m; ++r) {
        T sum = 0;
        for (int64_t i = 0; i < k; ++i) sum += a[index(r, i, k)];
        T& to = a_sums[static_cast<size_t>(r)];
        to = accumulate ? to + sum : sum;
      }
    }
    if (keep_hidden) hidden.assign(static_cast<size_t>(m * n), T(0));
    c.resize(static_cast<size_t>(m * n));
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        const size_t here = index(r, j, n);
        T v = 0;
        for (int64_t i = 0; i < k; ++i) v += a[index(r, i, k)] * b[index(i, j, n)];
        if (!bias.empty()) v += bias[static_cast<size_t>(j)];
        if (activation == GATUN_MATMUL_TO_GELU) {
          if (keep_hidden) hidden[here] = v;
          v = gelu(v);
        } else if (activation == GATUN_MATMUL_GELU_GRADIENT) {
          v *= gelu_gradient(hidden[here]);
        }
        v *= at(factor_m, r, m) * at(factor_n, j, n);
        if (!residual.empty()) v += residual[here];
        c[here] = accumulate ? c[here] + v : v;
      }
    }
  }
};

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// The mathematics of batch_norm, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace gatun {

template <class T>
struct BatchNormReference {
  std::vector<T> mean, centered, rstd, y, dgamma, dbeta, dx;
};

// x, dy: (rows, columns) contiguous; gamma, beta: (columns)
template <class T>
BatchNormReference<T> batch_norm_reference(const std::vector<T>& x, const std::vector<T>& gamma, const std::vector<T>& beta,
                                           const std::vector<T>& dy, int64_t rows, int64_t columns, T epsilon, bool relu) {
  const size_t channels = static_cast<size_t>(columns);
  BatchNormReference<T> out;
  for (auto* v : {&out.mean, &out.centered, &out.rstd, &out.dgamma, &out.dbeta}) v->assign(channels, T(0));
  out.y.resize(x.size());
  out.dx.resize(x.size());
  for (size_t c = 0; c < channels; ++c) {
    const T n = static_cast<T>(rows);
    for (size_t i = c; i < x.size(); i += channels) out.mean[c] += x[i];
    out.mean[c] /= n;
    for (size_t i = c; i < x.size(); i += channels) out.centered[c] += (x[i] - out.mean[c]) * (x[i] - out.mean[c]);
    out.rstd[c] = 1 / std::sqrt(out.centered[c] / n + epsilon);
    std::vector<T> gradient(x.size());
    for (size_t i = c; i < x.size(); i += channels) {
      const T unit = (x[i] - out.mean[c]) * out.rstd[c];
      const T value = unit * gamma[c] + beta[c];
      out.y[i] = relu && value < 0 ? T(0) : value;
      gradient[i] = relu && value <= 0 ? T(0) : dy[i];
      out.dgamma[c] += gradient[i] * unit;
      out.dbeta[c] += gradient[i];
    }
    for (size_t i = c; i < x.size(); i += channels) {
      const T unit = (x[i] - out.mean[c]) * out.rstd[c];
      out.dx[i] = gamma[c] * out.rstd[c] * (gradient[i] - (out.dbeta[c] + unit * out.dgamma[c]) / n);
    }
  }
  return out;
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// The mathematics of layer_norm, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>
#include <vector>

namespace gatun {

template <class T>
struct LayerNormReference {
  std::vector<T> mean, rstd, y, dx, dgamma, dbeta;
};

// x, dy: (rows, columns) contiguous; gamma, beta: (columns)
template <class T>
LayerNormReference<T> layer_norm_reference(const std::vector<T>& x, const std::vector<T>& gamma, const std::vector<T>& beta,
                                           const std::vector<T>& dy, size_t columns, T epsilon) {
  LayerNormReference<T> out;
  out.y.resize(x.size());
  out.dx.resize(x.size());
  out.dgamma.resize(columns);
  out.dbeta.resize(columns);
  const T n = static_cast<T>(columns);
  for (size_t row = 0; row < x.size(); row += columns) {
    T mean = 0, variance = 0, sum = 0, projection = 0;
    for (size_t c = 0; c < columns; ++c) mean += x[row + c] / n;
    for (size_t c = 0; c < columns; ++c) variance += (x[row + c] - mean) * (x[row + c] - mean) / n;
    const T rstd = 1 / std::sqrt(variance + epsilon);
    out.mean.push_back(mean);
    out.rstd.push_back(rstd);
    for (size_t c = 0; c < columns; ++c) {
      const T unit = (x[row + c] - mean) * rstd;
      out.y[row + c] = unit * gamma[c] + beta[c];
      out.dgamma[c] += dy[row + c] * unit;
      out.dbeta[c] += dy[row + c];
      sum += dy[row + c] * gamma[c];
      projection += dy[row + c] * gamma[c] * unit;
    }
    for (size_t c = 0; c < columns; ++c) {
      const T unit = (x[row + c] - mean) * rstd;
      out.dx[row + c] = rstd * (dy[row + c] * gamma[c] - sum / n - unit * projection / n);
    }
  }
  return out;
}

}  // namespace gatun

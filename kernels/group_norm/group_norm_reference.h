// SPDX-License-Identifier: Apache-2.0
// The mathematics of group_norm, as plainly as it can be written. T = double is the truth, T = float the yardstick of rounding.
#pragma once

#include <cmath>
#include <vector>

namespace gatun {

template <class T>
struct GroupNormReference {
  std::vector<T> mean, rstd, y, dx, dgamma, dbeta;
};

// x, dy: (samples, positions, channels) contiguous; gamma, beta: (channels)
template <class T>
GroupNormReference<T> group_norm_reference(const std::vector<T>& x, const std::vector<T>& gamma, const std::vector<T>& beta,
                                           const std::vector<T>& dy, size_t samples, size_t positions, size_t groups, T epsilon) {
  const size_t channels = gamma.size(), width = channels / groups;
  GroupNormReference<T> out;
  out.y.resize(x.size());
  out.dx.resize(x.size());
  out.dgamma.resize(channels);
  out.dbeta.resize(channels);
  const T n = static_cast<T>(positions * width);
  for (size_t b = 0; b < samples; ++b) {
    for (size_t g = 0; g < groups; ++g) {
      std::vector<size_t> members;
      for (size_t p = 0; p < positions; ++p) {
        for (size_t c = g * width; c < (g + 1) * width; ++c) members.push_back((b * positions + p) * channels + c);
      }
      T mean = 0, variance = 0, sum = 0, projection = 0;
      for (const size_t i : members) mean += x[i] / n;
      for (const size_t i : members) variance += (x[i] - mean) * (x[i] - mean) / n;
      const T rstd = 1 / std::sqrt(variance + epsilon);
      out.mean.push_back(mean);
      out.rstd.push_back(rstd);
      for (const size_t i : members) {
        const size_t c = i % channels;
        const T unit = (x[i] - mean) * rstd;
        out.y[i] = unit * gamma[c] + beta[c];
        out.dgamma[c] += dy[i] * unit;
        out.dbeta[c] += dy[i];
        sum += dy[i] * gamma[c];
        projection += dy[i] * gamma[c] * unit;
      }
      for (const size_t i : members) {
        out.dx[i] = rstd * (dy[i] * gamma[i % channels] - sum / n - (x[i] - mean) * rstd * projection / n);
      }
    }
  }
  return out;
}

}  // namespace gatun

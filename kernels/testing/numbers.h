// SPDX-License-Identifier: Apache-2.0
// Random data and the derived tolerance: what tests of kernels share on every device.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace gatun::testing {

inline std::vector<float> normal(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution(0.0f, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = distribution(generator);
  return values;
}

inline std::vector<double> widen(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// Largest |a - b|; equal infinities and NaN against NaN count as equal, NaN against a number as infinitely far.
template <class A, class B>
double distance(const std::vector<A>& a, const std::vector<B>& b) {
  if (a.size() != b.size()) throw std::logic_error("distance between arrays of " + std::to_string(a.size()) + " and " + std::to_string(b.size()));
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]);
    const double y = static_cast<double>(b[i]);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (std::isnan(x) || std::isnan(y)) return std::numeric_limits<double>::infinity();
    if (x != y) largest = std::max(largest, std::abs(x - y));
  }
  return largest;
}

template <class T>
double magnitude(const std::vector<T>& values) {
  double largest = 0;
  for (const T value : values) {
    if (std::isfinite(static_cast<double>(value))) largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  return largest;
}

// The derived tolerance: twice the error that the naive computation in float makes, plus a few roundings of the largest value.
inline double bound(const std::vector<double>& truth, const std::vector<float>& naive) {
  return 2 * distance(naive, truth) + 4 * std::numeric_limits<float>::epsilon() * magnitude(truth) + std::numeric_limits<float>::min();
}

// Central difference of a scalar function of x along element i.
template <class F>
double central_difference(F&& f, std::vector<double> x, size_t i, double step = 1e-5) {
  const double center = x[i];
  x[i] = center + step;
  const double above = f(x);
  x[i] = center - step;
  const double below = f(x);
  return (above - below) / (2 * step);
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace gatun::testing

// SPDX-License-Identifier: Apache-2.0
// What native tests share: a device to run on, random data, strided buffers, and the derived tolerance.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "gatun.h"

namespace gatun::testing {

// A context and a stream; the status of every call is checked.
class Device {
 public:
  explicit Device(int threads = 2) {
    gatun_context_desc desc{sizeof(gatun_context_desc), threads};
    gatun_error error{};
    const gatun_status status = gatun_context_create(&desc, &context_, &error);
    REQUIRE_MESSAGE(status == GATUN_OK, std::string(error.message));
    REQUIRE(gatun_stream_create(context_, &stream_, nullptr) == GATUN_OK);
  }
  ~Device() {
    gatun_stream_destroy(stream_, nullptr);
    gatun_context_destroy(context_, nullptr);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  gatun_stream* stream() const { return stream_; }
  gatun_context* context() const { return context_; }

 private:
  gatun_context* context_ = nullptr;
  gatun_stream* stream_ = nullptr;
};

// REQUIREs that a call succeeded and shows its error otherwise: run([&](gatun_error* e) { return gatun_x(..., e); })
template <class Call>
void run(Call&& call) {
  gatun_error error{};
  const gatun_status status = call(&error);
  REQUIRE_MESSAGE(status == GATUN_OK, (std::string(error.operation) + ": " + error.message));
}

// REQUIREs that a call is refused as an invalid argument with a message that contains `part`.
template <class Call>
void refused(const std::string& part, Call&& call) {
  gatun_error error{};
  const gatun_status status = call(&error);
  REQUIRE(status == GATUN_INVALID_ARGUMENT);
  CHECK_MESSAGE(std::string(error.message).find(part) != std::string::npos, std::string(error.message));
}

inline gatun_layout layout(int32_t dtype, std::initializer_list<int64_t> shape) {
  gatun_layout result{};
  result.dtype = dtype;
  result.rank = static_cast<int32_t>(shape.size());
  int i = 0;
  for (const int64_t extent : shape) result.shape[i++] = extent;
  int64_t stride = 1;
  for (i = result.rank - 1; i >= 0; --i) {
    result.stride[i] = stride;
    stride *= result.shape[i] > 0 ? result.shape[i] : 1;
  }
  return result;
}

// The same with given element strides.
inline gatun_layout layout(int32_t dtype, std::initializer_list<int64_t> shape, std::initializer_list<int64_t> strides) {
  gatun_layout result = layout(dtype, shape);
  int i = 0;
  for (const int64_t stride : strides) result.stride[i++] = stride;
  return result;
}

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
  REQUIRE(a.size() == b.size());
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

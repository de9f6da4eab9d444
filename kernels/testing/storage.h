// SPDX-License-Identifier: Apache-2.0
// Test data in the storage types of the device under test: float, and on CUDA also f16 and bf16.
//   TEST_CASE_TEMPLATE("...", T, GATUN_STORAGES) { const std::vector<T> x = stored<T>(normal(100, 1)); ... values of x: loaded(x) }
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/base.h"
#include "kernels/common/half_bits.h"
#include "kernels/testing/numbers.h"

namespace gatun::testing {

struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(float value) : bits(half_bits(value)) {}
  explicit operator float() const { return half_value(bits); }
};

struct Bfloat16 {
  uint16_t bits = 0;
  Bfloat16() = default;
  explicit Bfloat16(float value) : bits(bfloat16_bits(value)) {}
  explicit operator float() const { return bfloat16_value(bits); }
};

#if defined(GATUN_CUDA)
#define GATUN_STORAGES float, ::gatun::testing::Bfloat16, ::gatun::testing::Half
#else
#define GATUN_STORAGES float
#endif

template <class T>
inline constexpr int32_t kDtype = GATUN_F32;
template <>
inline constexpr int32_t kDtype<Bfloat16> = GATUN_BF16;
template <>
inline constexpr int32_t kDtype<Half> = GATUN_F16;

// Unit roundoff: the largest relative error of storing a (normal) number.
template <class T>
inline constexpr double kRounding = 0x1p-24;
template <>
inline constexpr double kRounding<Bfloat16> = 0x1p-8;
template <>
inline constexpr double kRounding<Half> = 0x1p-11;

template <class T>
std::vector<T> stored(const std::vector<float>& values) {
  std::vector<T> result;
  result.reserve(values.size());
  for (const float value : values) result.push_back(static_cast<T>(value));
  return result;
}

template <class T>
std::vector<float> loaded(const std::vector<T>& values) {
  std::vector<float> result;
  result.reserve(values.size());
  for (const T value : values) result.push_back(static_cast<float>(value));
  return result;
}

// What values become by being stored and read again: operands that the reference gets, so that only the kernel's own error counts.
template <class T>
std::vector<float> rounded(const std::vector<float>& values) {
  return loaded(stored<T>(values));
}

// The derived tolerance of a result stored as T: that of the computation in float, and one rounding of the largest value.
template <class T>
double stored_bound(const std::vector<double>& truth, const std::vector<float>& naive) {
  const double rounding = kDtype<T> == GATUN_F32 ? 0 : kRounding<T> * magnitude(truth) + (kDtype<T> == GATUN_F16 ? 0x1p-25 : 0);
  return bound(truth, naive) + rounding;
}

}  // namespace gatun::testing

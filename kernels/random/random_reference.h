// SPDX-License-Identifier: Apache-2.0
// What random numbers should be, from bits, in the mathematics library of the host. T = double is the truth of the conversions.
#pragma once

#include <cmath>
#include <cstdint>

namespace gatun {

template <class T>
void random_normal_reference(uint32_t radius_bits, uint32_t angle_bits, T* first, T* second) {
  const T u = (static_cast<T>(radius_bits >> 1) + T(0.5)) * T(0x1p-31);
  const T angle = static_cast<T>(angle_bits) * T(0x1p-32) * T(6.283185307179586476925286766559);
  const T radius = std::sqrt(T(-2) * std::log(u));
  *first = radius * std::cos(angle);
  *second = radius * std::sin(angle);
}

}  // namespace gatun

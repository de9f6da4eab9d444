// SPDX-License-Identifier: Apache-2.0
// Rows with gaps between them, which a kernel must leave as they were.
#pragma once

#include <algorithm>
#include <vector>

#include "doctest/doctest.h"

namespace gatun::testing {

template <class T>
std::vector<T> spread(const std::vector<T>& packed, int64_t columns, int64_t padding) {
  if (columns == 0) return {};
  const int64_t rows = static_cast<int64_t>(packed.size()) / columns, stride = columns + padding;
  std::vector<T> buffer(static_cast<size_t>(rows * stride), static_cast<T>(7.0f));
  for (int64_t r = 0; r < rows; ++r) std::copy_n(packed.begin() + r * columns, columns, buffer.begin() + r * stride);
  return buffer;
}

// The rows of what spread() made; CHECKs the gaps.
template <class T>
std::vector<T> pack(const std::vector<T>& buffer, int64_t columns, int64_t padding) {
  const int64_t stride = columns + padding, rows = stride == 0 ? 0 : static_cast<int64_t>(buffer.size()) / stride;
  std::vector<T> values;
  for (int64_t r = 0; r < rows; ++r) {
    values.insert(values.end(), buffer.begin() + r * stride, buffer.begin() + r * stride + columns);
    for (int64_t c = columns; c < stride; ++c) CHECK(static_cast<float>(buffer[static_cast<size_t>(r * stride + c)]) == 7.0f);
  }
  return values;
}

}  // namespace gatun::testing

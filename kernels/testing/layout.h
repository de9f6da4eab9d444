// SPDX-License-Identifier: Apache-2.0
// Layouts written as they are read: layout(GATUN_F32, {2, 3}) is contiguous.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "gatun/base.h"

namespace gatun::testing {

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

}  // namespace gatun::testing

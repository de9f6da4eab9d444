// SPDX-License-Identifier: Apache-2.0
// A strided matrix view: what most kernels see of a tensor of any rank.
#pragma once

#include <cstdint>

namespace gatun {

struct RowShape {
  int64_t rows;
  int64_t columns;
  int64_t stride;  // elements from one row to the next
};

template <class T>
struct Rows {
  T* data;
  int64_t rows;
  int64_t columns;
  int64_t stride;
  Rows(T* data, const RowShape& shape) : data(data), rows(shape.rows), columns(shape.columns), stride(shape.stride) {}
  T* row(int64_t index) const { return data + index * stride; }
};

}  // namespace gatun

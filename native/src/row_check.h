// SPDX-License-Identifier: Apache-2.0
// Checks of operands that are seen as rows along their first dimension, and of indices into them.
#pragma once

#include "check.h"

namespace gatun {

// (N, ...) as N rows of everything behind the first dimension, which must be contiguous.
inline RowShape first_rows(const char* name, const gatun_layout& layout) {
  int64_t columns = 1;
  for (int i = layout.rank - 1; i >= 1; --i) {
    if (layout.shape[i] > 1 && layout.stride[i] != columns) {
      invalid("each row of %s must be contiguous: %s", name, describe(layout).c_str());
    }
    columns *= layout.shape[i];
  }
  return {layout.shape[0], columns, layout.shape[0] > 1 ? layout.stride[0] : columns};
}

// Same dtype-free shape behind the first dimension.
inline void check_same_rows(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other) {
  bool same = layout.rank == other.rank;
  for (int i = 1; same && i < layout.rank; ++i) same = layout.shape[i] == other.shape[i];
  if (!same) {
    invalid("%s is %s, its rows must have the shape of those of %s, which is %s", name, describe(layout).c_str(), other_name,
            describe(other).c_str());
  }
}

// On CUDA indices are in the device's memory: the kernel looks at them.
#if defined(GATUN_CUDA)
inline void check_indices(const void*, int64_t, const char*, int64_t) {}
#else
inline void check_indices(const void* indices, int64_t count, const char* name, int64_t rows) {
  const int32_t* values = static_cast<const int32_t*>(indices);
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] < 0 || values[i] >= rows) {
      invalid("indices[%lld] is %d, %s has %lld rows", static_cast<long long>(i), values[i], name, static_cast<long long>(rows));
    }
  }
}
#endif

}  // namespace gatun

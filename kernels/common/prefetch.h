// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace gatun {

// The address `elements` after p, for fetching alone: it may lie outside the array of p, where a pointer must not be made to point.
inline const void* address_after(const float* p, int64_t elements) {
  return reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(elements) * sizeof(float));
}

}  // namespace gatun

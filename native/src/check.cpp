// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace gatun {

namespace {

std::string list(const int64_t* values, int count) {
  std::string text = "(";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + ")";
}

int clamp_rank(const gatun_layout& layout) { return std::clamp(layout.rank, 0, GATUN_MAX_RANK); }

}  // namespace

const char* dtype_name(int32_t dtype) {
  switch (dtype) {
    case GATUN_NONE: return "none";
    case GATUN_F32: return "f32";
    case GATUN_BF16: return "bf16";
    case GATUN_F16: return "f16";
    case GATUN_I32: return "i32";
    case GATUN_I64: return "i64";
    case GATUN_U8: return "u8";
    default: return "unknown dtype";
  }
}

int64_t dtype_bytes(int32_t dtype) {
  switch (dtype) {
    case GATUN_F32: case GATUN_I32: return 4;
    case GATUN_BF16: case GATUN_F16: return 2;
    case GATUN_I64: return 8;
    default: return 1;
  }
}

std::string describe(const gatun_layout& layout) {
  const int rank = clamp_rank(layout);
  return std::string(dtype_name(layout.dtype)) + list(layout.shape, rank) + " strides " + list(layout.stride, rank);
}

int64_t elements(const gatun_layout& layout) {
  int64_t count = 1;
  for (int i = 0; i < layout.rank; ++i) count *= layout.shape[i];
  return count;
}

void check_view(const char* name, const gatun_layout& layout, int32_t dtype, int rank) {
  if (layout.dtype != dtype) {
    if (layout.dtype == GATUN_BF16 || layout.dtype == GATUN_F16) {
      throw Error(GATUN_UNSUPPORTED, std::string(name) + " is " + dtype_name(layout.dtype) + "; this device computes in " + dtype_name(dtype));
    }
    invalid("%s is %s, expected %s", name, dtype_name(layout.dtype), dtype_name(dtype));
  }
  if (layout.rank < 1 || layout.rank > GATUN_MAX_RANK || (rank > 0 && layout.rank != rank)) {
    if (rank > 0) invalid("%s has rank %d, expected %d", name, layout.rank, rank);
    invalid("%s has rank %d, allowed are 1 to %d", name, layout.rank, GATUN_MAX_RANK);
  }
  int64_t count = 1;
  int64_t last = 0;
  for (int i = 0; i < layout.rank; ++i) {
    if (layout.shape[i] < 0 || layout.stride[i] < 0) invalid("%s has a negative extent or stride: %s", name, describe(layout).c_str());
    int64_t span;
    if (__builtin_mul_overflow(count, std::max<int64_t>(layout.shape[i], 1), &count) ||
        __builtin_mul_overflow(std::max<int64_t>(layout.shape[i] - 1, 0), layout.stride[i], &span) ||
        __builtin_add_overflow(last, span, &last) || count > (INT64_MAX >> 4) || last > (INT64_MAX >> 4)) {
      invalid("%s is too large: %s", name, describe(layout).c_str());
    }
  }
}

void check_layout(const char* name, const gatun_layout& layout, int32_t dtype, int rank) {
  check_view(name, layout, dtype, rank);
  if (layout.shape[layout.rank - 1] > 1 && layout.stride[layout.rank - 1] != 1) {
    invalid("the last dimension of %s must be contiguous: %s", name, describe(layout).c_str());
  }
}

bool is_stored(int32_t dtype) {
#if defined(GATUN_CUDA)
  if (dtype == GATUN_BF16 || dtype == GATUN_F16) return true;
#endif
  return dtype == GATUN_F32;
}

void check_stored_view(const char* name, const gatun_layout& layout) {
  check_view(name, layout, is_stored(layout.dtype) ? layout.dtype : GATUN_F32, -1);
}

void check_storage(const char* name, const gatun_layout& layout, int rank) {
  int32_t dtype = GATUN_F32;
#if defined(GATUN_CUDA)
  if (layout.dtype == GATUN_BF16 || layout.dtype == GATUN_F16) dtype = layout.dtype;
  if (layout.dtype != dtype) invalid("%s is %s, allowed are f32, bf16 and f16", name, dtype_name(layout.dtype));
#endif
  check_layout(name, layout, dtype, rank);
}

void check_same_dtype(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other) {
  if (layout.dtype != other.dtype) invalid("%s is %s, expected %s as %s is", name, dtype_name(layout.dtype), dtype_name(other.dtype), other_name);
}

void check_no_overlap(const char* name, const gatun_layout& layout) {
  // Sorted by stride, each dimension must step over everything that the smaller ones span.
  std::vector<std::pair<int64_t, int64_t>> dimensions;  // stride, extent
  for (int i = 0; i < layout.rank; ++i) {
    if (layout.shape[i] == 0) return;
    if (layout.shape[i] > 1) dimensions.emplace_back(layout.stride[i], layout.shape[i]);
  }
  std::sort(dimensions.begin(), dimensions.end());
  int64_t span = 1;
  for (const auto& [stride, extent] : dimensions) {
    if (stride < span) invalid("%s is written, but its elements overlap: %s", name, describe(layout).c_str());
    span += (extent - 1) * stride;
  }
}

void check_same_shape(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other) {
  if (layout.rank != other.rank || !std::equal(layout.shape, layout.shape + clamp_rank(layout), other.shape)) {
    invalid("%s has shape %s, expected %s as %s has", name, list(layout.shape, clamp_rank(layout)).c_str(),
            list(other.shape, clamp_rank(other)).c_str(), other_name);
  }
}

void check_shape(const char* name, const gatun_layout& layout, std::initializer_list<int64_t> expected) {
  if (layout.rank != static_cast<int32_t>(expected.size()) || !std::equal(expected.begin(), expected.end(), layout.shape)) {
    invalid("%s has shape %s, expected %s", name, list(layout.shape, clamp_rank(layout)).c_str(),
            list(expected.begin(), static_cast<int>(expected.size())).c_str());
  }
}

void check_pointer(const char* name, const gatun_layout& layout, const void* pointer) {
  if (layout.dtype == GATUN_NONE) {
    if (pointer != nullptr) invalid("%s has a pointer but no layout (dtype none)", name);
    return;
  }
  if (pointer == nullptr) {
    if (elements(layout) > 0) invalid("%s is NULL, its layout is %s", name, describe(layout).c_str());
    return;
  }
  if (reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(dtype_bytes(layout.dtype)) != 0) {
    invalid("%s is not aligned to its %s elements", name, dtype_name(layout.dtype));
  }
}

void check_workspace(const void* workspace, size_t given, size_t needed) {
  if (given < needed) invalid("the workspace has %zu bytes, %zu are needed", given, needed);
  if (needed > 0 && workspace == nullptr) invalid("the workspace is NULL, %zu bytes are needed", needed);
  if (reinterpret_cast<uintptr_t>(workspace) % 64 != 0) invalid("the workspace is not aligned to 64 bytes");
}

void check_divisor(const char* name, float value) {
  if (!(value > 0.0f) || !std::isfinite(1.0f / value)) invalid("%s is %g, it must be positive and not subnormal", name, static_cast<double>(value));
}

RowShape collapse_rows(const char* name, const gatun_layout& layout) {
  const int last = layout.rank - 1;
  RowShape shape{1, layout.shape[last], layout.shape[last]};
  // Without elements there is no spacing to be wrong.
  if (elements(layout) == 0) {
    for (int i = 0; i < last; ++i) shape.rows *= layout.shape[i];
    return shape;
  }
  bool first = true;
  // From the innermost leading dimension outwards: each must continue where the ones inside it end.
  for (int i = last - 1; i >= 0; --i) {
    if (layout.shape[i] != 1) {
      if (first) {
        shape.stride = layout.stride[i];
        first = false;
      } else if (layout.stride[i] != shape.rows * shape.stride) {
        invalid("the rows of %s are not equally spaced: %s", name, describe(layout).c_str());
      }
    }
    shape.rows *= layout.shape[i];
  }
  return shape;
}

}  // namespace gatun

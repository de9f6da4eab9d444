// SPDX-License-Identifier: Apache-2.0
// Checks that every operation makes before its kernel runs. Each failure is one line: which operand, what it was, what is allowed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "error.h"
#include "gatun/base.h"
#include "kernels/common/rows.h"

namespace gatun {

// "f32(4, 5) strides (5, 1)"
std::string describe(const gatun_layout& layout);
const char* dtype_name(int32_t dtype);
int64_t dtype_bytes(int32_t dtype);

// The descriptor is there, has the size this library was compiled with, and asks for nothing that only a later version knows.
template <class Desc>
void check_descriptor(const Desc* desc) {
  if (desc == nullptr) invalid("descriptor is NULL");
  if (desc->struct_size != sizeof(Desc)) {
    invalid("descriptor has struct_size %u, this library expects %zu", desc->struct_size, sizeof(Desc));
  }
  if constexpr (requires { desc->reserved; }) {
    if (desc->reserved != 0) invalid("reserved is %u, it must be 0", static_cast<uint32_t>(desc->reserved));
  }
}

#if defined(GATUN_CUDA)
// What this thread launches goes to the stream's device, whichever it used before.
void enter(const gatun_stream* stream);
#endif

// As check_descriptor, and the stream is there.
template <class Desc>
void check_call(const gatun_stream* stream, const Desc* desc) {
  if (stream == nullptr) invalid("stream is NULL");
#if defined(GATUN_CUDA)
  enter(stream);
#endif
  check_descriptor(desc);
}

// A pointer that is not an operand: a context, where to put a result.
inline void require(const void* pointer, const char* name) {
  if (pointer == nullptr) invalid("%s is NULL", name);
}

inline bool present(const gatun_layout& layout) { return layout.dtype != GATUN_NONE; }

// dtype as given, rank as given (-1: 1 to GATUN_MAX_RANK), no negative extent or stride, last dimension contiguous.
void check_layout(const char* name, const gatun_layout& layout, int32_t dtype, int rank);

// As check_layout with any dtype that this device stores activations in: f32, on CUDA also bf16 and f16.
void check_storage(const char* name, const gatun_layout& layout, int rank);

// Two operands that are stored alike.
void check_same_dtype(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other);

// As check_layout, but any strides: for operations that also read transposed, sliced and broadcast operands.
void check_view(const char* name, const gatun_layout& layout, int32_t dtype, int rank);

// Whether activations may be stored in a dtype on this device: f32, on CUDA also bf16 and f16.
bool is_stored(int32_t dtype);

// As check_view with any dtype that is_stored and any rank; the others get the message that check_view has for them.
void check_stored_view(const char* name, const gatun_layout& layout);

// Every element lies at one place: an operand that is written must not overlap itself (stride 0 or interleaved rows).
void check_no_overlap(const char* name, const gatun_layout& layout);

// Same rank and extents; strides may differ.
void check_same_shape(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other);

void check_shape(const char* name, const gatun_layout& layout, std::initializer_list<int64_t> expected);

// A pointer is there whenever its layout has elements, is absent when the layout is GATUN_NONE, and is aligned to its element.
void check_pointer(const char* name, const gatun_layout& layout, const void* pointer);

void check_workspace(const void* workspace, size_t given, size_t needed);

// What an operation divides by: positive, and not so small that its inverse is infinite.
void check_divisor(const char* name, float value);

int64_t elements(const gatun_layout& layout);

// The operand as rows of its last dimension. The leading dimensions must be equally spaced (any strided 2-D view is).
RowShape collapse_rows(const char* name, const gatun_layout& layout);

}  // namespace gatun

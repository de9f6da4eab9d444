// SPDX-License-Identifier: Apache-2.0
#include "gatun/gemm.h"

#include <climits>

#include "abi.h"
#include "check.h"
#include "kernels/gemm/gemm.h"

namespace gatun {

// Kernels compute with int, and round up to whole tiles.
static constexpr int64_t kMostExtent = INT_MAX - 255;

#if defined(GATUN_CUDA)
// A view in one of the storage types, whichever of its dimensions is contiguous.
static void check_matrix(const char* name, const gatun_layout& layout) {
  const bool half = layout.dtype == GATUN_BF16 || layout.dtype == GATUN_F16;
  check_view(name, layout, half ? layout.dtype : GATUN_F32, 2);
}
#else
static void check_matrix(const char* name, const gatun_layout& layout) { check_view(name, layout, GATUN_F32, 2); }
#endif

// Rows contiguous if they can be, else columns. A single row or column can be seen either way.
static GemmOperand gemm_operand(const char* name, const gatun_layout& layout, const void* data) {
  const int64_t rows = layout.shape[0];
  const int64_t columns = layout.shape[1];
  const int64_t down = layout.stride[0];
  const int64_t across = layout.stride[1];
  if (rows > kMostExtent || columns > kMostExtent) invalid("%s is too large: %s", name, describe(layout).c_str());
  if (rows == 0 || columns == 0) return {data, columns > 1 ? columns : 1, false};
  const auto leading = [](int64_t count, int64_t stride, int64_t length) { return count > 1 ? stride : (length > 1 ? length : 1); };
  const int64_t row_major = leading(rows, down, columns);
  if ((across == 1 || columns <= 1) && row_major >= (columns > 1 ? columns : 1) && row_major <= INT_MAX) return {data, row_major, false};
  const int64_t column_major = leading(columns, across, rows);
  if ((down == 1 || rows <= 1) && column_major >= (rows > 1 ? rows : 1) && column_major <= INT_MAX) return {data, column_major, true};
  invalid("%s has neither contiguous rows nor contiguous columns: %s", name, describe(layout).c_str());
}

}  // namespace gatun

extern "C" {

gatun_status gatun_gemm(gatun_stream* stream, const gatun_gemm_desc* desc, gatun_sgemm sgemm, const void* a, const void* b, void* c,
                        gatun_error* error) {
  using namespace gatun;
  return border("gemm", error, [&] {
    check_call(stream, desc);
#if !defined(GATUN_CUDA)
    if (sgemm == nullptr) invalid("sgemm is NULL");
#endif
    check_matrix("a", desc->a);
    check_matrix("b", desc->b);
    check_same_dtype("b", desc->b, "a", desc->a);
    if (desc->c.dtype != GATUN_F32) check_same_dtype("c", desc->c, "a", desc->a);
    check_layout("c", desc->c, desc->c.dtype, 2);
    const GemmShape shape{desc->a.shape[0], desc->b.shape[1], desc->a.shape[1]};
    check_shape("b", desc->b, {shape.k, shape.n});
    check_shape("c", desc->c, {shape.m, shape.n});
    check_no_overlap("c", desc->c);
    check_pointer("a", desc->a, a);
    check_pointer("b", desc->b, b);
    check_pointer("c", desc->c, c);
    const GemmOperand result = gemm_operand("c", desc->c, c);
    if (result.transposed) invalid("c has no contiguous rows: %s", describe(desc->c).c_str());
    const GemmCall call{shape, desc->alpha, desc->beta, desc->a.dtype, desc->c.dtype, gemm_operand("a", desc->a, a), gemm_operand("b", desc->b, b),
                        c, result.leading};
#if defined(GATUN_CUDA)
    static_cast<void>(sgemm);
    gemm(*stream, call);
#else
    const int status = gemm(*stream, sgemm, call);
    if (status != 0) throw Error(GATUN_INTERNAL, "the library's sgemm failed with status " + std::to_string(status));
#endif
  });
}

}  // extern "C"

GATUN_ABI_FUNCTION(gatun_gemm);
GATUN_ABI_STRUCT(gatun_gemm_desc, GATUN_ABI_FIELD(gatun_gemm_desc, struct_size), GATUN_ABI_FIELD(gatun_gemm_desc, alpha),
                 GATUN_ABI_FIELD(gatun_gemm_desc, beta), GATUN_ABI_FIELD(gatun_gemm_desc, reserved),
                 GATUN_ABI_FIELD(gatun_gemm_desc, a), GATUN_ABI_FIELD(gatun_gemm_desc, b), GATUN_ABI_FIELD(gatun_gemm_desc, c));

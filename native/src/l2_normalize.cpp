// SPDX-License-Identifier: Apache-2.0
#include "gatun/l2_normalize.h"

#include "abi.h"
#include "check.h"
#include "kernels/l2_normalize/l2_normalize.h"

namespace gatun {

static void check_norm(const gatun_layout& norm, int64_t rows) {
  check_layout("norm", norm, GATUN_F32, 1);
  check_shape("norm", norm, {rows});
}

}  // namespace gatun

extern "C" {

gatun_status gatun_l2_normalize_forward(gatun_stream* stream, const gatun_l2_normalize_desc* desc, const void* x, void* y, void* norm,
                                        gatun_error* error) {
  using namespace gatun;
  return border("l2_normalize_forward", error, [&] {
    check_call(stream, desc);
    check_divisor("epsilon", desc->epsilon);
    check_storage("x", desc->x, -1);
    check_layout("y", desc->y, desc->x.dtype, desc->x.rank);
    check_same_shape("y", desc->y, "x", desc->x);
    check_no_overlap("y", desc->y);
    const RowShape rows = collapse_rows("x", desc->x);
    check_norm(desc->norm, rows.rows);
    check_pointer("x", desc->x, x);
    check_pointer("y", desc->y, y);
    check_pointer("norm", desc->norm, norm);
    const RowShape y_rows = collapse_rows("y", desc->y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      l2_normalize_forward<T>(*stream, {static_cast<const T*>(x), rows}, {static_cast<T*>(y), y_rows}, static_cast<float*>(norm), desc->epsilon);
    });
  });
}

gatun_status gatun_l2_normalize_backward(gatun_stream* stream, const gatun_l2_normalize_backward_desc* desc, const void* y,
                                         const void* norm, const void* dy, void* dx, gatun_error* error) {
  using namespace gatun;
  return border("l2_normalize_backward", error, [&] {
    check_call(stream, desc);
    check_divisor("epsilon", desc->epsilon);
    check_storage("y", desc->y, -1);
    check_layout("dy", desc->dy, desc->y.dtype, desc->y.rank);
    check_same_shape("dy", desc->dy, "y", desc->y);
    check_layout("dx", desc->dx, desc->y.dtype, desc->y.rank);
    check_same_shape("dx", desc->dx, "y", desc->y);
    check_no_overlap("dx", desc->dx);
    const RowShape rows = collapse_rows("y", desc->y);
    check_norm(desc->norm, rows.rows);
    check_pointer("y", desc->y, y);
    check_pointer("norm", desc->norm, norm);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dx", desc->dx, dx);
    const RowShape dy_rows = collapse_rows("dy", desc->dy), dx_rows = collapse_rows("dx", desc->dx);
    with_storage(desc->y.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      l2_normalize_backward<T>(*stream, {static_cast<const T*>(y), rows}, static_cast<const float*>(norm), {static_cast<const T*>(dy), dy_rows},
                               {static_cast<T*>(dx), dx_rows}, desc->epsilon);
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(l2_normalize);
GATUN_ABI_FUNCTION(gatun_l2_normalize_forward);
GATUN_ABI_FUNCTION(gatun_l2_normalize_backward);
GATUN_ABI_STRUCT(gatun_l2_normalize_desc, GATUN_ABI_FIELD(gatun_l2_normalize_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_l2_normalize_desc, epsilon), GATUN_ABI_FIELD(gatun_l2_normalize_desc, x),
                 GATUN_ABI_FIELD(gatun_l2_normalize_desc, y), GATUN_ABI_FIELD(gatun_l2_normalize_desc, norm));
GATUN_ABI_STRUCT(gatun_l2_normalize_backward_desc, GATUN_ABI_FIELD(gatun_l2_normalize_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_l2_normalize_backward_desc, epsilon), GATUN_ABI_FIELD(gatun_l2_normalize_backward_desc, y),
                 GATUN_ABI_FIELD(gatun_l2_normalize_backward_desc, norm), GATUN_ABI_FIELD(gatun_l2_normalize_backward_desc, dy),
                 GATUN_ABI_FIELD(gatun_l2_normalize_backward_desc, dx));

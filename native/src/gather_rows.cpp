// SPDX-License-Identifier: Apache-2.0
#include "gatun/gather_rows.h"

#include "abi.h"
#include "kernels/gather_rows/gather_rows.h"
#include "row_check.h"

extern "C" {

gatun_status gatun_gather_rows_forward(gatun_stream* stream, const gatun_gather_rows_desc* desc, const void* x, const void* indices, void* y,
                                       gatun_error* error) {
  using namespace gatun;
  return border("gather_rows_forward", error, [&] {
    check_call(stream, desc);
    // Bytes are copied, so every dtype that there is will do.
    const int32_t dtype = desc->x.dtype;
    if (dtype < GATUN_F32 || dtype > GATUN_U8) invalid("x is %s, expected an element type", dtype_name(dtype));
    check_layout("x", desc->x, dtype, -1);
    check_layout("y", desc->y, dtype, desc->x.rank);
    check_layout("indices", desc->indices, GATUN_I32, 1);
    check_same_rows("y", desc->y, "x", desc->x);
    check_no_overlap("y", desc->y);
    RowShape from = first_rows("x", desc->x);
    RowShape to = first_rows("y", desc->y);
    check_shape("indices", desc->indices, {to.rows});
    check_pointer("x", desc->x, x);
    check_pointer("indices", desc->indices, indices);
    check_pointer("y", desc->y, y);
    check_indices(indices, to.rows, "x", from.rows);
    if (to.columns == 0) return;
    const int64_t bytes = dtype_bytes(dtype);
    for (RowShape* shape : {&from, &to}) shape->columns *= bytes, shape->stride *= bytes;
    gather_rows(*stream, {static_cast<const uint8_t*>(x), from}, static_cast<const int32_t*>(indices), {static_cast<uint8_t*>(y), to});
  });
}

gatun_status gatun_gather_rows_backward(gatun_stream* stream, const gatun_gather_rows_backward_desc* desc, const void* dy,
                                        const void* indices, void* dx, gatun_error* error) {
  using namespace gatun;
  return border("gather_rows_backward", error, [&] {
    check_call(stream, desc);
    check_storage("dy", desc->dy, -1);
    check_same_dtype("dx", desc->dx, "dy", desc->dy);
    check_storage("dx", desc->dx, desc->dy.rank);
    check_layout("indices", desc->indices, GATUN_I32, 1);
    check_same_rows("dx", desc->dx, "dy", desc->dy);
    check_no_overlap("dx", desc->dx);
    const RowShape from = first_rows("dy", desc->dy);
    const RowShape to = first_rows("dx", desc->dx);
    check_shape("indices", desc->indices, {from.rows});
    check_pointer("dy", desc->dy, dy);
    check_pointer("indices", desc->indices, indices);
    check_pointer("dx", desc->dx, dx);
    check_indices(indices, from.rows, "dx", to.rows);
    with_storage(desc->dy.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      scatter_add_rows<T>(*stream, nullptr, {static_cast<const T*>(dy), from}, static_cast<const int32_t*>(indices),
                          {1.0f, nullptr, nullptr, to.columns}, {static_cast<T*>(dx), to});
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(gather_rows);
GATUN_ABI_FUNCTION(gatun_gather_rows_forward);
GATUN_ABI_FUNCTION(gatun_gather_rows_backward);
GATUN_ABI_STRUCT(gatun_gather_rows_desc, GATUN_ABI_FIELD(gatun_gather_rows_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_gather_rows_desc, reserved), GATUN_ABI_FIELD(gatun_gather_rows_desc, x),
                 GATUN_ABI_FIELD(gatun_gather_rows_desc, indices), GATUN_ABI_FIELD(gatun_gather_rows_desc, y));
GATUN_ABI_STRUCT(gatun_gather_rows_backward_desc, GATUN_ABI_FIELD(gatun_gather_rows_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_gather_rows_backward_desc, reserved), GATUN_ABI_FIELD(gatun_gather_rows_backward_desc, dy),
                 GATUN_ABI_FIELD(gatun_gather_rows_backward_desc, indices), GATUN_ABI_FIELD(gatun_gather_rows_backward_desc, dx));

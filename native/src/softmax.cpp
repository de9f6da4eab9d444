// SPDX-License-Identifier: Apache-2.0
#include "gatun/softmax.h"

#include "abi.h"
#include "check.h"
#include "kernels/softmax/softmax.h"

extern "C" {

gatun_status gatun_softmax_forward(gatun_stream* stream, const gatun_softmax_desc* desc, const void* x, void* y, gatun_error* error) {
  using namespace gatun;
  return border("softmax_forward", error, [&] {
    check_call(stream, desc);
    check_divisor("temperature", desc->temperature);
    check_storage("x", desc->x, -1);
    check_layout("y", desc->y, desc->x.dtype, desc->x.rank);
    check_same_shape("y", desc->y, "x", desc->x);
    check_no_overlap("y", desc->y);
    check_pointer("x", desc->x, x);
    check_pointer("y", desc->y, y);
    const RowShape x_rows = collapse_rows("x", desc->x), y_rows = collapse_rows("y", desc->y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      softmax_forward<T>(*stream, {static_cast<const T*>(x), x_rows}, {static_cast<T*>(y), y_rows}, desc->temperature);
    });
  });
}

gatun_status gatun_softmax_backward(gatun_stream* stream, const gatun_softmax_backward_desc* desc, const void* y, const void* dy, void* dx,
                                    gatun_error* error) {
  using namespace gatun;
  return border("softmax_backward", error, [&] {
    check_call(stream, desc);
    check_divisor("temperature", desc->temperature);
    check_storage("y", desc->y, -1);
    check_layout("dy", desc->dy, desc->y.dtype, desc->y.rank);
    check_same_shape("dy", desc->dy, "y", desc->y);
    check_layout("dx", desc->dx, desc->y.dtype, desc->y.rank);
    check_same_shape("dx", desc->dx, "y", desc->y);
    check_no_overlap("dx", desc->dx);
    check_pointer("y", desc->y, y);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dx", desc->dx, dx);
    const RowShape y_rows = collapse_rows("y", desc->y), dy_rows = collapse_rows("dy", desc->dy), dx_rows = collapse_rows("dx", desc->dx);
    with_storage(desc->y.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      softmax_backward<T>(*stream, {static_cast<const T*>(y), y_rows}, {static_cast<const T*>(dy), dy_rows}, {static_cast<T*>(dx), dx_rows},
                          desc->temperature);
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(softmax);
GATUN_ABI_FUNCTION(gatun_softmax_forward);
GATUN_ABI_FUNCTION(gatun_softmax_backward);
GATUN_ABI_STRUCT(gatun_softmax_desc, GATUN_ABI_FIELD(gatun_softmax_desc, struct_size), GATUN_ABI_FIELD(gatun_softmax_desc, temperature),
                 GATUN_ABI_FIELD(gatun_softmax_desc, x), GATUN_ABI_FIELD(gatun_softmax_desc, y));
GATUN_ABI_STRUCT(gatun_softmax_backward_desc, GATUN_ABI_FIELD(gatun_softmax_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_softmax_backward_desc, temperature), GATUN_ABI_FIELD(gatun_softmax_backward_desc, y),
                 GATUN_ABI_FIELD(gatun_softmax_backward_desc, dy), GATUN_ABI_FIELD(gatun_softmax_backward_desc, dx));

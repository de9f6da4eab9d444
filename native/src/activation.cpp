// SPDX-License-Identifier: Apache-2.0
#include "gatun/activation.h"

#include "abi.h"
#include "check.h"
#include "kernels/activation/activation.h"

namespace gatun {

static void check_function(int32_t function) {
  if (function < GATUN_ACTIVATION_RELU || function > GATUN_ACTIVATION_TANH) invalid("unknown function %d", function);
}

}  // namespace gatun

extern "C" {

gatun_status gatun_activation_forward(gatun_stream* stream, const gatun_activation_desc* desc, const void* x, void* y, gatun_error* error) {
  using namespace gatun;
  return border("activation_forward", error, [&] {
    check_call(stream, desc);
    check_function(desc->function);
    check_storage("x", desc->x, -1);
    check_same_dtype("y", desc->y, "x", desc->x);
    check_storage("y", desc->y, desc->x.rank);
    check_same_shape("y", desc->y, "x", desc->x);
    check_no_overlap("y", desc->y);
    check_pointer("x", desc->x, x);
    check_pointer("y", desc->y, y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      activation_forward<T>(*stream, desc->function, {static_cast<const T*>(x), collapse_rows("x", desc->x)},
                            {static_cast<T*>(y), collapse_rows("y", desc->y)});
    });
  });
}

gatun_status gatun_activation_backward(gatun_stream* stream, const gatun_activation_backward_desc* desc, const void* x, const void* dy,
                                       void* dx, gatun_error* error) {
  using namespace gatun;
  return border("activation_backward", error, [&] {
    check_call(stream, desc);
    check_function(desc->function);
    check_storage("x", desc->x, -1);
    check_same_dtype("dy", desc->dy, "x", desc->x);
    check_storage("dy", desc->dy, desc->x.rank);
    check_same_shape("dy", desc->dy, "x", desc->x);
    check_same_dtype("dx", desc->dx, "x", desc->x);
    check_storage("dx", desc->dx, desc->x.rank);
    check_same_shape("dx", desc->dx, "x", desc->x);
    check_no_overlap("dx", desc->dx);
    check_pointer("x", desc->x, x);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dx", desc->dx, dx);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      activation_backward<T>(*stream, desc->function, {static_cast<const T*>(x), collapse_rows("x", desc->x)},
                             {static_cast<const T*>(dy), collapse_rows("dy", desc->dy)}, {static_cast<T*>(dx), collapse_rows("dx", desc->dx)});
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(activation);
GATUN_ABI_FUNCTION(gatun_activation_forward);
GATUN_ABI_FUNCTION(gatun_activation_backward);
GATUN_ABI_STRUCT(gatun_activation_desc, GATUN_ABI_FIELD(gatun_activation_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_activation_desc, function), GATUN_ABI_FIELD(gatun_activation_desc, x),
                 GATUN_ABI_FIELD(gatun_activation_desc, y));
GATUN_ABI_STRUCT(gatun_activation_backward_desc, GATUN_ABI_FIELD(gatun_activation_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_activation_backward_desc, function), GATUN_ABI_FIELD(gatun_activation_backward_desc, x),
                 GATUN_ABI_FIELD(gatun_activation_backward_desc, dy), GATUN_ABI_FIELD(gatun_activation_backward_desc, dx));

// SPDX-License-Identifier: Apache-2.0
#include "gatun/elementwise.h"

#include "abi.h"
#include "check.h"
#include "kernels/elementwise/elementwise.h"

namespace gatun {

static bool converts_to_f32(int32_t dtype) { return is_stored(dtype) || dtype == GATUN_U8 || dtype == GATUN_I32 || dtype == GATUN_I64; }

// Strides with which an input moves when y does, broadcast dimensions with stride 0.
static void broadcast(const char* name, const gatun_layout& input, const gatun_layout& y, int64_t (&strides)[GATUN_MAX_RANK]) {
  const int missing = y.rank - input.rank;
  bool fits = missing >= 0;
  for (int i = 0; i < y.rank && fits; ++i) {
    const int64_t extent = i < missing ? 1 : input.shape[i - missing];
    fits = extent == 1 || extent == y.shape[i];
    strides[i] = extent == 1 ? 0 : input.stride[i - missing];
  }
  if (!fits) invalid("%s does not broadcast to y: %s against %s", name, describe(input).c_str(), describe(y).c_str());
}

}  // namespace gatun

extern "C" {

gatun_status gatun_elementwise(gatun_stream* stream, const gatun_elementwise_desc* desc, const void* x, const void* z, void* y,
                               gatun_error* error) {
  using namespace gatun;
  return border("elementwise", error, [&] {
    check_call(stream, desc);
    const int32_t operation = desc->operation;
    if (operation < GATUN_ELEMENTWISE_COPY || operation > GATUN_ELEMENTWISE_MINIMUM) invalid("unknown operation %d", operation);
    const bool unary = operation < GATUN_ELEMENTWISE_ADD;
    const bool fill = operation == GATUN_ELEMENTWISE_FILL;
    const bool plain_copy = operation == GATUN_ELEMENTWISE_COPY && desc->y.dtype == desc->x.dtype;
    if (plain_copy && !converts_to_f32(desc->y.dtype)) invalid("y is %s, which cannot be copied", dtype_name(desc->y.dtype));
    if (plain_copy) check_view("y", desc->y, desc->y.dtype, -1);
    else check_stored_view("y", desc->y);
    check_no_overlap("y", desc->y);
    int64_t strides[3][GATUN_MAX_RANK] = {};
    if (fill) {
      if (present(desc->x)) invalid("fill takes no x");
    } else {
      // Half-precision inputs get the message that check_view has for them.
      check_view("x", desc->x, converts_to_f32(desc->x.dtype) ? desc->x.dtype : GATUN_F32, -1);
      broadcast("x", desc->x, desc->y, strides[kX]);
    }
    if (unary) {
      if (present(desc->z)) invalid("operation %d takes no z", operation);
    } else {
      if (!is_stored(desc->x.dtype)) invalid("x is %s, operations on two inputs take no integers", dtype_name(desc->x.dtype));
      check_stored_view("z", desc->z);
      broadcast("z", desc->z, desc->y, strides[kZ]);
    }
    check_pointer("x", desc->x, x);
    check_pointer("z", desc->z, z);
    check_pointer("y", desc->y, y);
    Loops<3> loops;
    for (int i = 0; i < desc->y.rank; ++i) loops.add(desc->y.shape[i], {strides[kX][i], strides[kZ][i], desc->y.stride[i]});
    loops.simplify(kY);
    if (plain_copy) return strided_copy(*stream, loops, dtype_bytes(desc->y.dtype), x, y);
    elementwise(*stream, {operation, desc->alpha, desc->beta, desc->x.dtype, desc->z.dtype, desc->y.dtype, loops}, x, z, y);
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(elementwise);
GATUN_ABI_FUNCTION(gatun_elementwise);
GATUN_ABI_STRUCT(gatun_elementwise_desc, GATUN_ABI_FIELD(gatun_elementwise_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_elementwise_desc, operation), GATUN_ABI_FIELD(gatun_elementwise_desc, alpha),
                 GATUN_ABI_FIELD(gatun_elementwise_desc, beta), GATUN_ABI_FIELD(gatun_elementwise_desc, x),
                 GATUN_ABI_FIELD(gatun_elementwise_desc, z), GATUN_ABI_FIELD(gatun_elementwise_desc, y));

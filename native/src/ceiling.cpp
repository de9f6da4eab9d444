// SPDX-License-Identifier: Apache-2.0
#include "gatun/ceiling.h"

#include "abi.h"
#include "check.h"
#include "kernels/ceiling/ceiling.h"

namespace gatun {

// Operands of a ceiling of arithmetic.
template <class Desc>
static void check_arithmetic(const gatun_stream* stream, const Desc* desc, const void* flops, const void* result) {
  check_call(stream, desc);
  if (desc->iterations < 1) invalid("iterations is %lld, it must be positive", static_cast<long long>(desc->iterations));
  check_layout("flops", desc->flops, GATUN_I64, 1);
  check_shape("flops", desc->flops, {1});
  check_pointer("flops", desc->flops, flops);
  check_layout("result", desc->result, GATUN_F32, 1);
  check_shape("result", desc->result, {1});
  check_pointer("result", desc->result, result);
}

}  // namespace gatun

extern "C" {

gatun_status gatun_ceiling_fma(gatun_stream* stream, const gatun_ceiling_fma_desc* desc, void* flops, void* result, gatun_error* error) {
  using namespace gatun;
  return border("ceiling_fma", error, [&] {
    check_arithmetic(stream, desc, flops, result);
    ceiling_fma(*stream, desc->iterations, static_cast<int64_t*>(flops), static_cast<float*>(result));
  });
}

gatun_status gatun_ceiling_mma(gatun_stream* stream, const gatun_ceiling_mma_desc* desc, void* flops, void* result, gatun_error* error) {
  using namespace gatun;
  return border("ceiling_mma", error, [&] {
    check_arithmetic(stream, desc, flops, result);
    if (desc->dtype != GATUN_BF16 && desc->dtype != GATUN_F16) invalid("dtype is %s, allowed are bf16 and f16", dtype_name(desc->dtype));
#if defined(GATUN_CUDA)
    ceiling_mma(*stream, desc->dtype, desc->iterations, static_cast<int64_t*>(flops), static_cast<float*>(result));
#else
    throw Error(GATUN_UNSUPPORTED, "the CPU has no matrix units that Gatun uses");
#endif
  });
}

gatun_status gatun_ceiling_copy(gatun_stream* stream, const gatun_ceiling_copy_desc* desc, const void* x, void* y, gatun_error* error) {
  using namespace gatun;
  return border("ceiling_copy", error, [&] {
    check_call(stream, desc);
    check_layout("x", desc->x, GATUN_F32, 1);
    check_layout("y", desc->y, GATUN_F32, 1);
    check_same_shape("y", desc->y, "x", desc->x);
    check_pointer("x", desc->x, x);
    check_pointer("y", desc->y, y);
    ceiling_copy(*stream, static_cast<const float*>(x), static_cast<float*>(y), desc->x.shape[0]);
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(ceiling);
GATUN_ABI_FUNCTION(gatun_ceiling_fma);
GATUN_ABI_FUNCTION(gatun_ceiling_mma);
GATUN_ABI_FUNCTION(gatun_ceiling_copy);
GATUN_ABI_STRUCT(gatun_ceiling_fma_desc, GATUN_ABI_FIELD(gatun_ceiling_fma_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_ceiling_fma_desc, reserved), GATUN_ABI_FIELD(gatun_ceiling_fma_desc, iterations),
                 GATUN_ABI_FIELD(gatun_ceiling_fma_desc, flops), GATUN_ABI_FIELD(gatun_ceiling_fma_desc, result));
GATUN_ABI_STRUCT(gatun_ceiling_mma_desc, GATUN_ABI_FIELD(gatun_ceiling_mma_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_ceiling_mma_desc, dtype), GATUN_ABI_FIELD(gatun_ceiling_mma_desc, iterations),
                 GATUN_ABI_FIELD(gatun_ceiling_mma_desc, flops), GATUN_ABI_FIELD(gatun_ceiling_mma_desc, result));
GATUN_ABI_STRUCT(gatun_ceiling_copy_desc, GATUN_ABI_FIELD(gatun_ceiling_copy_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_ceiling_copy_desc, reserved), GATUN_ABI_FIELD(gatun_ceiling_copy_desc, x),
                 GATUN_ABI_FIELD(gatun_ceiling_copy_desc, y));

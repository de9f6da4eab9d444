// SPDX-License-Identifier: Apache-2.0
#include "gatun/cross_entropy.h"

#include "abi.h"
#include "check.h"
#include "kernels/cross_entropy/cross_entropy.h"

namespace gatun {

namespace {

// Checks what both directions share.
RowShape check_operands(float temperature, const gatun_layout& logits, const gatun_layout& targets) {
  check_divisor("temperature", temperature);
  check_storage("logits", logits, -1);
  const RowShape rows = collapse_rows("logits", logits);
  if (targets.dtype == GATUN_I32) {
    check_layout("targets", targets, GATUN_I32, 1);
    check_shape("targets", targets, {rows.rows});
  } else {
    check_layout("targets", targets, GATUN_F32, logits.rank);
    check_same_shape("targets", targets, "logits", logits);
  }
  return rows;
}

CrossEntropyTargets targets_of(const gatun_layout& layout, const void* data) {
  if (layout.dtype == GATUN_I32) return {nullptr, 0, static_cast<const int32_t*>(data)};
  return {static_cast<const float*>(data), collapse_rows("targets", layout).stride, nullptr};
}

void check_kept(const gatun_layout& layout, const void* data, int64_t rows) {
  if (present(layout)) {
    check_layout("kept", layout, GATUN_F32, 1);
    check_shape("kept", layout, {2 * rows});
  }
  check_pointer("kept", layout, data);
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_cross_entropy_forward(gatun_stream* stream, const gatun_cross_entropy_desc* desc, const void* logits,
                                         const void* targets, void* loss, void* lse, void* kept, gatun_error* error) {
  using namespace gatun;
  return border("cross_entropy_forward", error, [&] {
    check_call(stream, desc);
    const RowShape rows = check_operands(desc->temperature, desc->logits, desc->targets);
    check_layout("loss", desc->loss, GATUN_F32, 1);
    check_shape("loss", desc->loss, {rows.rows});
    if (present(desc->lse)) {
      check_layout("lse", desc->lse, GATUN_F32, 1);
      check_shape("lse", desc->lse, {rows.rows});
    }
    check_pointer("logits", desc->logits, logits);
    check_pointer("targets", desc->targets, targets);
    check_pointer("loss", desc->loss, loss);
    check_pointer("lse", desc->lse, lse);
    check_kept(desc->kept, kept, rows.rows);
    with_storage(desc->logits.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      cross_entropy_forward<T>(*stream, {static_cast<const T*>(logits), rows}, targets_of(desc->targets, targets), static_cast<float*>(loss),
                               static_cast<float*>(lse), static_cast<float*>(kept), desc->temperature);
    });
  });
}

gatun_status gatun_cross_entropy_backward(gatun_stream* stream, const gatun_cross_entropy_backward_desc* desc, const void* logits,
                                          const void* targets, const void* kept, const void* dloss, void* dlogits, gatun_error* error) {
  using namespace gatun;
  return border("cross_entropy_backward", error, [&] {
    check_call(stream, desc);
    const RowShape rows = check_operands(desc->temperature, desc->logits, desc->targets);
    check_kept(desc->kept, kept, rows.rows);
    check_view("dloss", desc->dloss, GATUN_F32, 1);
    check_shape("dloss", desc->dloss, {rows.rows});
    check_layout("dlogits", desc->dlogits, desc->logits.dtype, desc->logits.rank);
    check_same_shape("dlogits", desc->dlogits, "logits", desc->logits);
    check_no_overlap("dlogits", desc->dlogits);
    check_pointer("logits", desc->logits, logits);
    check_pointer("targets", desc->targets, targets);
    check_pointer("dloss", desc->dloss, dloss);
    check_pointer("dlogits", desc->dlogits, dlogits);
    const RowShape dlogits_rows = collapse_rows("dlogits", desc->dlogits);
    with_storage(desc->logits.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      cross_entropy_backward<T>(*stream, {static_cast<const T*>(logits), rows}, targets_of(desc->targets, targets),
                                static_cast<const float*>(kept), static_cast<const float*>(dloss), desc->dloss.stride[0], {static_cast<T*>(dlogits), dlogits_rows},
                                desc->temperature);
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(cross_entropy);
GATUN_ABI_FUNCTION(gatun_cross_entropy_forward);
GATUN_ABI_FUNCTION(gatun_cross_entropy_backward);
GATUN_ABI_STRUCT(gatun_cross_entropy_desc, GATUN_ABI_FIELD(gatun_cross_entropy_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_cross_entropy_desc, temperature), GATUN_ABI_FIELD(gatun_cross_entropy_desc, logits),
                 GATUN_ABI_FIELD(gatun_cross_entropy_desc, targets), GATUN_ABI_FIELD(gatun_cross_entropy_desc, loss),
                 GATUN_ABI_FIELD(gatun_cross_entropy_desc, lse), GATUN_ABI_FIELD(gatun_cross_entropy_desc, kept));
GATUN_ABI_STRUCT(gatun_cross_entropy_backward_desc, GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, temperature),
                 GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, logits), GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, targets),
                 GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, kept), GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, dloss), GATUN_ABI_FIELD(gatun_cross_entropy_backward_desc, dlogits));

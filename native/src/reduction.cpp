// SPDX-License-Identifier: Apache-2.0
#include "gatun/reduction.h"

#include "abi.h"
#include "check.h"
#include "kernels/reduction/reduction.h"

namespace gatun {

static Reduction checked_plan(const gatun_reduction_desc& desc) {
  if (desc.operation < GATUN_REDUCTION_SUM || desc.operation > GATUN_REDUCTION_MAXIMUM) invalid("unknown operation %d", desc.operation);
  check_stored_view("x", desc.x);
  check_view("y", desc.y, desc.y.dtype == desc.x.dtype ? desc.x.dtype : GATUN_F32, -1);
  check_no_overlap("y", desc.y);
  Reduction plan{desc.operation, desc.y.dtype, {}, {}};
  const int missing = desc.x.rank - desc.y.rank;
  bool fits = missing >= 0;
  for (int i = 0; i < desc.x.rank && fits; ++i) {
    const int64_t extent = i < missing ? 1 : desc.y.shape[i - missing];
    fits = extent == 1 || extent == desc.x.shape[i];
    if (extent == desc.x.shape[i] && i >= missing) {
      plan.kept.add(extent, {desc.x.stride[i], desc.y.stride[i - missing]});
    } else {
      plan.reduced.add(desc.x.shape[i], {desc.x.stride[i]});
    }
  }
  if (!fits) invalid("x does not reduce to y: %s against %s", describe(desc.x).c_str(), describe(desc.y).c_str());
  plan.kept.simplify(0);
  plan.reduced.simplify(0);
  return plan;
}

}  // namespace gatun

extern "C" {

gatun_status gatun_reduction_workspace(const gatun_reduction_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("reduction_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = checked_plan(*desc).workspace_bytes();
  });
}

gatun_status gatun_reduction(gatun_stream* stream, const gatun_reduction_desc* desc, const void* x, void* y, void* workspace,
                             size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("reduction", error, [&] {
    check_call(stream, desc);
    const Reduction plan = checked_plan(*desc);
    check_pointer("x", desc->x, x);
    check_pointer("y", desc->y, y);
    check_workspace(workspace, workspace_bytes, plan.workspace_bytes());
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      reduction<T>(*stream, plan, static_cast<const T*>(x), y, workspace);
    });
  });
}

gatun_status gatun_reduction_count_nonfinite(gatun_stream* stream, const gatun_reduction_count_nonfinite_desc* desc, const void* x,
                                             void* count, gatun_error* error) {
  using namespace gatun;
  return border("reduction_count_nonfinite", error, [&] {
    check_call(stream, desc);
    check_stored_view("x", desc->x);
    check_layout("count", desc->count, GATUN_I32, 1);
    check_shape("count", desc->count, {1});
    check_pointer("x", desc->x, x);
    check_pointer("count", desc->count, count);
    Loops<1> loops;
    for (int i = 0; i < desc->x.rank; ++i) loops.add(desc->x.shape[i], {desc->x.stride[i]});
    loops.simplify(0);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      reduction_count_nonfinite<T>(*stream, loops, static_cast<const T*>(x), static_cast<int32_t*>(count));
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(reduction);
GATUN_ABI_FUNCTION(gatun_reduction_workspace);
GATUN_ABI_FUNCTION(gatun_reduction);
GATUN_ABI_FUNCTION(gatun_reduction_count_nonfinite);
GATUN_ABI_STRUCT(gatun_reduction_desc, GATUN_ABI_FIELD(gatun_reduction_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_reduction_desc, operation), GATUN_ABI_FIELD(gatun_reduction_desc, x),
                 GATUN_ABI_FIELD(gatun_reduction_desc, y));
GATUN_ABI_STRUCT(gatun_reduction_count_nonfinite_desc, GATUN_ABI_FIELD(gatun_reduction_count_nonfinite_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_reduction_count_nonfinite_desc, reserved),
                 GATUN_ABI_FIELD(gatun_reduction_count_nonfinite_desc, x), GATUN_ABI_FIELD(gatun_reduction_count_nonfinite_desc, count));

// SPDX-License-Identifier: Apache-2.0
#include "gatun/group_norm.h"

#include "abi.h"
#include "check.h"
#include "kernels/group_norm/group_norm.h"

namespace gatun {

namespace {

void check_channels(const char* name, const gatun_layout& layout, int64_t channels) {
  if (!present(layout)) return;
  check_layout(name, layout, GATUN_F32, 1);
  check_shape(name, layout, {channels});
}

// Rank 2 contiguous: what the kernel indexes without strides.
void check_statistics(const char* name, const gatun_layout& layout, const GroupNormShape& shape) {
  check_layout(name, layout, GATUN_F32, 2);
  check_shape(name, layout, {shape.samples, shape.groups});
  if (shape.samples > 1 && layout.stride[0] != shape.groups) invalid("%s must be contiguous: %s", name, describe(layout).c_str());
}

GroupNormShape check_shape_of(const gatun_layout& x, int64_t groups) {
  check_storage("x", x, -1);
  if (x.rank < 2) invalid("x has rank %d, expected (B, ..., C)", x.rank);
  const RowShape rows = collapse_rows("x", x);
  if (groups < 1 || rows.columns % groups != 0) {
    invalid("groups is %lld, which does not divide %lld channels", static_cast<long long>(groups), static_cast<long long>(rows.columns));
  }
  const int64_t samples = x.shape[0];
  return {samples, samples > 0 ? rows.rows / samples : 0, rows.columns, groups};
}

void check_like_x(const char* name, const gatun_layout& layout, const gatun_layout& x) {
  check_layout(name, layout, x.dtype, x.rank);
  check_same_shape(name, layout, "x", x);
}

GroupNormShape check_forward(const gatun_group_norm_desc& desc) {
  if (!(desc.epsilon > 0.0f)) invalid("epsilon is %g, it must be positive", static_cast<double>(desc.epsilon));
  const GroupNormShape shape = check_shape_of(desc.x, desc.groups);
  check_channels("gamma", desc.gamma, shape.channels);
  check_channels("beta", desc.beta, shape.channels);
  check_like_x("y", desc.y, desc.x);
  check_no_overlap("y", desc.y);
  check_statistics("mean", desc.mean, shape);
  check_statistics("rstd", desc.rstd, shape);
  return shape;
}

GroupNormShape check_backward(const gatun_group_norm_backward_desc& desc) {
  const GroupNormShape shape = check_shape_of(desc.x, desc.groups);
  check_channels("gamma", desc.gamma, shape.channels);
  check_statistics("mean", desc.mean, shape);
  check_statistics("rstd", desc.rstd, shape);
  check_like_x("dy", desc.dy, desc.x);
  check_like_x("dx", desc.dx, desc.x);
  check_no_overlap("dx", desc.dx);
  check_channels("dgamma", desc.dgamma, shape.channels);
  check_channels("dbeta", desc.dbeta, shape.channels);
  return shape;
}

template <class T = float>
const T* in(const void* p) {
  return static_cast<const T*>(p);
}
template <class T = float>
T* out(void* p) {
  return static_cast<T*>(p);
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_group_norm_forward_workspace(const gatun_group_norm_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("group_norm_forward_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = group_norm_workspace(check_forward(*desc));
  });
}

gatun_status gatun_group_norm_forward(gatun_stream* stream, const gatun_group_norm_desc* desc, const void* x, const void* gamma,
                                      const void* beta, void* y, void* mean, void* rstd, void* workspace, size_t workspace_bytes,
                                      gatun_error* error) {
  using namespace gatun;
  return border("group_norm_forward", error, [&] {
    check_call(stream, desc);
    const GroupNormShape shape = check_forward(*desc);
    check_pointer("x", desc->x, x);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("beta", desc->beta, beta);
    check_pointer("y", desc->y, y);
    check_pointer("mean", desc->mean, mean);
    check_pointer("rstd", desc->rstd, rstd);
    check_workspace(workspace, workspace_bytes, group_norm_workspace(shape));
    const RowShape x_rows = collapse_rows("x", desc->x), y_rows = collapse_rows("y", desc->y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      group_norm_forward<T>(*stream, shape, {in<T>(x), x_rows}, in(gamma), in(beta), {out<T>(y), y_rows}, out(mean), out(rstd),
                            desc->epsilon, out(workspace));
    });
  });
}

gatun_status gatun_group_norm_backward_workspace(const gatun_group_norm_backward_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("group_norm_backward_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = group_norm_workspace(check_backward(*desc));
  });
}

gatun_status gatun_group_norm_backward(gatun_stream* stream, const gatun_group_norm_backward_desc* desc, const void* x, const void* gamma,
                                       const void* mean, const void* rstd, const void* dy, void* dx, void* dgamma, void* dbeta,
                                       void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("group_norm_backward", error, [&] {
    check_call(stream, desc);
    const GroupNormShape shape = check_backward(*desc);
    check_pointer("x", desc->x, x);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("mean", desc->mean, mean);
    check_pointer("rstd", desc->rstd, rstd);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dx", desc->dx, dx);
    check_pointer("dgamma", desc->dgamma, dgamma);
    check_pointer("dbeta", desc->dbeta, dbeta);
    check_workspace(workspace, workspace_bytes, group_norm_workspace(shape));
    const RowShape x_rows = collapse_rows("x", desc->x), dy_rows = collapse_rows("dy", desc->dy), dx_rows = collapse_rows("dx", desc->dx);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      group_norm_backward<T>(*stream, shape, {in<T>(x), x_rows}, in(gamma), in(mean), in(rstd), {in<T>(dy), dy_rows},
                             {out<T>(dx), dx_rows}, out(dgamma), out(dbeta), out(workspace));
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(group_norm);
GATUN_ABI_FUNCTION(gatun_group_norm_forward_workspace);
GATUN_ABI_FUNCTION(gatun_group_norm_forward);
GATUN_ABI_FUNCTION(gatun_group_norm_backward_workspace);
GATUN_ABI_FUNCTION(gatun_group_norm_backward);
GATUN_ABI_STRUCT(gatun_group_norm_desc, GATUN_ABI_FIELD(gatun_group_norm_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_group_norm_desc, epsilon), GATUN_ABI_FIELD(gatun_group_norm_desc, groups),
                 GATUN_ABI_FIELD(gatun_group_norm_desc, x), GATUN_ABI_FIELD(gatun_group_norm_desc, gamma),
                 GATUN_ABI_FIELD(gatun_group_norm_desc, beta), GATUN_ABI_FIELD(gatun_group_norm_desc, y),
                 GATUN_ABI_FIELD(gatun_group_norm_desc, mean), GATUN_ABI_FIELD(gatun_group_norm_desc, rstd));
GATUN_ABI_STRUCT(gatun_group_norm_backward_desc, GATUN_ABI_FIELD(gatun_group_norm_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_group_norm_backward_desc, reserved), GATUN_ABI_FIELD(gatun_group_norm_backward_desc, groups),
                 GATUN_ABI_FIELD(gatun_group_norm_backward_desc, x), GATUN_ABI_FIELD(gatun_group_norm_backward_desc, gamma),
                 GATUN_ABI_FIELD(gatun_group_norm_backward_desc, mean), GATUN_ABI_FIELD(gatun_group_norm_backward_desc, rstd),
                 GATUN_ABI_FIELD(gatun_group_norm_backward_desc, dy), GATUN_ABI_FIELD(gatun_group_norm_backward_desc, dx),
                 GATUN_ABI_FIELD(gatun_group_norm_backward_desc, dgamma), GATUN_ABI_FIELD(gatun_group_norm_backward_desc, dbeta));

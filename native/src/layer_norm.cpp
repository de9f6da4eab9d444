// SPDX-License-Identifier: Apache-2.0
#include "gatun/layer_norm.h"

#include "abi.h"
#include "check.h"
#include "kernels/layer_norm/layer_norm.h"

namespace gatun {

namespace {

void check_vector(const char* name, const gatun_layout& layout, int64_t extent, bool optional) {
  if (optional && !present(layout)) return;
  check_layout(name, layout, GATUN_F32, 1);
  check_shape(name, layout, {extent});
}

RowShape check_backward(const gatun_layer_norm_backward_desc& desc) {
  check_storage("x", desc.x, -1);
  const RowShape rows = collapse_rows("x", desc.x);
  check_vector("gamma", desc.gamma, rows.columns, true);
  check_vector("mean", desc.mean, rows.rows, false);
  check_vector("rstd", desc.rstd, rows.rows, false);
  check_layout("dy", desc.dy, desc.x.dtype, desc.x.rank);
  check_same_shape("dy", desc.dy, "x", desc.x);
  check_layout("dx", desc.dx, desc.x.dtype, desc.x.rank);
  check_same_shape("dx", desc.dx, "x", desc.x);
  check_no_overlap("dx", desc.dx);
  check_vector("dgamma", desc.dgamma, rows.columns, true);
  check_vector("dbeta", desc.dbeta, rows.columns, true);
  return rows;
}

size_t workspace_of(const gatun_layer_norm_backward_desc& desc, const RowShape& rows) {
  return present(desc.dgamma) || present(desc.dbeta) ? layer_norm_workspace(rows.rows, rows.columns) : 0;
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_layer_norm_forward(gatun_stream* stream, const gatun_layer_norm_desc* desc, const void* x, const void* gamma,
                                      const void* beta, void* y, void* mean, void* rstd, gatun_error* error) {
  using namespace gatun;
  return border("layer_norm_forward", error, [&] {
    check_call(stream, desc);
    if (!(desc->epsilon > 0.0f)) invalid("epsilon is %g, it must be positive", static_cast<double>(desc->epsilon));
    check_storage("x", desc->x, -1);
    const RowShape rows = collapse_rows("x", desc->x);
    check_vector("gamma", desc->gamma, rows.columns, true);
    check_vector("beta", desc->beta, rows.columns, true);
    check_layout("y", desc->y, desc->x.dtype, desc->x.rank);
    check_same_shape("y", desc->y, "x", desc->x);
    check_no_overlap("y", desc->y);
    check_vector("mean", desc->mean, rows.rows, false);
    check_vector("rstd", desc->rstd, rows.rows, false);
    check_pointer("x", desc->x, x);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("beta", desc->beta, beta);
    check_pointer("y", desc->y, y);
    check_pointer("mean", desc->mean, mean);
    check_pointer("rstd", desc->rstd, rstd);
    const RowShape y_rows = collapse_rows("y", desc->y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      layer_norm_forward<T>(*stream, {static_cast<const T*>(x), rows}, static_cast<const float*>(gamma), static_cast<const float*>(beta),
                            {static_cast<T*>(y), y_rows}, static_cast<float*>(mean), static_cast<float*>(rstd), desc->epsilon);
    });
  });
}

gatun_status gatun_layer_norm_backward_workspace(const gatun_layer_norm_backward_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("layer_norm_backward_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = workspace_of(*desc, check_backward(*desc));
  });
}

gatun_status gatun_layer_norm_backward(gatun_stream* stream, const gatun_layer_norm_backward_desc* desc, const void* x, const void* gamma,
                                       const void* mean, const void* rstd, const void* dy, void* dx, void* dgamma, void* dbeta,
                                       void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("layer_norm_backward", error, [&] {
    check_call(stream, desc);
    const RowShape rows = check_backward(*desc);
    check_pointer("x", desc->x, x);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("mean", desc->mean, mean);
    check_pointer("rstd", desc->rstd, rstd);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dx", desc->dx, dx);
    check_pointer("dgamma", desc->dgamma, dgamma);
    check_pointer("dbeta", desc->dbeta, dbeta);
    check_workspace(workspace, workspace_bytes, workspace_of(*desc, rows));
    const RowShape dy_rows = collapse_rows("dy", desc->dy), dx_rows = collapse_rows("dx", desc->dx);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      layer_norm_backward<T>(*stream, {static_cast<const T*>(x), rows}, static_cast<const float*>(gamma), static_cast<const float*>(mean),
                             static_cast<const float*>(rstd), {static_cast<const T*>(dy), dy_rows}, {static_cast<T*>(dx), dx_rows},
                             static_cast<float*>(dgamma), static_cast<float*>(dbeta), static_cast<float*>(workspace));
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(layer_norm);
GATUN_ABI_FUNCTION(gatun_layer_norm_forward);
GATUN_ABI_FUNCTION(gatun_layer_norm_backward_workspace);
GATUN_ABI_FUNCTION(gatun_layer_norm_backward);
GATUN_ABI_STRUCT(gatun_layer_norm_desc, GATUN_ABI_FIELD(gatun_layer_norm_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_layer_norm_desc, epsilon), GATUN_ABI_FIELD(gatun_layer_norm_desc, x),
                 GATUN_ABI_FIELD(gatun_layer_norm_desc, gamma), GATUN_ABI_FIELD(gatun_layer_norm_desc, beta),
                 GATUN_ABI_FIELD(gatun_layer_norm_desc, y), GATUN_ABI_FIELD(gatun_layer_norm_desc, mean),
                 GATUN_ABI_FIELD(gatun_layer_norm_desc, rstd));
GATUN_ABI_STRUCT(gatun_layer_norm_backward_desc, GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, reserved), GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, x),
                 GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, gamma), GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, mean),
                 GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, rstd), GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, dy),
                 GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, dx), GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, dgamma),
                 GATUN_ABI_FIELD(gatun_layer_norm_backward_desc, dbeta));

// SPDX-License-Identifier: Apache-2.0
#include "gatun/batch_norm.h"

#include <string>

#include "abi.h"
#include "check.h"
#include "kernels/batch_norm/batch_norm.h"

namespace gatun {

namespace {

RowShape check_rows(const char* name, const gatun_layout& layout, const gatun_layout& x, bool written) {
  check_layout(name, layout, x.dtype, x.rank);
  check_same_shape(name, layout, "x", x);
  if (written) check_no_overlap(name, layout);
  return collapse_rows(name, layout);
}

RowShape check_x(const gatun_layout& x) {
  check_storage("x", x, -1);
  return collapse_rows("x", x);
}

void check_channels(const char* name, const gatun_layout& layout, int64_t columns, bool optional = false) {
  if (optional && !present(layout)) return;
  check_layout(name, layout, GATUN_F32, 1);
  check_shape(name, layout, {columns});
}

void check_relu(int32_t relu) {
  if (relu != 0 && relu != 1) invalid("relu is %d, it must be 0 or 1", relu);
}

void check_count(int64_t count, int64_t rows) {
  if (count < 2 || count < rows) invalid("count is %lld for %lld rows, it must be at least 2 and at least the rows", static_cast<long long>(count), static_cast<long long>(rows));
}

void check_epsilon(double epsilon) {
  if (!(epsilon > 0.0)) invalid("epsilon is %g, it must be positive", epsilon);
}

template <class T = float>
const T* in(const void* p) {
  return static_cast<const T*>(p);
}
template <class T = float>
T* out(void* p) {
  return static_cast<T*>(p);
}

// The operands of a residual block's end, which the CPU alone takes.
RowShape check_residual(const char* name, const gatun_layout& layout, const gatun_layout& x, bool written) {
  if (!present(layout)) return {0, 0, 0};
#if defined(GATUN_CUDA)
  throw Error(GATUN_UNSUPPORTED, std::string(name) + " is for the CPU only: " + describe(layout));
#endif
  return check_rows(name, layout, x, written);
}

RowShape check_statistics(const gatun_batch_norm_statistics_desc& desc) {
  const RowShape rows = check_x(desc.x);
  check_channels("mean", desc.mean, rows.columns);
  check_channels("centered", desc.centered, rows.columns);
  return rows;
}

RowShape check_sums(const gatun_batch_norm_backward_sums_desc& desc) {
  check_relu(desc.relu);
  const RowShape rows = check_x(desc.x);
  check_channels("mean", desc.mean, rows.columns);
  check_channels("rstd", desc.rstd, rows.columns);
  check_channels("gamma", desc.gamma, rows.columns, true);
  check_channels("beta", desc.beta, rows.columns, true);
  check_rows("dy", desc.dy, desc.x, false);
  check_channels("dgamma", desc.dgamma, rows.columns);
  check_channels("dbeta", desc.dbeta, rows.columns);
  if (present(desc.y) != present(desc.dresidual)) invalid("y and dresidual must be there together or not at all");
  if (present(desc.y) && desc.relu == 0) invalid("y and dresidual are for relu 1, relu is 0");
  check_residual("y", desc.y, desc.x, false);
  check_residual("dresidual", desc.dresidual, desc.x, true);
  return rows;
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_batch_norm_statistics_workspace(const gatun_batch_norm_statistics_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_statistics_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    const RowShape rows = check_statistics(*desc);
    *bytes = batch_norm_workspace(rows.rows, rows.columns);
  });
}

gatun_status gatun_batch_norm_statistics(gatun_stream* stream, const gatun_batch_norm_statistics_desc* desc, const void* x, void* mean,
                                         void* centered, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_statistics", error, [&] {
    check_call(stream, desc);
    const RowShape rows = check_statistics(*desc);
    check_pointer("x", desc->x, x);
    check_pointer("mean", desc->mean, mean);
    check_pointer("centered", desc->centered, centered);
    check_workspace(workspace, workspace_bytes, batch_norm_workspace(rows.rows, rows.columns));
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      batch_norm_statistics<T>(*stream, {in<T>(x), rows}, out(mean), out(centered), out(workspace));
    });
  });
}

gatun_status gatun_batch_norm_forward(gatun_stream* stream, const gatun_batch_norm_desc* desc, const void* x, const void* mean,
                                      const void* centered, const void* gamma, const void* beta, const void* momentum, void* running_mean,
                                      void* running_variance, void* rstd, void* y, const void* residual, gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_forward", error, [&] {
    check_call(stream, desc);
    check_relu(desc->relu);
    check_epsilon(desc->epsilon);
    const RowShape rows = check_x(desc->x);
    check_count(desc->count, rows.rows);
    check_channels("mean", desc->mean, rows.columns);
    check_channels("centered", desc->centered, rows.columns);
    check_channels("gamma", desc->gamma, rows.columns, true);
    check_channels("beta", desc->beta, rows.columns, true);
    if (present(desc->running_mean) != present(desc->running_variance) || present(desc->running_mean) != present(desc->momentum)) {
      invalid("momentum, running_mean and running_variance must be there together or not at all");
    }
    check_channels("momentum", desc->momentum, 1, true);
    check_channels("running_mean", desc->running_mean, rows.columns, true);
    check_channels("running_variance", desc->running_variance, rows.columns, true);
    check_channels("rstd", desc->rstd, rows.columns);
    const RowShape y_rows = check_rows("y", desc->y, desc->x, true);
    const RowShape residual_rows = check_residual("residual", desc->residual, desc->x, false);
    check_pointer("x", desc->x, x);
    check_pointer("mean", desc->mean, mean);
    check_pointer("centered", desc->centered, centered);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("beta", desc->beta, beta);
    check_pointer("momentum", desc->momentum, momentum);
    check_pointer("running_mean", desc->running_mean, running_mean);
    check_pointer("running_variance", desc->running_variance, running_variance);
    check_pointer("rstd", desc->rstd, rstd);
    check_pointer("y", desc->y, y);
    check_pointer("residual", desc->residual, residual);
    batch_norm_update(*stream, in(mean), in(centered), rows.columns, desc->count, desc->epsilon, in(momentum), out(running_mean),
                      out(running_variance), out(rstd));
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      batch_norm_apply<T>(*stream, {in<T>(x), rows}, {in(mean), in(rstd), in(gamma), in(beta), desc->relu == 1}, {in<T>(residual), residual_rows},
                          {out<T>(y), y_rows});
    });
  });
}

gatun_status gatun_batch_norm_inference(gatun_stream* stream, const gatun_batch_norm_inference_desc* desc, const void* x, const void* mean,
                                        const void* variance, const void* gamma, const void* beta, void* y, gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_inference", error, [&] {
    check_call(stream, desc);
    check_relu(desc->relu);
    check_epsilon(desc->epsilon);
    const RowShape rows = check_x(desc->x);
    check_channels("mean", desc->mean, rows.columns);
    check_channels("variance", desc->variance, rows.columns);
    check_channels("gamma", desc->gamma, rows.columns, true);
    check_channels("beta", desc->beta, rows.columns, true);
    const RowShape y_rows = check_rows("y", desc->y, desc->x, true);
    check_pointer("x", desc->x, x);
    check_pointer("mean", desc->mean, mean);
    check_pointer("variance", desc->variance, variance);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("beta", desc->beta, beta);
    check_pointer("y", desc->y, y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      batch_norm_inference<T>(*stream, {in<T>(x), rows}, {in(mean), nullptr, in(gamma), in(beta), desc->relu == 1}, in(variance),
                              desc->epsilon, {out<T>(y), y_rows});
    });
  });
}

gatun_status gatun_batch_norm_backward_sums_workspace(const gatun_batch_norm_backward_sums_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_backward_sums_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    const RowShape rows = check_sums(*desc);
    *bytes = batch_norm_workspace(rows.rows, rows.columns);
  });
}

gatun_status gatun_batch_norm_backward_sums(gatun_stream* stream, const gatun_batch_norm_backward_sums_desc* desc, const void* x,
                                            const void* mean, const void* rstd, const void* gamma, const void* beta, const void* dy,
                                            void* dgamma, void* dbeta, const void* y, void* dresidual, void* workspace, size_t workspace_bytes,
                                            gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_backward_sums", error, [&] {
    check_call(stream, desc);
    const RowShape rows = check_sums(*desc);
    check_pointer("x", desc->x, x);
    check_pointer("mean", desc->mean, mean);
    check_pointer("rstd", desc->rstd, rstd);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("beta", desc->beta, beta);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dgamma", desc->dgamma, dgamma);
    check_pointer("dbeta", desc->dbeta, dbeta);
    check_pointer("y", desc->y, y);
    check_pointer("dresidual", desc->dresidual, dresidual);
    check_workspace(workspace, workspace_bytes, batch_norm_workspace(rows.rows, rows.columns));
    const RowShape dy_rows = collapse_rows("dy", desc->dy);
    const RowShape y_rows = check_residual("y", desc->y, desc->x, false);
    const RowShape dresidual_rows = check_residual("dresidual", desc->dresidual, desc->x, true);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      batch_norm_backward_sums<T>(*stream, {in<T>(x), rows}, {in(mean), in(rstd), in(gamma), in(beta), desc->relu == 1},
                                  {in<T>(y), y_rows}, {in<T>(dy), dy_rows}, {out<T>(dresidual), dresidual_rows}, out(dgamma), out(dbeta),
                                  out(workspace));
    });
  });
}

gatun_status gatun_batch_norm_backward(gatun_stream* stream, const gatun_batch_norm_backward_desc* desc, const void* x, const void* mean,
                                       const void* rstd, const void* gamma, const void* beta, const void* dy, const void* dgamma,
                                       const void* dbeta, void* dx, gatun_error* error) {
  using namespace gatun;
  return border("batch_norm_backward", error, [&] {
    check_call(stream, desc);
    check_relu(desc->relu);
    const RowShape rows = check_x(desc->x);
    check_count(desc->count, rows.rows);
    check_channels("mean", desc->mean, rows.columns);
    check_channels("rstd", desc->rstd, rows.columns);
    check_channels("gamma", desc->gamma, rows.columns, true);
    check_channels("beta", desc->beta, rows.columns, true);
    const RowShape dy_rows = check_rows("dy", desc->dy, desc->x, false);
    check_channels("dgamma", desc->dgamma, rows.columns);
    check_channels("dbeta", desc->dbeta, rows.columns);
    const RowShape dx_rows = check_rows("dx", desc->dx, desc->x, true);
    check_pointer("x", desc->x, x);
    check_pointer("mean", desc->mean, mean);
    check_pointer("rstd", desc->rstd, rstd);
    check_pointer("gamma", desc->gamma, gamma);
    check_pointer("beta", desc->beta, beta);
    check_pointer("dy", desc->dy, dy);
    check_pointer("dgamma", desc->dgamma, dgamma);
    check_pointer("dbeta", desc->dbeta, dbeta);
    check_pointer("dx", desc->dx, dx);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      batch_norm_backward<T>(*stream, {in<T>(x), rows}, {in(mean), in(rstd), in(gamma), in(beta), desc->relu == 1}, {in<T>(dy), dy_rows},
                             in(dgamma), in(dbeta), desc->count, {out<T>(dx), dx_rows});
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(batch_norm);
GATUN_ABI_FUNCTION(gatun_batch_norm_statistics_workspace);
GATUN_ABI_FUNCTION(gatun_batch_norm_statistics);
GATUN_ABI_FUNCTION(gatun_batch_norm_forward);
GATUN_ABI_FUNCTION(gatun_batch_norm_inference);
GATUN_ABI_FUNCTION(gatun_batch_norm_backward_sums_workspace);
GATUN_ABI_FUNCTION(gatun_batch_norm_backward_sums);
GATUN_ABI_FUNCTION(gatun_batch_norm_backward);
GATUN_ABI_STRUCT(gatun_batch_norm_statistics_desc, GATUN_ABI_FIELD(gatun_batch_norm_statistics_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_batch_norm_statistics_desc, reserved), GATUN_ABI_FIELD(gatun_batch_norm_statistics_desc, x),
                 GATUN_ABI_FIELD(gatun_batch_norm_statistics_desc, mean), GATUN_ABI_FIELD(gatun_batch_norm_statistics_desc, centered));
GATUN_ABI_STRUCT(gatun_batch_norm_desc, GATUN_ABI_FIELD(gatun_batch_norm_desc, struct_size), GATUN_ABI_FIELD(gatun_batch_norm_desc, relu),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, count), GATUN_ABI_FIELD(gatun_batch_norm_desc, epsilon),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, x), GATUN_ABI_FIELD(gatun_batch_norm_desc, mean),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, centered), GATUN_ABI_FIELD(gatun_batch_norm_desc, gamma),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, beta), GATUN_ABI_FIELD(gatun_batch_norm_desc, momentum),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, running_mean), GATUN_ABI_FIELD(gatun_batch_norm_desc, running_variance),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, rstd), GATUN_ABI_FIELD(gatun_batch_norm_desc, y),
                 GATUN_ABI_FIELD(gatun_batch_norm_desc, residual));
GATUN_ABI_STRUCT(gatun_batch_norm_inference_desc, GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, relu), GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, epsilon),
                 GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, x), GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, mean),
                 GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, variance), GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, gamma),
                 GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, beta), GATUN_ABI_FIELD(gatun_batch_norm_inference_desc, y));
GATUN_ABI_STRUCT(gatun_batch_norm_backward_sums_desc, GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, relu), GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, x),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, mean), GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, rstd),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, gamma), GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, beta),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, dy), GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, dgamma),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, dbeta), GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, y),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_sums_desc, dresidual));
GATUN_ABI_STRUCT(gatun_batch_norm_backward_desc, GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, relu), GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, count),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, x), GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, mean),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, rstd), GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, gamma),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, beta), GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, dy),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, dgamma), GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, dbeta),
                 GATUN_ABI_FIELD(gatun_batch_norm_backward_desc, dx));

// SPDX-License-Identifier: Apache-2.0
#include "gatun/stochastic_depth.h"

#include <cmath>

#include "abi.h"
#include "kernels/stochastic_depth/stochastic_depth.h"
#include "random_check.h"
#include "row_check.h"

namespace gatun {

namespace {

#if defined(GATUN_CUDA)
constexpr int64_t kMostPositions = int64_t{1} << 30;
#endif

size_t subset_bytes(const gatun_stochastic_depth_subset_desc* desc) {
  if (desc->samples < 0 || desc->samples > INT32_MAX) {
    invalid("samples is %lld, allowed are 0 to 2147483647", static_cast<long long>(desc->samples));
  }
  check_layout("indices", desc->indices, GATUN_I32, 1);
  if (desc->indices.shape[0] > desc->samples) {
    invalid("indices has %lld entries, more than samples = %lld", static_cast<long long>(desc->indices.shape[0]),
            static_cast<long long>(desc->samples));
  }
  return random_order_bytes(desc->samples);
}

// Operands that the forward and the backward pass share: `rows` are those of residual or its gradient, `all` those of x or dy.
template <class Desc>
RowScale check_scale(const Desc* desc, const char* all_name, const gatun_layout& all, const char* rows_name, const gatun_layout& rows) {
  if (!std::isfinite(desc->scale)) invalid("scale is %g, it must be finite", static_cast<double>(desc->scale));
  check_storage(all_name, all, -1);
  if (all.rank < 2) invalid("%s has rank 1, allowed are 2 to %d", all_name, GATUN_MAX_RANK);
  check_same_dtype(rows_name, rows, all_name, all);
  check_storage(rows_name, rows, all.rank);
  check_same_rows(rows_name, rows, all_name, all);
  const int64_t count = rows.shape[0];
  const int64_t channels = all.shape[all.rank - 1];
  if (present(desc->indices)) {
    check_layout("indices", desc->indices, GATUN_I32, 1);
    check_shape("indices", desc->indices, {count});
  } else {
    check_same_shape(rows_name, rows, all_name, all);
  }
  if (present(desc->mask)) {
    check_layout("mask", desc->mask, GATUN_F32, 1);
    check_shape("mask", desc->mask, {count});
  }
  if (present(desc->gamma)) {
    check_layout("gamma", desc->gamma, GATUN_F32, 1);
    check_shape("gamma", desc->gamma, {channels});
  }
  return {desc->scale, nullptr, nullptr, channels};
}

template <class Desc>
void check_scale_pointers(const Desc* desc, const void* indices, const void* mask, const void* gamma, const char* name, int64_t count, int64_t rows,
                          RowScale& scale) {
  check_pointer("indices", desc->indices, indices);
  check_pointer("mask", desc->mask, mask);
  check_pointer("gamma", desc->gamma, gamma);
  if (present(desc->indices)) check_indices(indices, count, name, rows);
  scale.mask = static_cast<const float*>(mask);
  scale.gamma = static_cast<const float*>(gamma);
}

size_t backward_bytes(const gatun_stochastic_depth_backward_desc* desc) {
  const RowScale scale = check_scale(desc, "dy", desc->dy, "dresidual", desc->dresidual);
  if (!present(desc->dgamma)) return 0;
  check_layout("dgamma", desc->dgamma, GATUN_F32, 1);
  check_shape("dgamma", desc->dgamma, {scale.channels});
  const int64_t lines = scale.channels > 0 ? elements(desc->dresidual) / scale.channels : 0;
  return stochastic_depth_backward_workspace(lines, scale.channels);
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_stochastic_depth_mask(gatun_stream* stream, const gatun_stochastic_depth_mask_desc* desc, const gatun_random_key* key,
                                         const void* ids, void* mask, gatun_error* error) {
  using namespace gatun;
  return border("stochastic_depth_mask", error, [&] {
    check_call(stream, desc);
    if (!(desc->rate >= 0.0f && desc->rate < 1.0f)) invalid("rate is %g, it must be in [0, 1)", static_cast<double>(desc->rate));
    check_key(key);
    check_layout("mask", desc->mask, GATUN_F32, 1);
    check_ids(desc->ids, ids, desc->mask.shape[0]);
    check_pointer("mask", desc->mask, mask);
    stochastic_depth_mask(*stream, key, {static_cast<const int64_t*>(ids), desc->first_id}, desc->mask.shape[0], desc->rate,
                          static_cast<float*>(mask));
  });
}

gatun_status gatun_stochastic_depth_subset_workspace(const gatun_stochastic_depth_subset_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("stochastic_depth_subset_workspace", error, [&] {
    check_descriptor(desc);
    const size_t needed = subset_bytes(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = needed;
  });
}

gatun_status gatun_stochastic_depth_subset(gatun_stream* stream, const gatun_stochastic_depth_subset_desc* desc, const gatun_random_key* key,
                                           const void* ids, void* indices, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("stochastic_depth_subset", error, [&] {
    check_call(stream, desc);
    const size_t needed = subset_bytes(desc);
    check_key(key);
    check_ids(desc->ids, ids, desc->samples);
    check_pointer("indices", desc->indices, indices);
    check_workspace(workspace, workspace_bytes, needed);
    random_order_rows(*stream, key, {static_cast<const int64_t*>(ids), desc->first_id}, desc->samples, desc->indices.shape[0], workspace,
                      static_cast<int32_t*>(indices));
  });
}

gatun_status gatun_stochastic_depth_forward(gatun_stream* stream, const gatun_stochastic_depth_desc* desc, const void* x,
                                            const void* residual, const void* indices, const void* mask, const void* gamma, void* y,
                                            gatun_error* error) {
  using namespace gatun;
  return border("stochastic_depth_forward", error, [&] {
    check_call(stream, desc);
    RowScale scale = check_scale(desc, "x", desc->x, "residual", desc->residual);
    check_same_dtype("y", desc->y, "x", desc->x);
    check_storage("y", desc->y, desc->x.rank);
    check_same_shape("y", desc->y, "x", desc->x);
    check_no_overlap("y", desc->y);
    const RowShape in = first_rows("x", desc->x), added = first_rows("residual", desc->residual), out = first_rows("y", desc->y);
    check_pointer("x", desc->x, x);
    check_pointer("residual", desc->residual, residual);
    check_pointer("y", desc->y, y);
    check_scale_pointers(desc, indices, mask, gamma, "x", added.rows, in.rows, scale);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      const Rows<const T> base(static_cast<const T*>(x), in);
      scatter_add_rows<T>(*stream, &base, {static_cast<const T*>(residual), added}, static_cast<const int32_t*>(indices), scale,
                          {static_cast<T*>(y), out});
    });
  });
}

gatun_status gatun_stochastic_depth_backward_workspace(const gatun_stochastic_depth_backward_desc* desc, size_t* bytes,
                                                       gatun_error* error) {
  using namespace gatun;
  return border("stochastic_depth_backward_workspace", error, [&] {
    check_descriptor(desc);
    const size_t needed = backward_bytes(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = needed;
  });
}

gatun_status gatun_stochastic_depth_backward(gatun_stream* stream, const gatun_stochastic_depth_backward_desc* desc, const void* dy,
                                             const void* residual, const void* indices, const void* mask, const void* gamma,
                                             void* dresidual, void* dgamma, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("stochastic_depth_backward", error, [&] {
    check_call(stream, desc);
    RowScale scale = check_scale(desc, "dy", desc->dy, "dresidual", desc->dresidual);
    check_no_overlap("dresidual", desc->dresidual);
    const size_t needed = backward_bytes(desc);
    const RowShape in = first_rows("dy", desc->dy), out = first_rows("dresidual", desc->dresidual);
    RowShape added = out;
    if (present(desc->dgamma) || present(desc->residual)) {
      check_same_dtype("residual", desc->residual, "dresidual", desc->dresidual);
      check_storage("residual", desc->residual, desc->dresidual.rank);
      check_same_shape("residual", desc->residual, "dresidual", desc->dresidual);
      added = first_rows("residual", desc->residual);
    }
#if defined(GATUN_CUDA)
    if (scale.channels > 0 && out.columns / scale.channels > kMostPositions) invalid("dresidual has more positions than 2^30: %s", describe(desc->dresidual).c_str());
#endif
    check_pointer("dy", desc->dy, dy);
    check_pointer("residual", desc->residual, residual);
    check_pointer("dresidual", desc->dresidual, dresidual);
    check_pointer("dgamma", desc->dgamma, dgamma);
    check_workspace(workspace, workspace_bytes, needed);
    check_scale_pointers(desc, indices, mask, gamma, "dy", out.rows, in.rows, scale);
    with_storage(desc->dy.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      const Rows<const T> values(static_cast<const T*>(residual), added);
      stochastic_depth_backward<T>(*stream, {static_cast<const T*>(dy), in}, &values, static_cast<const int32_t*>(indices), scale,
                                   {static_cast<T*>(dresidual), out}, static_cast<float*>(dgamma), static_cast<float*>(workspace));
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(stochastic_depth);
GATUN_ABI_FUNCTION(gatun_stochastic_depth_mask);
GATUN_ABI_FUNCTION(gatun_stochastic_depth_subset_workspace);
GATUN_ABI_FUNCTION(gatun_stochastic_depth_subset);
GATUN_ABI_FUNCTION(gatun_stochastic_depth_forward);
GATUN_ABI_FUNCTION(gatun_stochastic_depth_backward_workspace);
GATUN_ABI_FUNCTION(gatun_stochastic_depth_backward);
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_stochastic_depth_mask_desc, NAME)
GATUN_ABI_STRUCT(gatun_stochastic_depth_mask_desc, FIELD(struct_size), FIELD(rate), FIELD(first_id), FIELD(ids), FIELD(mask));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_stochastic_depth_subset_desc, NAME)
GATUN_ABI_STRUCT(gatun_stochastic_depth_subset_desc, FIELD(struct_size), FIELD(reserved), FIELD(samples), FIELD(first_id), FIELD(ids),
                 FIELD(indices));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_stochastic_depth_desc, NAME)
GATUN_ABI_STRUCT(gatun_stochastic_depth_desc, FIELD(struct_size), FIELD(scale), FIELD(x), FIELD(residual), FIELD(indices), FIELD(mask),
                 FIELD(gamma), FIELD(y));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_stochastic_depth_backward_desc, NAME)
GATUN_ABI_STRUCT(gatun_stochastic_depth_backward_desc, FIELD(struct_size), FIELD(scale), FIELD(dy), FIELD(residual), FIELD(indices),
                 FIELD(mask), FIELD(gamma), FIELD(dresidual), FIELD(dgamma));
#undef FIELD

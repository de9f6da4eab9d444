// SPDX-License-Identifier: Apache-2.0
#include "gatun/info_nce.h"

#include "abi.h"
#include "check.h"
#include "kernels/info_nce/info_nce.h"

namespace gatun {

namespace {

template <class T>
InfoNceRows<T> rows_of(const gatun_layout& layout, T* data) {
  return {data, layout.shape[0], layout.stride[0]};
}

void check_per_row(const char* name, const gatun_layout& layout, int32_t dtype, int64_t rows) {
  check_layout(name, layout, dtype, 1);
  check_shape(name, layout, {rows});
}

void check_written(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other) {
  check_storage(name, layout, 2);
  check_same_dtype(name, layout, other_name, other);
  check_same_shape(name, layout, other_name, other);
  check_no_overlap(name, layout);
}

// What both descriptors have, except pointers.
template <class Desc>
void check_problem(const Desc& desc) {
  check_divisor("temperature", desc.temperature);
  check_storage("q", desc.q, 2);
  if (desc.q.shape[1] < 1) invalid("q is %s, its rows need at least one element", describe(desc.q).c_str());
  check_per_row("query_groups", desc.query_groups, GATUN_I32, desc.q.shape[0]);
  if (!present(desc.k)) {
    if (present(desc.key_groups)) invalid("key_groups are given without k: in the self form the groups of the keys are query_groups");
    return;
  }
  check_storage("k", desc.k, 2);
  check_same_dtype("k", desc.k, "q", desc.q);
  check_shape("k", desc.k, {desc.k.shape[0], desc.q.shape[1]});
  check_per_row("key_groups", desc.key_groups, GATUN_I32, desc.k.shape[0]);
}

void check_forward(const gatun_info_nce_desc& desc) {
  check_problem(desc);
  const int64_t rows = desc.q.shape[0];
  check_per_row("loss", desc.loss, GATUN_F32, rows);
  if (present(desc.lse)) check_per_row("lse", desc.lse, GATUN_F32, rows);
  if (present(desc.positives)) check_per_row("positives", desc.positives, GATUN_I32, rows);
}

void check_backward(const gatun_info_nce_backward_desc& desc) {
  check_problem(desc);
  const int64_t rows = desc.q.shape[0];
  check_per_row("lse", desc.lse, GATUN_F32, rows);
  check_per_row("positives", desc.positives, GATUN_I32, rows);
  check_view("dloss", desc.dloss, GATUN_F32, 1);
  check_shape("dloss", desc.dloss, {rows});
  check_written("dq", desc.dq, "q", desc.q);
  if (present(desc.dk)) {
    if (!present(desc.k)) invalid("dk is given without k: in the self form dq holds the whole gradient");
    check_written("dk", desc.dk, "k", desc.k);
  }
}

// Of a descriptor that has been checked; pointers are null when only sizes matter.
template <class T, class Desc>
InfoNceProblemOf<T> problem_of(const Desc& desc, const void* q, const void* k, const void* query_groups, const void* key_groups) {
  InfoNceProblemOf<T> p;
  p.self = !present(desc.k);
  p.depth = desc.q.shape[1];
  p.temperature = desc.temperature;
  p.queries = rows_of<const T>(desc.q, static_cast<const T*>(q));
  p.keys = p.self ? p.queries : rows_of<const T>(desc.k, static_cast<const T*>(k));
  p.query_groups = static_cast<const int32_t*>(query_groups);
  p.key_groups = static_cast<const int32_t*>(p.self ? query_groups : key_groups);
  return p;
}

template <class Desc>
void check_inputs(const Desc& desc, const void* q, const void* k, const void* query_groups, const void* key_groups) {
  check_pointer("q", desc.q, q);
  check_pointer("k", desc.k, k);
  check_pointer("query_groups", desc.query_groups, query_groups);
  check_pointer("key_groups", desc.key_groups, key_groups);
}

size_t forward_bytes(const gatun_stream& stream, const gatun_info_nce_desc& desc) {
  size_t bytes = 0;
  with_storage(desc.q.dtype, [&](auto storage) {
    bytes = info_nce_forward_workspace(stream, problem_of<typename decltype(storage)::Type>(desc, nullptr, nullptr, nullptr, nullptr));
  });
  return bytes;
}

size_t backward_bytes(const gatun_stream& stream, const gatun_info_nce_backward_desc& desc) {
  size_t bytes = 0;
  with_storage(desc.q.dtype, [&](auto storage) {
    bytes = info_nce_backward_workspace(stream, problem_of<typename decltype(storage)::Type>(desc, nullptr, nullptr, nullptr, nullptr));
  });
  return bytes;
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_info_nce_forward_workspace(gatun_stream* stream, const gatun_info_nce_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("info_nce_forward_workspace", error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    check_forward(*desc);
    *bytes = forward_bytes(*stream, *desc);
  });
}

gatun_status gatun_info_nce_forward(gatun_stream* stream, const gatun_info_nce_desc* desc, const void* q, const void* k,
                                    const void* query_groups, const void* key_groups, void* loss, void* lse, void* positives,
                                    void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("info_nce_forward", error, [&] {
    check_call(stream, desc);
    check_forward(*desc);
    check_workspace(workspace, workspace_bytes, forward_bytes(*stream, *desc));
    check_inputs(*desc, q, k, query_groups, key_groups);
    check_pointer("loss", desc->loss, loss);
    check_pointer("lse", desc->lse, lse);
    check_pointer("positives", desc->positives, positives);
    const InfoNceResult result{static_cast<float*>(loss), static_cast<float*>(lse), static_cast<int32_t*>(positives)};
    with_storage(desc->q.dtype, [&](auto storage) {
      info_nce_forward(*stream, problem_of<typename decltype(storage)::Type>(*desc, q, k, query_groups, key_groups), result, workspace);
    });
  });
}

gatun_status gatun_info_nce_backward_workspace(gatun_stream* stream, const gatun_info_nce_backward_desc* desc, size_t* bytes,
                                               gatun_error* error) {
  using namespace gatun;
  return border("info_nce_backward_workspace", error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    check_backward(*desc);
    *bytes = backward_bytes(*stream, *desc);
  });
}

gatun_status gatun_info_nce_backward(gatun_stream* stream, const gatun_info_nce_backward_desc* desc, const void* q, const void* k,
                                     const void* query_groups, const void* key_groups, const void* lse, const void* positives,
                                     const void* dloss, void* dq, void* dk, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("info_nce_backward", error, [&] {
    check_call(stream, desc);
    check_backward(*desc);
    check_workspace(workspace, workspace_bytes, backward_bytes(*stream, *desc));
    check_inputs(*desc, q, k, query_groups, key_groups);
    check_pointer("lse", desc->lse, lse);
    check_pointer("positives", desc->positives, positives);
    check_pointer("dloss", desc->dloss, dloss);
    check_pointer("dq", desc->dq, dq);
    check_pointer("dk", desc->dk, dk);
    with_storage(desc->q.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      InfoNceGradientsOf<T> g;
      g.lse = static_cast<const float*>(lse);
      g.positives = static_cast<const int32_t*>(positives);
      g.dloss = static_cast<const float*>(dloss);
      g.dloss_stride = desc->dloss.stride[0];
      g.dq = rows_of<T>(desc->dq, static_cast<T*>(dq));
      if (present(desc->dk)) g.dk = rows_of<T>(desc->dk, static_cast<T*>(dk));
      info_nce_backward(*stream, problem_of<T>(*desc, q, k, query_groups, key_groups), g, workspace);
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(info_nce);
GATUN_ABI_FUNCTION(gatun_info_nce_forward_workspace);
GATUN_ABI_FUNCTION(gatun_info_nce_forward);
GATUN_ABI_FUNCTION(gatun_info_nce_backward_workspace);
GATUN_ABI_FUNCTION(gatun_info_nce_backward);
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_info_nce_desc, NAME)
GATUN_ABI_STRUCT(gatun_info_nce_desc, FIELD(struct_size), FIELD(temperature), FIELD(q), FIELD(k), FIELD(query_groups), FIELD(key_groups),
                 FIELD(loss), FIELD(lse), FIELD(positives));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_info_nce_backward_desc, NAME)
GATUN_ABI_STRUCT(gatun_info_nce_backward_desc, FIELD(struct_size), FIELD(temperature), FIELD(q), FIELD(k), FIELD(query_groups),
                 FIELD(key_groups), FIELD(lse), FIELD(positives), FIELD(dloss), FIELD(dq), FIELD(dk));
#undef FIELD

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
  check_layout(name, layout, GATUN_F32, 2);
  check_same_shape(name, layout, other_name, other);
  check_no_overlap(name, layout);
}

// What both descriptors have, except pointers.
template <class Desc>
InfoNceProblem describe_problem(const Desc& desc) {
  check_divisor("temperature", desc.temperature);
  check_layout("q", desc.q, GATUN_F32, 2);
  if (desc.q.shape[1] < 1) invalid("q is %s, its rows need at least one element", describe(desc.q).c_str());
  check_per_row("query_groups", desc.query_groups, GATUN_I32, desc.q.shape[0]);
  InfoNceProblem p;
  p.self = !present(desc.k);
  p.depth = desc.q.shape[1];
  p.temperature = desc.temperature;
  p.queries = rows_of<const float>(desc.q, nullptr);
  if (p.self) {
    if (present(desc.key_groups)) invalid("key_groups are given without k: in the self form the groups of the keys are query_groups");
    p.keys = p.queries;
  } else {
    check_layout("k", desc.k, GATUN_F32, 2);
    check_shape("k", desc.k, {desc.k.shape[0], p.depth});
    check_per_row("key_groups", desc.key_groups, GATUN_I32, desc.k.shape[0]);
    p.keys = rows_of<const float>(desc.k, nullptr);
  }
  return p;
}

InfoNceProblem check_forward(const gatun_info_nce_desc& desc) {
  const InfoNceProblem p = describe_problem(desc);
  check_per_row("loss", desc.loss, GATUN_F32, p.queries.rows);
  if (present(desc.lse)) check_per_row("lse", desc.lse, GATUN_F32, p.queries.rows);
  if (present(desc.positives)) check_per_row("positives", desc.positives, GATUN_I32, p.queries.rows);
  return p;
}

InfoNceProblem check_backward(const gatun_info_nce_backward_desc& desc) {
  const InfoNceProblem p = describe_problem(desc);
  check_per_row("lse", desc.lse, GATUN_F32, p.queries.rows);
  check_per_row("positives", desc.positives, GATUN_I32, p.queries.rows);
  check_view("dloss", desc.dloss, GATUN_F32, 1);
  check_shape("dloss", desc.dloss, {p.queries.rows});
  check_written("dq", desc.dq, "q", desc.q);
  if (present(desc.dk)) {
    if (p.self) invalid("dk is given without k: in the self form dq holds the whole gradient");
    check_written("dk", desc.dk, "k", desc.k);
  }
  return p;
}

template <class Desc>
void bind_inputs(InfoNceProblem& p, const Desc& desc, const void* q, const void* k, const void* query_groups, const void* key_groups) {
  check_pointer("q", desc.q, q);
  check_pointer("k", desc.k, k);
  check_pointer("query_groups", desc.query_groups, query_groups);
  check_pointer("key_groups", desc.key_groups, key_groups);
  p.queries.data = static_cast<const float*>(q);
  p.keys.data = static_cast<const float*>(p.self ? q : k);
  p.query_groups = static_cast<const int32_t*>(query_groups);
  p.key_groups = static_cast<const int32_t*>(p.self ? query_groups : key_groups);
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_info_nce_forward_workspace(gatun_stream* stream, const gatun_info_nce_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("info_nce_forward_workspace", error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = info_nce_forward_workspace(*stream, check_forward(*desc));
  });
}

gatun_status gatun_info_nce_forward(gatun_stream* stream, const gatun_info_nce_desc* desc, const void* q, const void* k,
                                    const void* query_groups, const void* key_groups, void* loss, void* lse, void* positives,
                                    void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("info_nce_forward", error, [&] {
    check_call(stream, desc);
    InfoNceProblem p = check_forward(*desc);
    check_workspace(workspace, workspace_bytes, info_nce_forward_workspace(*stream, p));
    bind_inputs(p, *desc, q, k, query_groups, key_groups);
    check_pointer("loss", desc->loss, loss);
    check_pointer("lse", desc->lse, lse);
    check_pointer("positives", desc->positives, positives);
    info_nce_forward(*stream, p, {static_cast<float*>(loss), static_cast<float*>(lse), static_cast<int32_t*>(positives)}, workspace);
  });
}

gatun_status gatun_info_nce_backward_workspace(gatun_stream* stream, const gatun_info_nce_backward_desc* desc, size_t* bytes,
                                               gatun_error* error) {
  using namespace gatun;
  return border("info_nce_backward_workspace", error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = info_nce_backward_workspace(*stream, check_backward(*desc));
  });
}

gatun_status gatun_info_nce_backward(gatun_stream* stream, const gatun_info_nce_backward_desc* desc, const void* q, const void* k,
                                     const void* query_groups, const void* key_groups, const void* lse, const void* positives,
                                     const void* dloss, void* dq, void* dk, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("info_nce_backward", error, [&] {
    check_call(stream, desc);
    InfoNceProblem p = check_backward(*desc);
    check_workspace(workspace, workspace_bytes, info_nce_backward_workspace(*stream, p));
    bind_inputs(p, *desc, q, k, query_groups, key_groups);
    check_pointer("lse", desc->lse, lse);
    check_pointer("positives", desc->positives, positives);
    check_pointer("dloss", desc->dloss, dloss);
    check_pointer("dq", desc->dq, dq);
    check_pointer("dk", desc->dk, dk);
    InfoNceGradients g;
    g.lse = static_cast<const float*>(lse);
    g.positives = static_cast<const int32_t*>(positives);
    g.dloss = static_cast<const float*>(dloss);
    g.dloss_stride = desc->dloss.stride[0];
    g.dq = rows_of(desc->dq, static_cast<float*>(dq));
    if (present(desc->dk)) g.dk = rows_of(desc->dk, static_cast<float*>(dk));
    info_nce_backward(*stream, p, g, workspace);
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

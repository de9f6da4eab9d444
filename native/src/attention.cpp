// SPDX-License-Identifier: Apache-2.0
#include "gatun/attention.h"

#include <cmath>

#include "abi.h"
#include "check.h"
#include "kernels/attention/attention.h"

namespace gatun {

template <class T>
static HeadView<T> head_view(const gatun_layout& layout, T* data) {
  if (layout.rank == 4) return {data, layout.stride[0], layout.stride[1], layout.stride[2]};
  return {data, 0, layout.stride[0], layout.stride[1]};
}

template <class T>
static RowStatistic<T> row_statistic(const gatun_layout& layout, T* data) {
  if (layout.rank == 3) return {data, layout.stride[0], layout.stride[1]};
  return {data, 0, layout.stride[0]};
}

template <class T>
static BiasView<T> bias_view(const gatun_layout& layout, T* data) {
  const auto stride = [&](int i) { return layout.shape[i] == 1 ? 0 : layout.stride[i]; };
  return {data, layout.shape[0], layout.shape[1], layout.shape[2], stride(0), stride(1), stride(2)};
}

// Offsets live in memory, so their values are checked at each call: a wrong one would read past an operand. On CUDA it is the device's
// memory, and the kernels check them.
static const int32_t* check_offsets(const char* name, const gatun_layout& layout, const void* pointer, [[maybe_unused]] int64_t rows) {
  check_pointer(name, layout, pointer);
  const int32_t* offsets = static_cast<const int32_t*>(pointer);
#if !defined(GATUN_CUDA)
  for (int64_t i = 0; i < layout.shape[0]; ++i) {
    const int32_t least = i == 0 ? 0 : offsets[i - 1];
    if (offsets[i] < least || offsets[i] > rows) {
      invalid("%s[%lld] is %d, allowed are %d to %lld", name, static_cast<long long>(i), offsets[i], least, static_cast<long long>(rows));
    }
  }
#endif
  return offsets;
}

// Everything that both descriptors have, except pointers.
template <class T, class Desc>
static AttentionProblem<T> describe_problem(const Desc& desc) {
  if (desc.causal != 0 && desc.causal != 1) invalid("causal is %d, allowed are 0 and 1", desc.causal);
  if (!std::isfinite(desc.scale)) invalid("scale is %g, it must be finite", static_cast<double>(desc.scale));
  const bool ragged = desc.q.rank == 3;
  check_storage("q", desc.q, ragged ? 3 : 4);
  check_layout("k", desc.k, desc.q.dtype, desc.q.rank);
  check_layout("v", desc.v, desc.q.dtype, desc.q.rank);
  AttentionProblem<T> p{};
  p.ragged = ragged;
  const int rows = ragged ? 0 : 1;
  p.queries = desc.q.shape[rows];
  p.keys = desc.k.shape[rows];
  p.heads = desc.q.shape[rows + 1];
  p.depth = desc.q.shape[rows + 2];
  p.causal = desc.causal == 1;
  p.scale = desc.scale;
  if (p.depth < 1 || p.depth > GATUN_ATTENTION_MAX_DEPTH) {
    invalid("q has head dimension %lld, allowed are 1 to %d", static_cast<long long>(p.depth), GATUN_ATTENTION_MAX_DEPTH);
  }
  if (ragged) {
    check_shape("k", desc.k, {p.keys, p.heads, p.depth});
    check_layout("query_offsets", desc.query_offsets, GATUN_I32, 1);
    check_layout("key_offsets", desc.key_offsets, GATUN_I32, 1);
    check_same_shape("key_offsets", desc.key_offsets, "query_offsets", desc.query_offsets);
    if (desc.query_offsets.shape[0] < 1) invalid("query_offsets has no elements, S sequences need S + 1");
    p.batch = desc.query_offsets.shape[0] - 1;
    if (present(desc.bias)) invalid("bias is only for the batched form (rank 4), q is ragged (rank 3)");
  } else {
    p.batch = desc.q.shape[0];
    check_shape("k", desc.k, {p.batch, p.keys, p.heads, p.depth});
    if (present(desc.query_offsets)) invalid("query_offsets are only for the ragged form (rank 3), q has rank 4");
    if (present(desc.key_offsets)) invalid("key_offsets are only for the ragged form (rank 3), q has rank 4");
  }
  check_same_shape("v", desc.v, "k", desc.k);
#if defined(GATUN_CUDA)
  // Kernels count in 32 bits, queries and keys together.
  for (int i = 0; i < desc.q.rank; ++i) {
    if (desc.q.shape[i] > (1 << 30) || desc.k.shape[i] > (1 << 30)) invalid("q or k has an extent beyond 2^30");
  }
  if (p.batch > (1 << 30)) invalid("there are more than 2^30 sequences");
#endif
  if (present(desc.bias)) {
    check_layout("bias", desc.bias, GATUN_F32, 4);
    const auto extent = [&](int i, int64_t full) { return desc.bias.shape[i] == 1 ? 1 : full; };
    check_shape("bias", desc.bias, {extent(0, p.batch), extent(1, p.heads), extent(2, p.queries), p.keys});
  }
  return p;
}

template <class T, class Desc>
static void check_log_sum_exp(const Desc& desc, const AttentionProblem<T>& p) {
  check_layout("log_sum_exp", desc.log_sum_exp, GATUN_F32, desc.q.rank - 1);
  if (desc.q.rank == 4) check_shape("log_sum_exp", desc.log_sum_exp, {p.batch, p.heads, p.queries});
  else check_shape("log_sum_exp", desc.log_sum_exp, {p.heads, p.queries});
}

static void check_like(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other) {
  check_layout(name, layout, other.dtype, other.rank);
  check_same_shape(name, layout, other_name, other);
}

static void check_written(const char* name, const gatun_layout& layout, const char* other_name, const gatun_layout& other) {
  check_like(name, layout, other_name, other);
  check_no_overlap(name, layout);
}

// A bias that is present has a pointer that is not null: that is how kernels and their workspace see it.
static constexpr float kPresent = 0;

template <class T>
static AttentionProblem<T> check_forward(const gatun_attention_desc& desc) {
  AttentionProblem<T> p = describe_problem<T>(desc);
  check_written("out", desc.out, "q", desc.q);
  if (present(desc.log_sum_exp)) {
    check_log_sum_exp(desc, p);
    check_no_overlap("log_sum_exp", desc.log_sum_exp);
  }
  if (present(desc.bias)) p.bias.data = &kPresent;
  return p;
}

template <class T>
static AttentionProblem<T> check_backward(const gatun_attention_backward_desc& desc) {
  AttentionProblem<T> p = describe_problem<T>(desc);
  check_like("out", desc.out, "q", desc.q);
  check_log_sum_exp(desc, p);
  check_like("dout", desc.dout, "q", desc.q);
  check_written("dq", desc.dq, "q", desc.q);
  check_written("dk", desc.dk, "k", desc.k);
  check_written("dv", desc.dv, "v", desc.v);
  if (present(desc.dbias)) {
    if (!present(desc.bias)) invalid("dbias is given without a bias");
    check_written("dbias", desc.dbias, "bias", desc.bias);
  }
  if (present(desc.bias)) p.bias.data = &kPresent;
  return p;
}

template <class T, class Desc>
static void bind_inputs(AttentionProblem<T>& p, const Desc& desc, const void* q, const void* k, const void* v, const void* bias,
                        const void* query_offsets, const void* key_offsets) {
  check_pointer("q", desc.q, q);
  check_pointer("k", desc.k, k);
  check_pointer("v", desc.v, v);
  check_pointer("bias", desc.bias, bias);
  p.q = head_view(desc.q, static_cast<const T*>(q));
  p.k = head_view(desc.k, static_cast<const T*>(k));
  p.v = head_view(desc.v, static_cast<const T*>(v));
  // A bias without elements may have a null pointer; nothing is read from it.
  if (present(desc.bias) && bias != nullptr) p.bias = bias_view(desc.bias, static_cast<const float*>(bias));
  if (present(desc.query_offsets)) {
    p.query_offsets = check_offsets("query_offsets", desc.query_offsets, query_offsets, p.queries);
    p.key_offsets = check_offsets("key_offsets", desc.key_offsets, key_offsets, p.keys);
  } else {
    check_pointer("query_offsets", desc.query_offsets, query_offsets);
    check_pointer("key_offsets", desc.key_offsets, key_offsets);
  }
}

}  // namespace gatun

extern "C" {

gatun_status gatun_attention_forward_workspace(gatun_stream* stream, const gatun_attention_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("attention_forward_workspace", error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    with_storage(desc->q.dtype, [&](auto storage) {
      *bytes = attention_forward_workspace(*stream, check_forward<typename decltype(storage)::Type>(*desc));
    });
  });
}

gatun_status gatun_attention_forward(gatun_stream* stream, const gatun_attention_desc* desc, const void* q, const void* k, const void* v,
                                     const void* bias, const void* query_offsets, const void* key_offsets, void* out, void* log_sum_exp,
                                     void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("attention_forward", error, [&] {
    check_call(stream, desc);
    with_storage(desc->q.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      AttentionProblem<T> p = check_forward<T>(*desc);
      check_workspace(workspace, workspace_bytes, attention_forward_workspace(*stream, p));
      bind_inputs(p, *desc, q, k, v, bias, query_offsets, key_offsets);
      check_pointer("out", desc->out, out);
      check_pointer("log_sum_exp", desc->log_sum_exp, log_sum_exp);
      attention_forward(*stream, p, head_view(desc->out, static_cast<T*>(out)),
                        row_statistic(desc->log_sum_exp, static_cast<float*>(log_sum_exp)), workspace);
    });
  });
}

gatun_status gatun_attention_backward_workspace(gatun_stream* stream, const gatun_attention_backward_desc* desc, size_t* bytes,
                                                gatun_error* error) {
  using namespace gatun;
  return border("attention_backward_workspace", error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    with_storage(desc->q.dtype, [&](auto storage) {
      *bytes = attention_backward_workspace(*stream, check_backward<typename decltype(storage)::Type>(*desc), present(desc->dbias));
    });
  });
}

gatun_status gatun_attention_backward(gatun_stream* stream, const gatun_attention_backward_desc* desc, const void* q, const void* k,
                                      const void* v, const void* bias, const void* query_offsets, const void* key_offsets,
                                      const void* out, const void* log_sum_exp, const void* dout, void* dq, void* dk, void* dv,
                                      void* dbias, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("attention_backward", error, [&] {
    check_call(stream, desc);
    with_storage(desc->q.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      AttentionProblem<T> p = check_backward<T>(*desc);
      check_workspace(workspace, workspace_bytes, attention_backward_workspace(*stream, p, present(desc->dbias)));
      bind_inputs(p, *desc, q, k, v, bias, query_offsets, key_offsets);
      check_pointer("out", desc->out, out);
      check_pointer("log_sum_exp", desc->log_sum_exp, log_sum_exp);
      check_pointer("dout", desc->dout, dout);
      check_pointer("dq", desc->dq, dq);
      check_pointer("dk", desc->dk, dk);
      check_pointer("dv", desc->dv, dv);
      check_pointer("dbias", desc->dbias, dbias);
      AttentionGradients<T> g;
      g.out = head_view(desc->out, static_cast<const T*>(out));
      g.dout = head_view(desc->dout, static_cast<const T*>(dout));
      g.log_sum_exp = row_statistic(desc->log_sum_exp, static_cast<const float*>(log_sum_exp));
      g.dq = head_view(desc->dq, static_cast<T*>(dq));
      g.dk = head_view(desc->dk, static_cast<T*>(dk));
      g.dv = head_view(desc->dv, static_cast<T*>(dv));
      if (present(desc->dbias)) g.dbias = bias_view(desc->dbias, static_cast<float*>(dbias));
      attention_backward(*stream, p, g, workspace);
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(attention);
GATUN_ABI_FUNCTION(gatun_attention_forward_workspace);
GATUN_ABI_FUNCTION(gatun_attention_forward);
GATUN_ABI_FUNCTION(gatun_attention_backward_workspace);
GATUN_ABI_FUNCTION(gatun_attention_backward);
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_attention_desc, NAME)
GATUN_ABI_STRUCT(gatun_attention_desc, FIELD(struct_size), FIELD(causal), FIELD(scale), FIELD(reserved), FIELD(q), FIELD(k), FIELD(v),
                 FIELD(bias), FIELD(query_offsets), FIELD(key_offsets), FIELD(out), FIELD(log_sum_exp));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_attention_backward_desc, NAME)
GATUN_ABI_STRUCT(gatun_attention_backward_desc, FIELD(struct_size), FIELD(causal), FIELD(scale), FIELD(reserved), FIELD(q), FIELD(k),
                 FIELD(v), FIELD(bias), FIELD(query_offsets), FIELD(key_offsets), FIELD(out), FIELD(log_sum_exp), FIELD(dout), FIELD(dq),
                 FIELD(dk), FIELD(dv), FIELD(dbias));
#undef FIELD

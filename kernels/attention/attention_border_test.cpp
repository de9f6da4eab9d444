// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <utility>

#include "kernels/testing/testing.h"

using namespace gatun::testing;

namespace {

struct Buffers {
  alignas(64) float workspace[1 << 19];
  float q[512], k[512], v[512], out[512], lse[64], bias[512];
  int32_t query_offsets[4] = {0, 4, 4, 8}, key_offsets[4] = {0, 5, 9, 10};
};

gatun_attention_desc batched() {
  const gatun_layout q = layout(GATUN_F32, {2, 5, 3, 8}), k = layout(GATUN_F32, {2, 6, 3, 8});
  return {sizeof(gatun_attention_desc), 0, 0.5f, 0, q, k, k, {}, {}, {}, q, layout(GATUN_F32, {2, 3, 5})};
}

gatun_attention_desc ragged() {
  const gatun_layout q = layout(GATUN_F32, {8, 3, 8}), k = layout(GATUN_F32, {10, 3, 8});
  return {sizeof(gatun_attention_desc), 0, 0.5f, 0, q, k, k, {}, layout(GATUN_I32, {4}), layout(GATUN_I32, {4}), q, layout(GATUN_F32, {3, 8})};
}

gatun_status forward(const Device& device, const gatun_attention_desc& desc, Buffers& b, gatun_error* e) {
  const bool offsets = desc.query_offsets.dtype != GATUN_NONE;
  return gatun_attention_forward(device.stream(), &desc, b.q, b.k, b.v, desc.bias.dtype != GATUN_NONE ? b.bias : nullptr,
                                 offsets ? b.query_offsets : nullptr, offsets ? b.key_offsets : nullptr, b.out,
                                 desc.log_sum_exp.dtype != GATUN_NONE ? b.lse : nullptr, b.workspace, sizeof b.workspace, e);
}

}  // namespace

TEST_CASE("attention refuses bad descriptors with a message that names the operand") {
  Device device;
  static Buffers b{};
  const auto attempt = [&](const char* part, gatun_attention_desc desc, const std::function<void(gatun_attention_desc&)>& spoil) {
    CAPTURE(part);
    run([&](gatun_error* e) { return forward(device, desc, b, e); });
    spoil(desc);
    refused(part, [&](gatun_error* e) { return forward(device, desc, b, e); });
  };
  using D = gatun_attention_desc;
  attempt("struct_size", batched(), [](D& d) { d.struct_size -= 8; });
  attempt("causal is 2", batched(), [](D& d) { d.causal = 2; });
  attempt("scale is nan", batched(), [](D& d) { d.scale = std::numeric_limits<float>::quiet_NaN(); });
  attempt("q is i32, expected f32", batched(), [](D& d) { d.q.dtype = GATUN_I32; });
  attempt("q has rank 2", batched(), [](D& d) { d.q = layout(GATUN_F32, {2, 5}); });
  attempt("q has head dimension 129, allowed are 1 to 128", batched(), [](D& d) { d.q = layout(GATUN_F32, {2, 5, 3, 129}); });
  attempt("k has shape (2, 6, 2, 8), expected (2, 6, 3, 8)", batched(), [](D& d) { d.k = layout(GATUN_F32, {2, 6, 2, 8}); });
  attempt("v has shape (2, 7, 3, 8), expected (2, 6, 3, 8)", batched(), [](D& d) { d.v = layout(GATUN_F32, {2, 7, 3, 8}); });
  attempt("last dimension of k must be contiguous", batched(), [](D& d) { d.k.stride[3] = 2; });
  attempt("out has shape (2, 6, 3, 8), expected (2, 5, 3, 8)", batched(), [](D& d) { d.out = d.k; });
  attempt("out is written, but its elements overlap", batched(), [](D& d) { d.out.stride[0] = 0; });
  attempt("log_sum_exp has shape (2, 3, 6), expected (2, 3, 5)", batched(), [](D& d) { d.log_sum_exp = layout(GATUN_F32, {2, 3, 6}); });
  attempt("bias has shape (2, 2, 5, 6), expected (2, 3, 5, 6)", batched(), [](D& d) { d.bias = layout(GATUN_F32, {2, 2, 5, 6}); });
  attempt("query_offsets are only for the ragged form", batched(), [](D& d) { d.query_offsets = layout(GATUN_I32, {3}); });
  attempt("key_offsets are only for the ragged form", batched(), [](D& d) { d.key_offsets = layout(GATUN_I32, {3}); });
  attempt("query_offsets is none, expected i32", ragged(), [](D& d) { d.query_offsets = {}; });
  attempt("key_offsets has shape (3), expected (4)", ragged(), [](D& d) { d.key_offsets = layout(GATUN_I32, {3}); });
  attempt("bias is only for the batched form", ragged(), [](D& d) { d.bias = layout(GATUN_F32, {1, 1, 8, 10}); });
}

TEST_CASE("attention refuses offsets that would leave the operands") {
  Device device;
  static Buffers b{};
  const auto attempt = [&](const char* part, int32_t* at, int32_t value) {
    const int32_t kept = std::exchange(*at, value);
    refused(part, [&](gatun_error* e) { return forward(device, ragged(), b, e); });
    *at = kept;
  };
  attempt("query_offsets[0] is -1, allowed are 0 to 8", &b.query_offsets[0], -1);
  attempt("query_offsets[3] is 9, allowed are 4 to 8", &b.query_offsets[3], 9);
  attempt("key_offsets[2] is 4, allowed are 5 to 10", &b.key_offsets[2], 4);
  run([&](gatun_error* e) { return forward(device, ragged(), b, e); });
}

TEST_CASE("attention refuses missing pointers and small workspaces") {
  Device device;
  static Buffers b{};
  const gatun_attention_desc desc = batched();
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_attention_forward_workspace(device.stream(), &desc, &bytes, e); });
  const auto call = [&](const void* q, void* workspace, size_t given) {
    return [&, q, workspace, given](gatun_error* e) {
      return gatun_attention_forward(device.stream(), &desc, q, b.k, b.v, nullptr, nullptr, nullptr, b.out, b.lse, workspace, given, e);
    };
  };
  run(call(b.q, b.workspace, bytes));
  refused("q is NULL", call(nullptr, b.workspace, bytes));
  refused("the workspace is NULL", call(b.q, nullptr, bytes));
  refused("the workspace has " + std::to_string(bytes - 1) + " bytes, " + std::to_string(bytes) + " are needed", call(b.q, b.workspace, bytes - 1));
  refused("not aligned to 64 bytes", call(b.q, b.workspace + 1, bytes));
  refused("bytes is NULL", [&](gatun_error* e) { return gatun_attention_forward_workspace(device.stream(), &desc, nullptr, e); });
  refused("stream is NULL", [&](gatun_error* e) { return gatun_attention_forward_workspace(nullptr, &desc, &bytes, e); });
}

TEST_CASE("attention's backward pass needs the log-sum-exp and a bias for dbias") {
  Device device;
  const gatun_attention_desc f = batched();
  gatun_attention_backward_desc desc{sizeof desc, 0,     0.5f,          0,   f.q, f.k, f.k, layout(GATUN_F32, {1, 3, 5, 6}), {},
                                     {},          f.out, f.log_sum_exp, f.q, f.q, f.k, f.k, layout(GATUN_F32, {1, 3, 5, 6})};
  size_t bytes = 0;
  const auto query = [&](gatun_error* e) { return gatun_attention_backward_workspace(device.stream(), &desc, &bytes, e); };
  run(query);
  CHECK(bytes > 0);
  desc.dbias = layout(GATUN_F32, {2, 3, 5, 6});
  refused("dbias has shape (2, 3, 5, 6), expected (1, 3, 5, 6) as bias has", query);
  desc.dbias = layout(GATUN_F32, {1, 3, 5, 6});
  desc.bias = {};
  refused("dbias is given without a bias", query);
  desc.dbias = {};
  run(query);
  desc.dk = f.q;
  refused("dk has shape (2, 5, 3, 8), expected (2, 6, 3, 8) as k has", query);
  desc.dk = f.k;
  desc.log_sum_exp = {};
  refused("log_sum_exp is none, expected f32", query);
}

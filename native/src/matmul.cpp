// SPDX-License-Identifier: Apache-2.0
#include "gatun/matmul.h"

#include <climits>

#include "abi.h"
#include "check.h"
#include "kernels/matmul/matmul.h"

namespace gatun {

namespace {

struct Pointers {
  const void *a, *b;
  void *c, *mean, *rstd;
  const void *gamma, *beta, *scale_m, *scale_k, *bias;
  void* hidden;
  const void *factor_m, *factor_n, *residual;
  void* a_sums;
};

#if defined(GATUN_CUDA)
[[noreturn]] void refuse() {
  throw Error(GATUN_UNSUPPORTED, "fused matrix products are the CPU's: on this device they are composed of gatun_gemm and other operations");
}
#else

MatmulOperand matmul_operand(const char* name, const gatun_layout& layout, int32_t prologue) {
  check_view(name, layout, GATUN_F32, 2);
  if (prologue < GATUN_MATMUL_AS_IS || prologue > GATUN_MATMUL_GELU) invalid("%s_prologue is %d", name, prologue);
  const int64_t rows = layout.shape[0], columns = layout.shape[1], down = layout.stride[0], across = layout.stride[1];
  if (rows > INT_MAX || columns > INT_MAX) invalid("%s is too large: %s", name, describe(layout).c_str());
  if (rows == 0 || columns == 0) return {nullptr, columns, false, prologue};
  if ((across == 1 || columns == 1) && (rows == 1 || down >= columns)) return {nullptr, rows == 1 ? columns : down, false, prologue};
  if (prologue != GATUN_MATMUL_LAYER_NORM && (down == 1 || rows == 1) && (columns == 1 || across >= rows)) {
    return {nullptr, columns == 1 ? rows : across, true, prologue};
  }
  invalid("%s has neither contiguous rows nor contiguous columns%s: %s", name,
          prologue == GATUN_MATMUL_LAYER_NORM ? ", or columns where LAYER_NORM needs rows" : "", describe(layout).c_str());
}

void check_vector(const char* name, const gatun_layout& layout, int64_t extent) {
  check_layout(name, layout, GATUN_F32, 1);
  check_shape(name, layout, {extent});
}

// Elements of a vector that is spread over an extent.
int64_t check_factors(const char* name, const gatun_layout& layout, int64_t extent) {
  if (!present(layout)) return 0;
  check_layout(name, layout, GATUN_F32, 1);
  const int64_t count = layout.shape[0];
  if (count == 0 ? extent != 0 : extent % count != 0) {
    invalid("%s has %lld elements, which do not divide %lld", name, static_cast<long long>(count), static_cast<long long>(extent));
  }
  return count;
}

int64_t check_matrix(const char* name, const gatun_layout& layout, int64_t m, int64_t n, bool written) {
  check_layout(name, layout, GATUN_F32, 2);
  check_shape(name, layout, {m, n});
  if (written) check_no_overlap(name, layout);
  return layout.shape[0] > 1 ? layout.stride[0] : n;
}

// Everything but the data pointers, which are left NULL.
MatmulCall check_matmul(const gatun_matmul_desc& desc) {
  MatmulCall call{};
  call.a = matmul_operand("a", desc.a, desc.a_prologue);
  call.b = matmul_operand("b", desc.b, desc.b_prologue);
  call.m = desc.a.shape[0];
  call.k = desc.a.shape[1];
  call.n = desc.b.shape[1];
  check_shape("b", desc.b, {call.k, call.n});
  call.ldc = check_matrix("c", desc.c, call.m, call.n, true);
  if (desc.accumulate != 0 && desc.accumulate != 1) invalid("accumulate is %d, it must be 0 or 1", desc.accumulate);
  call.accumulate = desc.accumulate == 1;
  const bool of_a = desc.a_prologue == GATUN_MATMUL_LAYER_NORM, of_b = desc.b_prologue == GATUN_MATMUL_LAYER_NORM;
  if (of_a && of_b) invalid("LAYER_NORM is asked for a and for b, it may be one of them");
  if (of_a && !(desc.epsilon > 0.0f)) invalid("epsilon is %g, it must be positive", static_cast<double>(desc.epsilon));
  call.epsilon = desc.epsilon;
  if (of_a || of_b) {
    const int64_t channels = of_a ? call.k : call.n;
    check_vector("mean", desc.mean, of_a ? call.m : call.k);
    check_vector("rstd", desc.rstd, of_a ? call.m : call.k);
    if (present(desc.gamma)) check_vector("gamma", desc.gamma, channels);
    if (present(desc.beta)) check_vector("beta", desc.beta, channels);
  } else if (present(desc.mean) || present(desc.rstd) || present(desc.gamma) || present(desc.beta)) {
    invalid("mean, rstd, gamma and beta are of LAYER_NORM, which neither a nor b has");
  }
  call.scale_m.count = check_factors("scale_m", desc.scale_m, call.m);
  call.scale_k.count = check_factors("scale_k", desc.scale_k, call.k);
  if ((present(desc.scale_m) || present(desc.scale_k)) && desc.a_prologue != GATUN_MATMUL_AS_IS) invalid("a has scales and a prologue, it may have one");
  if (present(desc.bias)) check_vector("bias", desc.bias, call.n);
  call.activation = desc.activation;
  if (call.activation < GATUN_MATMUL_LINEAR || call.activation > GATUN_MATMUL_GELU_GRADIENT) invalid("activation is %d", desc.activation);
  const bool read = call.activation == GATUN_MATMUL_GELU_GRADIENT;
  if (call.activation == GATUN_MATMUL_LINEAR && present(desc.hidden)) invalid("hidden is there without an activation");
  if (present(desc.hidden) || read) call.ld_hidden = check_matrix("hidden", desc.hidden, call.m, call.n, !read);
  call.factor_m.count = check_factors("factor_m", desc.factor_m, call.m);
  if (present(desc.factor_n)) check_vector("factor_n", desc.factor_n, call.n);
  if (present(desc.residual)) call.ld_residual = check_matrix("residual", desc.residual, call.m, call.n, false);
  if (present(desc.a_sums)) {
    check_vector("a_sums", desc.a_sums, call.m);
    if (desc.a_prologue != GATUN_MATMUL_AS_IS) invalid("a_sums is there with a prologue of a");
  }
  return call;
}

MatmulCall with_pointers(const gatun_matmul_desc& desc, const Pointers& p, bool check) {
  MatmulCall call = check_matmul(desc);
  const auto pointer = [&](const char* name, const gatun_layout& layout, const void* data) {
    if (check) check_pointer(name, layout, data);
    return const_cast<float*>(static_cast<const float*>(data));
  };
  call.a.data = pointer("a", desc.a, p.a);
  call.b.data = pointer("b", desc.b, p.b);
  call.c = pointer("c", desc.c, p.c);
  call.mean = pointer("mean", desc.mean, p.mean);
  call.rstd = pointer("rstd", desc.rstd, p.rstd);
  call.gamma = pointer("gamma", desc.gamma, p.gamma);
  call.beta = pointer("beta", desc.beta, p.beta);
  call.scale_m.data = pointer("scale_m", desc.scale_m, p.scale_m);
  call.scale_k.data = pointer("scale_k", desc.scale_k, p.scale_k);
  call.bias = pointer("bias", desc.bias, p.bias);
  call.hidden = pointer("hidden", desc.hidden, p.hidden);
  call.factor_m.data = pointer("factor_m", desc.factor_m, p.factor_m);
  call.factor_n = pointer("factor_n", desc.factor_n, p.factor_n);
  call.residual = pointer("residual", desc.residual, p.residual);
  call.a_sums = pointer("a_sums", desc.a_sums, p.a_sums);
  return call;
}

// A pointer for each operand that is present: the plan asks which there are.
Pointers presence(const gatun_matmul_desc& desc) {
  static float there;
  const auto at = [](const gatun_layout& layout) -> float* { return present(layout) ? &there : nullptr; };
  return {at(desc.a), at(desc.b), at(desc.c), at(desc.mean), at(desc.rstd), at(desc.gamma), at(desc.beta), at(desc.scale_m), at(desc.scale_k),
          at(desc.bias), at(desc.hidden), at(desc.factor_m), at(desc.factor_n), at(desc.residual), at(desc.a_sums)};
}
#endif

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_matmul_workspace(gatun_stream* stream, const gatun_matmul_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("matmul_workspace", error, [&] {
    check_call(stream, desc);
    require(bytes, "bytes");
#if defined(GATUN_CUDA)
    refuse();
#else
    *bytes = matmul_workspace(*stream, with_pointers(*desc, presence(*desc), false));
#endif
  });
}

gatun_status gatun_matmul(gatun_stream* stream, const gatun_matmul_desc* desc, const void* a, const void* b, void* c, void* mean, void* rstd,
                          const void* gamma, const void* beta, const void* scale_m, const void* scale_k, const void* bias, void* hidden,
                          const void* factor_m, const void* factor_n, const void* residual, void* a_sums, void* workspace,
                          size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("matmul", error, [&] {
    check_call(stream, desc);
    [[maybe_unused]] const Pointers pointers{a,      b,        c,        mean,     rstd,   gamma, beta, scale_m, scale_k, bias,
                                             hidden, factor_m, factor_n, residual, a_sums};
#if defined(GATUN_CUDA)
    static_cast<void>(workspace), static_cast<void>(workspace_bytes);
    refuse();
#else
    const MatmulCall call = with_pointers(*desc, pointers, true);
    if (call.accumulate && call.residual == call.c && call.c != nullptr) invalid("residual is c, which accumulate adds to already");
    check_workspace(workspace, workspace_bytes, matmul_workspace(*stream, call));
    matmul(*stream, call, static_cast<float*>(workspace));
#endif
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(matmul);
GATUN_ABI_FUNCTION(gatun_matmul_workspace);
GATUN_ABI_FUNCTION(gatun_matmul);
GATUN_ABI_STRUCT(gatun_matmul_desc, GATUN_ABI_FIELD(gatun_matmul_desc, struct_size), GATUN_ABI_FIELD(gatun_matmul_desc, a_prologue),
                 GATUN_ABI_FIELD(gatun_matmul_desc, b_prologue), GATUN_ABI_FIELD(gatun_matmul_desc, activation),
                 GATUN_ABI_FIELD(gatun_matmul_desc, accumulate), GATUN_ABI_FIELD(gatun_matmul_desc, epsilon), GATUN_ABI_FIELD(gatun_matmul_desc, a),
                 GATUN_ABI_FIELD(gatun_matmul_desc, b), GATUN_ABI_FIELD(gatun_matmul_desc, c), GATUN_ABI_FIELD(gatun_matmul_desc, mean),
                 GATUN_ABI_FIELD(gatun_matmul_desc, rstd), GATUN_ABI_FIELD(gatun_matmul_desc, gamma), GATUN_ABI_FIELD(gatun_matmul_desc, beta),
                 GATUN_ABI_FIELD(gatun_matmul_desc, scale_m), GATUN_ABI_FIELD(gatun_matmul_desc, scale_k),
                 GATUN_ABI_FIELD(gatun_matmul_desc, bias), GATUN_ABI_FIELD(gatun_matmul_desc, hidden),
                 GATUN_ABI_FIELD(gatun_matmul_desc, factor_m), GATUN_ABI_FIELD(gatun_matmul_desc, factor_n),
                 GATUN_ABI_FIELD(gatun_matmul_desc, residual), GATUN_ABI_FIELD(gatun_matmul_desc, a_sums));

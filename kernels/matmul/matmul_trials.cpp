// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr gatun_layout kAbsent{};

// The products of a transformer's block: which prologues and epilogues they have.
enum class Form { kPlain, kNormalized, kNormalizedGelu, kGeluResidual, kWeights, kNormalizedWeights, kGeluWeights, kGeluGradient };

struct Problem {
  const char* name;
  Form form;
  int64_t m, n, k;
  bool transpose_a, transpose_b;

  bool normalizes_a() const { return form == Form::kNormalized || form == Form::kNormalizedGelu; }
  bool normalizes_b() const { return form == Form::kNormalizedWeights; }
  bool normalizes() const { return normalizes_a() || normalizes_b(); }
  bool of_weights() const { return form == Form::kWeights || form == Form::kNormalizedWeights || form == Form::kGeluWeights; }
  bool with_bias() const { return normalizes_a() || form == Form::kGeluResidual; }
  bool with_hidden() const { return form == Form::kNormalizedGelu || form == Form::kGeluGradient; }
  bool with_residual() const { return form == Form::kGeluResidual; }
  int64_t tokens() const { return normalizes_a() ? m : k; }
  int64_t channels() const { return normalizes_a() ? k : n; }

  gatun_matmul_desc desc() const {
    const auto matrix = [](int64_t rows, int64_t columns, bool transposed) {
      return transposed ? layout(GATUN_F32, {rows, columns}, {1, rows}) : layout(GATUN_F32, {rows, columns});
    };
    const gatun_layout c = layout(GATUN_F32, {m, n}), row = layout(GATUN_F32, {tokens()}), channel = layout(GATUN_F32, {channels()});
    gatun_matmul_desc d{};
    d.struct_size = sizeof d;
    d.a_prologue = normalizes_a() ? GATUN_MATMUL_LAYER_NORM : form == Form::kGeluResidual ? GATUN_MATMUL_GELU : GATUN_MATMUL_AS_IS;
    d.b_prologue = normalizes_b() ? GATUN_MATMUL_LAYER_NORM : form == Form::kGeluWeights ? GATUN_MATMUL_GELU : GATUN_MATMUL_AS_IS;
    d.activation = form == Form::kNormalizedGelu ? GATUN_MATMUL_TO_GELU : form == Form::kGeluGradient ? GATUN_MATMUL_GELU_GRADIENT : GATUN_MATMUL_LINEAR;
    d.accumulate = of_weights() ? 1 : 0;
    d.epsilon = 1e-6f;
    d.a = matrix(m, k, transpose_a);
    d.b = matrix(k, n, transpose_b);
    d.c = c;
    d.mean = d.rstd = normalizes() ? row : kAbsent;
    d.gamma = d.beta = normalizes() ? channel : kAbsent;
    d.bias = with_bias() ? layout(GATUN_F32, {n}) : kAbsent;
    d.hidden = with_hidden() ? c : kAbsent;
    d.residual = with_residual() ? c : kAbsent;
    d.a_sums = of_weights() ? layout(GATUN_F32, {m}) : kAbsent;
    return d;
  }
};

size_t workspace_bytes(gatun_stream* stream, const gatun_matmul_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_matmul_workspace(stream, &desc, &bytes, e); });
  return bytes;
}

std::vector<float> by_rows(const std::vector<float>& x, int64_t rows, int64_t columns, bool transposed) {
  if (!transposed) return x;
  std::vector<float> y(x.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) y[static_cast<size_t>(i * columns + j)] = x[static_cast<size_t>(j * rows + i)];
  }
  return y;
}

struct Data {
  std::vector<float> a, b, c, mean, rstd, gamma, beta, bias, hidden, residual, sums;
  Data(Selftest& s, const Problem& p)
      : a(s.normal(p.m * p.k)), b(s.normal(p.k * p.n)), c(s.normal(p.m * p.n)), mean(s.normal(p.tokens())), rstd(s.normal(p.tokens())),
        gamma(s.normal(p.channels())), beta(s.normal(p.channels())), bias(s.normal(p.n)), hidden(s.normal(p.m * p.n)),
        residual(s.normal(p.m * p.n)), sums(s.normal(p.m)) {}
};

template <class T>
MatmulReference<T> reference(const Problem& p, const Data& data) {
  const auto wide = [](bool there, const std::vector<float>& v) { return there ? std::vector<T>(v.begin(), v.end()) : std::vector<T>{}; };
  const gatun_matmul_desc d = p.desc();
  MatmulReference<T> r;
  r.m = p.m, r.n = p.n, r.k = p.k;
  r.a_prologue = d.a_prologue, r.b_prologue = d.b_prologue, r.activation = d.activation, r.accumulate = d.accumulate == 1;
  r.epsilon = static_cast<T>(d.epsilon);
  r.a = wide(true, by_rows(data.a, p.m, p.k, p.transpose_a));
  r.b = wide(true, by_rows(data.b, p.k, p.n, p.transpose_b));
  r.c = wide(true, data.c);
  r.gamma = wide(p.normalizes(), data.gamma), r.beta = wide(p.normalizes(), data.beta);
  r.mean = wide(p.normalizes_b(), data.mean), r.rstd = wide(p.normalizes_b(), data.rstd);
  r.bias = wide(p.with_bias(), data.bias);
  r.hidden = wide(p.form == Form::kGeluGradient, data.hidden);
  r.residual = wide(p.with_residual(), data.residual);
  r.a_sums = wide(p.of_weights(), data.sums);
  r.compute(p.of_weights(), p.form == Form::kNormalizedGelu);
  return r;
}

void compare(Selftest& s, const Problem& p) {
  const Data data(s, p);
  const gatun_matmul_desc desc = p.desc();
  const size_t bytes = workspace_bytes(s.stream(), desc);
  const Device& device = s.device();
  Buffer<float> a(device, data.a), b(device, data.b), c(device, data.c), mean(device, data.mean), rstd(device, data.rstd), gamma(device, data.gamma),
      beta(device, data.beta), bias(device, data.bias), hidden(device, data.hidden), residual(device, data.residual), sums(device, data.sums);
  Buffer<unsigned char> workspace(device, bytes);
  const auto pointer = [](const gatun_layout& layout, Buffer<float>& buffer) { return layout.dtype == GATUN_NONE ? nullptr : buffer.data(); };
  call([&](gatun_error* e) {
    return gatun_matmul(s.stream(), &desc, a.data(), b.data(), c.data(), pointer(desc.mean, mean), pointer(desc.rstd, rstd), pointer(desc.gamma, gamma),
                        pointer(desc.beta, beta), nullptr, nullptr, pointer(desc.bias, bias), pointer(desc.hidden, hidden), nullptr, nullptr,
                        pointer(desc.residual, residual), pointer(desc.a_sums, sums), workspace.data(), bytes, e);
  });
  const auto truth = reference<double>(p, data);
  const auto naive = reference<float>(p, data);
  const ShapeText shape{p.m, p.n, p.k};
  s.check(p.name, "f32", shape, c.values(), truth.c, naive.c);
  if (p.form == Form::kNormalizedGelu) s.check("its hidden", "f32", shape, hidden.values(), truth.hidden, naive.hidden);
  if (p.of_weights()) s.check("its sums", "f32", shape, sums.values(), truth.a_sums, naive.a_sums);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const int64_t m = s.extent(1, 300), n = s.extent(1, 300), k = s.extent(1, 500), depth = s.extent(1, 3000);
    compare(s, {"product", Form::kPlain, m, n, k, s.chance(0.5), s.chance(0.5)});
    compare(s, {"of normalised rows", Form::kNormalized, m, n, k + 1, false, s.chance(0.5)});
    compare(s, {"to gelu", Form::kNormalizedGelu, m, n, k + 1, false, true});
    compare(s, {"of gelu, residual", Form::kGeluResidual, m, n, k, false, true});
    compare(s, {"of weights", Form::kWeights, m, n, depth, true, false});
    compare(s, {"of weights, normalised", Form::kNormalizedWeights, n, m, depth, true, false});
    compare(s, {"of weights, gelu", Form::kGeluWeights, m, n, depth, true, false});
    compare(s, {"times gelu's gradient", Form::kGeluGradient, m, n, k, false, false});
  }
}

void bench(Bench& b) {
  // A ViT-Ti block's linear layers at 64 x 197 tokens, forward and backward; prototypes; a square; a head.
  const std::vector<Problem> problems{
      {"product", Form::kPlain, 12608, 768, 192, false, true},          {"product", Form::kPlain, 12608, 192, 768, false, true},
      {"product", Form::kPlain, 4096, 3000, 128, false, true},          {"product", Form::kPlain, 2048, 2048, 2048, false, true},
      {"product", Form::kPlain, 512, 256, 128, false, true},            {"gradient of x", Form::kPlain, 12608, 192, 768, false, false},
      {"gradient of x", Form::kPlain, 12608, 768, 192, false, false},   {"gradient of x", Form::kPlain, 4096, 128, 3000, false, false},
      {"gradient of w", Form::kPlain, 768, 192, 12608, true, false},    {"gradient of w", Form::kPlain, 192, 768, 12608, true, false},
      {"gradient of w", Form::kPlain, 3000, 128, 4096, true, false},    {"qkv", Form::kNormalized, 12608, 576, 192, false, true},
      {"to gelu", Form::kNormalizedGelu, 12608, 768, 192, false, true}, {"of gelu, residual", Form::kGeluResidual, 12608, 192, 768, false, true},
      {"times gelu's gradient", Form::kGeluGradient, 12608, 768, 192, false, false}, {"of weights, normalised", Form::kNormalizedWeights, 768, 192, 12608, true, false},
      {"of weights, gelu", Form::kGeluWeights, 192, 768, 12608, true, false}};
  for (const Problem& p : problems) {
    const double m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.k);
    b.row(p.name, "f32", ShapeText{p.m, p.n, p.k}, {.flops = 2 * m * n * k, .bytes = 4 * (m * k + k * n + m * n)}, [&](Run& run) {
      const gatun_matmul_desc desc = p.desc();
      const size_t bytes = workspace_bytes(run.stream(), desc);
      Rotating<float> a = run.normal<float>(p.m * p.k), right = run.normal<float>(p.k * p.n), c = run.empty<float>(p.m * p.n), mean = run.normal<float>(p.tokens()),
                      rstd = run.normal<float>(p.tokens()), gamma = run.normal<float>(p.channels()), beta = run.normal<float>(p.channels()),
                      bias = run.normal<float>(p.n), hidden = run.normal<float>(p.with_hidden() ? p.m * p.n : 1),
                      residual = run.normal<float>(p.with_residual() ? p.m * p.n : 1), sums = run.normal<float>(p.m);
      Buffer<unsigned char> workspace(run.device(), bytes);
      const auto pointer = [](const gatun_layout& layout, Rotating<float>& buffer, int i) { return layout.dtype == GATUN_NONE ? nullptr : buffer[i]; };
      run.time([&](int i, gatun_error* e) {
        return gatun_matmul(run.stream(), &desc, a[i], right[i], c[i], pointer(desc.mean, mean, i), pointer(desc.rstd, rstd, i), pointer(desc.gamma, gamma, i),
                            pointer(desc.beta, beta, i), nullptr, nullptr, pointer(desc.bias, bias, i), pointer(desc.hidden, hidden, i), nullptr, nullptr,
                            pointer(desc.residual, residual, i), pointer(desc.a_sums, sums, i), workspace.data(), bytes, e);
      });
    });
  }
}

GATUN_TRIALS(matmul, selftest, bench);

}  // namespace
}  // namespace gatun::trial

// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm/layer_norm_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kEpsilon = 1e-6f;

template <class T>
gatun_layer_norm_desc forward_desc(int64_t rows, int64_t columns) {
  const gatun_layout matrix = layout(testing::kDtype<T>, {rows, columns}), line = layout(GATUN_F32, {rows}), channels = layout(GATUN_F32, {columns});
  return {sizeof(gatun_layer_norm_desc), kEpsilon, matrix, channels, channels, matrix, line, line};
}

template <class T>
gatun_layer_norm_backward_desc backward_desc(int64_t rows, int64_t columns) {
  const gatun_layout matrix = layout(testing::kDtype<T>, {rows, columns}), line = layout(GATUN_F32, {rows}), channels = layout(GATUN_F32, {columns});
  return {sizeof(gatun_layer_norm_backward_desc), 0, matrix, channels, line, line, matrix, matrix, channels, channels};
}

size_t workspace_of(const gatun_layer_norm_backward_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_layer_norm_backward_workspace(&desc, &bytes, e); });
  return bytes;
}

template <class T>
void selftest_of(Selftest& s) {
  const int64_t rows = s.extent(1, 1000), columns = s.chance(0.2) ? s.extent(2, 5000) : s.extent(2, 800);
  const std::vector<float> x = testing::rounded<T>(s.normal(rows * columns)), dy = testing::rounded<T>(s.normal(rows * columns));
  const std::vector<float> gamma = s.normal(columns), beta = s.normal(columns);
  using testing::widen;
  const auto truth = layer_norm_reference<double>(widen(x), widen(gamma), widen(beta), widen(dy), static_cast<size_t>(columns), kEpsilon);
  const auto naive = layer_norm_reference<float>(x, gamma, beta, dy, static_cast<size_t>(columns), kEpsilon);
  Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy)), y(s.device(), x.size()), dx(s.device(), x.size());
  Buffer<float> scale(s.device(), gamma), shift(s.device(), beta), mean(s.device(), truth.mean.size()), rstd(s.device(), truth.mean.size());
  Buffer<float> dgamma(s.device(), gamma.size()), dbeta(s.device(), gamma.size());
  const auto forward = forward_desc<T>(rows, columns);
  call([&](gatun_error* e) {
    return gatun_layer_norm_forward(s.stream(), &forward, in.data(), scale.data(), shift.data(), y.data(), mean.data(), rstd.data(), e);
  });
  s.check("forward", dtype<T>(), {rows, columns}, y.values(), truth.y, naive.y);
  s.check("forward rstd", dtype<T>(), {rows, columns}, rstd.values(), truth.rstd, naive.rstd);
  const auto backward = backward_desc<T>(rows, columns);
  Buffer<char> workspace(s.device(), workspace_of(backward));
  call([&](gatun_error* e) {
    return gatun_layer_norm_backward(s.stream(), &backward, in.data(), scale.data(), mean.data(), rstd.data(), gradient.data(), dx.data(),
                                     dgamma.data(), dbeta.data(), workspace.data(), workspace.size(), e);
  });
  s.check("backward", dtype<T>(), {rows, columns}, dx.values(), truth.dx, naive.dx);
  s.check("backward dgamma", dtype<T>(), {rows, columns}, dgamma.values(), truth.dgamma, naive.dgamma);
  s.check("backward dbeta", dtype<T>(), {rows, columns}, dbeta.values(), truth.dbeta, naive.dbeta);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
  }
}

template <class T>
void bench_of(Bench& b, int64_t rows, int64_t columns) {
  const double n = static_cast<double>(rows * columns), size = sizeof(T);
  b.row("forward", dtype<T>(), {rows, columns}, {.flops = 8 * n, .bytes = 2 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), y = run.empty<T>(rows * columns);
    Rotating<float> gamma = run.normal<float>(columns), beta = run.normal<float>(columns), mean = run.empty<float>(rows), rstd = run.empty<float>(rows);
    const auto desc = forward_desc<T>(rows, columns);
    run.time([&](int i, gatun_error* e) { return gatun_layer_norm_forward(run.stream(), &desc, x[i], gamma[i], beta[i], y[i], mean[i], rstd[i], e); });
  });
  b.row("backward", dtype<T>(), {rows, columns}, {.flops = 15 * n, .bytes = 3 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), dy = run.normal<T>(rows * columns), dx = run.empty<T>(rows * columns);
    Rotating<float> gamma = run.normal<float>(columns), mean = run.normal<float>(rows, 0.01f);
    Rotating<float> rstd = run.filled(std::vector<float>(static_cast<size_t>(rows), 1.0f)), dgamma = run.empty<float>(columns), dbeta = run.empty<float>(columns);
    const auto desc = backward_desc<T>(rows, columns);
    const size_t bytes = workspace_of(desc);
    Rotating<char> workspace = run.empty<char>(static_cast<int64_t>(bytes));
    run.time([&](int i, gatun_error* e) {
      return gatun_layer_norm_backward(run.stream(), &desc, x[i], gamma[i], mean[i], rstd[i], dy[i], dx[i], dgamma[i], dbeta[i], workspace[i], bytes, e);
    });
  });
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; };
  // Tokens of vision transformers: S and B with 197 tokens, L with 257.
  const std::vector<Shape> shapes = b.emulated()      ? std::vector<Shape>{{64, 192}}
                                    : b.device().cpu() ? std::vector<Shape>{{12608, 192}, {6304, 384}, {6304, 768}}
                                                       : std::vector<Shape>{{50432, 384}, {50432, 768}, {32896, 1024}};
  for (const auto [rows, columns] : shapes) {
    for_each_storage(b.device(), [&](auto type) { bench_of<decltype(type)>(b, rows, columns); });
  }
}

GATUN_TRIALS(layer_norm, selftest, bench);

}  // namespace
}  // namespace gatun::trial

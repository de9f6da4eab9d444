// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr double kEpsilon = 1e-5;

template <class T>
struct Descriptors {
  gatun_layout matrix, line, none{};
  gatun_batch_norm_statistics_desc statistics;
  gatun_batch_norm_desc forward;
  gatun_batch_norm_backward_sums_desc sums;
  gatun_batch_norm_backward_desc backward;
  Descriptors(int64_t rows, int64_t columns, int relu)
      : matrix(layout(testing::kDtype<T>, {rows, columns})), line(layout(GATUN_F32, {columns})), statistics{sizeof statistics, 0, matrix, line, line},
        forward{sizeof forward, relu, rows, kEpsilon, matrix, line, line, line, line, none, none, none, line, matrix, none},
        sums{sizeof sums, relu, matrix, line, line, line, line, matrix, line, line, none, none},
        backward{sizeof backward, relu, rows, matrix, line, line, line, line, matrix, line, line, matrix} {}
  size_t statistics_bytes() const {
    size_t bytes = 0;
    call([&](gatun_error* e) { return gatun_batch_norm_statistics_workspace(&statistics, &bytes, e); });
    return bytes;
  }
  size_t sums_bytes() const {
    size_t bytes = 0;
    call([&](gatun_error* e) { return gatun_batch_norm_backward_sums_workspace(&sums, &bytes, e); });
    return bytes;
  }
};

template <class T>
void selftest_of(Selftest& s) {
  using testing::widen;
  const int64_t rows = s.extent(2, 4000), columns = s.extent(1, 300);
  const size_t channels = static_cast<size_t>(columns);
  const std::vector<float> x = testing::rounded<T>(s.normal(rows * columns)), dy = testing::rounded<T>(s.normal(rows * columns));
  const std::vector<float> gamma = s.normal(columns), beta = s.normal(columns);
  // Without the rectifier: rounding decides what it does with values near 0.
  const auto truth = batch_norm_reference<double>(widen(x), widen(gamma), widen(beta), widen(dy), rows, columns, kEpsilon, false);
  const auto naive = batch_norm_reference<float>(x, gamma, beta, dy, rows, columns, static_cast<float>(kEpsilon), false);
  Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy)), y(s.device(), x.size()), dx(s.device(), x.size());
  Buffer<float> scale(s.device(), gamma), shift(s.device(), beta), mean(s.device(), channels), centered(s.device(), channels);
  Buffer<float> rstd(s.device(), channels), dgamma(s.device(), channels), dbeta(s.device(), channels);
  const Descriptors<T> desc(rows, columns, 0);
  Buffer<char> first(s.device(), desc.statistics_bytes()), second(s.device(), desc.sums_bytes());
  call([&](gatun_error* e) {
    return gatun_batch_norm_statistics(s.stream(), &desc.statistics, in.data(), mean.data(), centered.data(), first.data(), first.size(), e);
  });
  s.check("statistics mean", dtype<T>(), {rows, columns}, mean.values(), truth.mean, naive.mean);
  s.check("statistics centered", dtype<T>(), {rows, columns}, centered.values(), truth.centered, naive.centered);
  call([&](gatun_error* e) {
    return gatun_batch_norm_forward(s.stream(), &desc.forward, in.data(), mean.data(), centered.data(), scale.data(), shift.data(), nullptr, nullptr,
                                    nullptr, rstd.data(), y.data(), nullptr, e);
  });
  s.check("forward", dtype<T>(), {rows, columns}, y.values(), truth.y, naive.y);
  call([&](gatun_error* e) {
    return gatun_batch_norm_backward_sums(s.stream(), &desc.sums, in.data(), mean.data(), rstd.data(), scale.data(), shift.data(), gradient.data(),
                                          dgamma.data(), dbeta.data(), nullptr, nullptr, second.data(), second.size(), e);
  });
  s.check("backward dgamma", dtype<T>(), {rows, columns}, dgamma.values(), truth.dgamma, naive.dgamma);
  s.check("backward dbeta", dtype<T>(), {rows, columns}, dbeta.values(), truth.dbeta, naive.dbeta);
  call([&](gatun_error* e) {
    return gatun_batch_norm_backward(s.stream(), &desc.backward, in.data(), mean.data(), rstd.data(), scale.data(), shift.data(), gradient.data(),
                                     dgamma.data(), dbeta.data(), dx.data(), e);
  });
  s.check("backward", dtype<T>(), {rows, columns}, dx.values(), truth.dx, naive.dx);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
  }
}

template <class T>
void bench_of(Bench& b, int64_t rows, int64_t columns) {
  const double n = static_cast<double>(rows * columns), size = sizeof(T);
  const Descriptors<T> desc(rows, columns, 1);
  const auto ones = [&](Run& run) { return run.filled(std::vector<float>(static_cast<size_t>(columns), 1.0f)); };
  b.row("statistics", dtype<T>(), {rows, columns}, {.flops = 4 * n, .bytes = size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns);
    Rotating<float> mean = run.empty<float>(columns), centered = run.empty<float>(columns);
    const size_t bytes = desc.statistics_bytes();
    Rotating<char> workspace = run.empty<char>(static_cast<int64_t>(bytes));
    run.time([&](int i, gatun_error* e) { return gatun_batch_norm_statistics(run.stream(), &desc.statistics, x[i], mean[i], centered[i], workspace[i], bytes, e); });
  });
  b.row("forward", dtype<T>(), {rows, columns}, {.flops = 3 * n, .bytes = 2 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), y = run.empty<T>(rows * columns);
    Rotating<float> mean = run.normal<float>(columns, 0.1f), centered = run.filled(std::vector<float>(static_cast<size_t>(columns), static_cast<float>(rows)));
    Rotating<float> gamma = ones(run), beta = run.normal<float>(columns), rstd = run.empty<float>(columns);
    run.time([&](int i, gatun_error* e) {
      return gatun_batch_norm_forward(run.stream(), &desc.forward, x[i], mean[i], centered[i], gamma[i], beta[i], nullptr, nullptr, nullptr, rstd[i], y[i], nullptr, e);
    });
  });
  b.row("backward sums", dtype<T>(), {rows, columns}, {.flops = 7 * n, .bytes = 2 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), dy = run.normal<T>(rows * columns);
    Rotating<float> mean = run.normal<float>(columns, 0.1f), rstd = ones(run), gamma = ones(run), beta = run.normal<float>(columns);
    Rotating<float> dgamma = run.empty<float>(columns), dbeta = run.empty<float>(columns);
    const size_t bytes = desc.sums_bytes();
    Rotating<char> workspace = run.empty<char>(static_cast<int64_t>(bytes));
    run.time([&](int i, gatun_error* e) {
      return gatun_batch_norm_backward_sums(run.stream(), &desc.sums, x[i], mean[i], rstd[i], gamma[i], beta[i], dy[i], dgamma[i], dbeta[i], nullptr, nullptr,
                                            workspace[i], bytes, e);
    });
  });
  b.row("backward", dtype<T>(), {rows, columns}, {.flops = 8 * n, .bytes = 3 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), dy = run.normal<T>(rows * columns), dx = run.empty<T>(rows * columns);
    Rotating<float> mean = run.normal<float>(columns, 0.1f), rstd = ones(run), gamma = ones(run), beta = run.normal<float>(columns);
    Rotating<float> dgamma = run.normal<float>(columns), dbeta = run.normal<float>(columns);
    run.time([&](int i, gatun_error* e) {
      return gatun_batch_norm_backward(run.stream(), &desc.backward, x[i], mean[i], rstd[i], gamma[i], beta[i], dy[i], dgamma[i], dbeta[i], dx[i], e);
    });
  });
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; };
  // Stages of ResNet-50 at batch 256 (32 on the CPU), and a projection head.
  const std::vector<Shape> shapes = b.emulated()      ? std::vector<Shape>{{300, 64}}
                                    : b.device().cpu() ? std::vector<Shape>{{100352, 64}, {25088, 256}, {1568, 2048}}
                                                       : std::vector<Shape>{{802816, 64}, {200704, 512}, {12544, 2048}, {4096, 4096}};
  for (const auto [rows, columns] : shapes) {
    for_each_storage(b.device(), [&](auto type) { bench_of<decltype(type)>(b, rows, columns); });
  }
}

GATUN_TRIALS(batch_norm, selftest, bench);

}  // namespace
}  // namespace gatun::trial

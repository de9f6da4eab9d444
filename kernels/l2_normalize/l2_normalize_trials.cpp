// SPDX-License-Identifier: Apache-2.0
#include "kernels/l2_normalize/l2_normalize_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kEpsilon = 1e-12f;

template <class T>
gatun_l2_normalize_desc forward_desc(int64_t rows, int64_t columns) {
  const gatun_layout matrix = layout(testing::kDtype<T>, {rows, columns});
  return {sizeof(gatun_l2_normalize_desc), kEpsilon, matrix, matrix, layout(GATUN_F32, {rows})};
}

template <class T>
gatun_l2_normalize_backward_desc backward_desc(int64_t rows, int64_t columns) {
  const gatun_layout matrix = layout(testing::kDtype<T>, {rows, columns});
  return {sizeof(gatun_l2_normalize_backward_desc), kEpsilon, matrix, layout(GATUN_F32, {rows}), matrix, matrix};
}

template <class T>
void selftest_of(Selftest& s) {
  const int64_t rows = s.extent(1, 300), columns = s.extent(1, 2000);
  const size_t count = static_cast<size_t>(rows * columns), lines = static_cast<size_t>(rows);
  const std::vector<float> x = testing::rounded<T>(s.normal(rows * columns)), dy = testing::rounded<T>(s.normal(rows * columns));
  std::vector<double> y_true(count), norm_true(lines), dx_true(count);
  std::vector<float> y_naive(count), norm_naive(lines), dx_naive(count);
  l2_normalize_reference<double>(testing::widen(x).data(), y_true.data(), norm_true.data(), rows, columns, kEpsilon);
  l2_normalize_reference<float>(x.data(), y_naive.data(), norm_naive.data(), rows, columns, kEpsilon);
  Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy)), y(s.device(), count), dx(s.device(), count);
  Buffer<float> norm(s.device(), lines);
  const auto forward = forward_desc<T>(rows, columns);
  call([&](gatun_error* e) { return gatun_l2_normalize_forward(s.stream(), &forward, in.data(), y.data(), norm.data(), e); });
  s.check("forward", dtype<T>(), {rows, columns}, y.values(), y_true, y_naive);
  const auto backward = backward_desc<T>(rows, columns);
  call([&](gatun_error* e) { return gatun_l2_normalize_backward(s.stream(), &backward, y.data(), norm.data(), gradient.data(), dx.data(), e); });
  // Of the y and the norm that it was given.
  const std::vector<float> given = testing::loaded(y.values()), length = norm.values();
  l2_normalize_backward_reference<double>(testing::widen(given).data(), testing::widen(length).data(), testing::widen(dy).data(), dx_true.data(), rows, columns, kEpsilon);
  l2_normalize_backward_reference<float>(given.data(), length.data(), dy.data(), dx_naive.data(), rows, columns, kEpsilon);
  s.check("backward", dtype<T>(), {rows, columns}, dx.values(), dx_true, dx_naive);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
  }
}

template <class T>
void bench_of(Bench& b, int64_t rows, int64_t columns) {
  const double n = static_cast<double>(rows * columns), size = sizeof(T);
  b.row("forward", dtype<T>(), {rows, columns}, {.flops = 3 * n, .bytes = 2 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), y = run.empty<T>(rows * columns);
    Rotating<float> norm = run.empty<float>(rows);
    const auto desc = forward_desc<T>(rows, columns);
    run.time([&](int i, gatun_error* e) { return gatun_l2_normalize_forward(run.stream(), &desc, x[i], y[i], norm[i], e); });
  });
  b.row("backward", dtype<T>(), {rows, columns}, {.flops = 5 * n, .bytes = 3 * size * n}, [&](Run& run) {
    Rotating<T> y = run.normal<T>(rows * columns, 0.1f), dy = run.normal<T>(rows * columns), dx = run.empty<T>(rows * columns);
    Rotating<float> norm = run.filled(std::vector<float>(static_cast<size_t>(rows), 1.5f));
    const auto desc = backward_desc<T>(rows, columns);
    run.time([&](int i, gatun_error* e) { return gatun_l2_normalize_backward(run.stream(), &desc, y[i], norm[i], dy[i], dx[i], e); });
  });
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; };
  const std::vector<Shape> shapes = b.emulated() ? std::vector<Shape>{{64, 128}} : std::vector<Shape>{{4096, 128}, {65536, 256}};
  for (const auto [rows, columns] : shapes) {
    for_each_storage(b.device(), [&](auto type) { bench_of<decltype(type)>(b, rows, columns); });
  }
}

GATUN_TRIALS(l2_normalize, selftest, bench);

}  // namespace
}  // namespace gatun::trial

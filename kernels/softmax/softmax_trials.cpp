// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

template <class T>
gatun_softmax_desc forward_desc(int64_t rows, int64_t columns, float temperature) {
  const gatun_layout matrix = layout(testing::kDtype<T>, {rows, columns});
  return {sizeof(gatun_softmax_desc), temperature, matrix, matrix};
}

template <class T>
gatun_softmax_backward_desc backward_desc(int64_t rows, int64_t columns, float temperature) {
  const gatun_layout matrix = layout(testing::kDtype<T>, {rows, columns});
  return {sizeof(gatun_softmax_backward_desc), temperature, matrix, matrix, matrix};
}

template <class T>
void selftest_of(Selftest& s) {
  using testing::widen;
  const int64_t rows = s.extent(1, 300), columns = s.chance(0.2) ? s.extent(1, 40000) : s.extent(1, 2000);
  const float temperature = s.chance(0.5) ? 1.0f : 0.1f;
  const size_t n = static_cast<size_t>(columns);
  const std::vector<float> x = testing::rounded<T>(s.normal(rows * columns)), dy = testing::rounded<T>(s.normal(rows * columns));
  Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy)), y(s.device(), x.size()), dx(s.device(), x.size());
  const auto forward = forward_desc<T>(rows, columns, temperature);
  call([&](gatun_error* e) { return gatun_softmax_forward(s.stream(), &forward, in.data(), y.data(), e); });
  s.check("forward", dtype<T>(), {rows, columns}, y.values(), softmax_reference<double>(widen(x), n, temperature),
          softmax_reference<float>(x, n, temperature));
  const auto backward = backward_desc<T>(rows, columns, temperature);
  call([&](gatun_error* e) { return gatun_softmax_backward(s.stream(), &backward, y.data(), gradient.data(), dx.data(), e); });
  const std::vector<float> given = testing::loaded(y.values());  // of the y that it was given
  s.check("backward", dtype<T>(), {rows, columns}, dx.values(), softmax_backward_reference<double>(widen(given), widen(dy), n, temperature),
          softmax_backward_reference<float>(given, dy, n, temperature));
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
  }
}

template <class T>
void bench_of(Bench& b, int64_t rows, int64_t columns) {
  const double n = static_cast<double>(rows * columns), size = sizeof(T);
  b.row("forward", dtype<T>(), {rows, columns}, {.flops = 5 * n, .bytes = 2 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(rows * columns), y = run.empty<T>(rows * columns);
    const auto desc = forward_desc<T>(rows, columns, 0.1f);
    run.time([&](int i, gatun_error* e) { return gatun_softmax_forward(run.stream(), &desc, x[i], y[i], e); });
  });
  b.row("backward", dtype<T>(), {rows, columns}, {.flops = 5 * n, .bytes = 3 * size * n}, [&](Run& run) {
    Rotating<T> y = run.normal<T>(rows * columns, 0.01f), dy = run.normal<T>(rows * columns), dx = run.empty<T>(rows * columns);
    const auto desc = backward_desc<T>(rows, columns, 0.1f);
    run.time([&](int i, gatun_error* e) { return gatun_softmax_backward(run.stream(), &desc, y[i], dy[i], dx[i], e); });
  });
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; };
  // Prototypes of swapped prediction and of self-distillation.
  const std::vector<Shape> shapes = b.emulated()      ? std::vector<Shape>{{16, 300}}
                                    : b.device().cpu() ? std::vector<Shape>{{512, 3000}, {64, 65536}}
                                                       : std::vector<Shape>{{8192, 3000}, {65536, 1024}, {1024, 65536}};
  for (const auto [rows, columns] : shapes) {
    for_each_storage(b.device(), [&](auto type) { bench_of<decltype(type)>(b, rows, columns); });
  }
}

GATUN_TRIALS(softmax, selftest, bench);

}  // namespace
}  // namespace gatun::trial

// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr int kFunctions[] = {GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU, GATUN_ACTIVATION_SIGMOID, GATUN_ACTIVATION_TANH};
const char* const kNames[] = {"relu", "gelu", "sigmoid", "tanh"};

template <class T>
void compare(Selftest& s, int function, int64_t rows, int64_t columns) {
  const auto x = testing::rounded<T>(s.normal(rows * columns, 3)), dy = testing::rounded<T>(s.normal(rows * columns));
  std::vector<double> y(x.size()), dx(x.size());
  std::vector<float> y_naive(x.size()), dx_naive(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = activation_reference<double>(function, x[i]);
    dx[i] = activation_backward_reference<double>(function, x[i], dy[i]);
    y_naive[i] = activation_reference<float>(function, x[i]);
    dx_naive[i] = activation_backward_reference<float>(function, x[i], dy[i]);
  }
  const Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy));
  Buffer<T> out(s.device(), x.size()), result(s.device(), x.size());
  const gatun_layout l = layout(testing::kDtype<T>, {rows, columns});
  const gatun_activation_desc desc{sizeof desc, function, l, l};
  const std::string name = kNames[function - 1];
  call([&](gatun_error* e) { return gatun_activation_forward(s.stream(), &desc, in.data(), out.data(), e); });
  s.check("forward, " + name, dtype<T>(), {rows, columns}, out.values(), y, y_naive);
  const gatun_activation_backward_desc back{sizeof back, function, l, l, l};
  call([&](gatun_error* e) { return gatun_activation_backward(s.stream(), &back, in.data(), gradient.data(), result.data(), e); });
  s.check("backward, " + name, dtype<T>(), {rows, columns}, result.values(), dx, dx_naive);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const int64_t rows = s.extent(1, 200), columns = s.extent(1, 1000);
    for (const int function : kFunctions) {
      for_each_storage(s.device(), [&](auto element) { compare<decltype(element)>(s, function, rows, columns); });
    }
  }
}

void bench(Bench& b) {
  const int64_t rows = b.emulated() ? 20 : b.device().cpu() ? 1576 : 50432, columns = b.emulated() ? 64 : 3072;
  const double n = static_cast<double>(rows * columns);
  for (const int function : {GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU}) {
    for_each_storage(b.device(), [&](auto element) {
      using T = decltype(element);
      const gatun_layout l = layout(testing::kDtype<T>, {rows, columns});
      const std::string name = kNames[function - 1];
      b.row("forward, " + name, dtype<T>(), {rows, columns}, {.flops = n, .bytes = 2 * sizeof(T) * n}, [&](Run& run) {
        Rotating<T> x = run.normal<T>(rows * columns), y = run.empty<T>(rows * columns);
        const gatun_activation_desc desc{sizeof desc, function, l, l};
        run.time([&](int i, gatun_error* e) { return gatun_activation_forward(run.stream(), &desc, x[i], y[i], e); });
      });
      b.row("backward, " + name, dtype<T>(), {rows, columns}, {.flops = 2 * n, .bytes = 3 * sizeof(T) * n}, [&](Run& run) {
        Rotating<T> x = run.normal<T>(rows * columns), dy = run.normal<T>(rows * columns), dx = run.empty<T>(rows * columns);
        const gatun_activation_backward_desc desc{sizeof desc, function, l, l, l};
        run.time([&](int i, gatun_error* e) { return gatun_activation_backward(run.stream(), &desc, x[i], dy[i], dx[i], e); });
      });
    });
  }
}

GATUN_TRIALS(activation, selftest, bench);

}  // namespace
}  // namespace gatun::trial

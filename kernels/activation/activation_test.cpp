// SPDX-License-Identifier: Apache-2.0
#include "kernels/activation/activation_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr int kFunctions[] = {GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU, GATUN_ACTIVATION_SIGMOID, GATUN_ACTIVATION_TANH};
#if defined(GATUN_CUDA)
constexpr char kWrongDtype[] = "x is u8, allowed are f32, bf16 and f16";
#else
constexpr char kWrongDtype[] = "x is u8, expected f32";
#endif
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
struct StoredResult {
  std::vector<T> y, dx;
};
using Result = StoredResult<float>;

template <class T = float>
StoredResult<T> run_kernel(int threads, int function, const gatun_layout& l, const std::vector<T>& x, const std::vector<T>& dy) {
  Device device(threads);
  const Memory<T> x_memory(x), dy_memory(dy);
  Memory<T> y(x.size(), T(7.0f)), dx(x.size(), T(7.0f));
  const gatun_activation_desc desc{sizeof desc, function, l, l};
  run([&](gatun_error* e) { return gatun_activation_forward(device.stream(), &desc, x_memory.data(), y.data(), e); });
  const gatun_activation_backward_desc back{sizeof back, function, l, l, l};
  run([&](gatun_error* e) { return gatun_activation_backward(device.stream(), &back, x_memory.data(), dy_memory.data(), dx.data(), e); });
  return {y.values(), dx.values()};
}

Result run_line(int function, const std::vector<float>& x, const std::vector<float>& dy) {
  return run_kernel(2, function, layout(GATUN_F32, {static_cast<int64_t>(x.size())}), x, dy);
}

}  // namespace

TEST_CASE_TEMPLATE("activation matches the double reference on odd shapes and strides", T, GATUN_STORAGES) {
  for (const int function : kFunctions) {
    uint32_t seed = 0;
    constexpr int32_t dtype = kDtype<T>;
    for (const gatun_layout& l : {layout(dtype, {1}), layout(dtype, {3, 7}), layout(dtype, {5, 33}, {40, 1}), layout(dtype, {5, 24}, {40, 1}),
                                  layout(dtype, {20011}), layout(dtype, {2, 3, 4, 5, 6})}) {
      CAPTURE(function);
      const int64_t span = (l.shape[0] - 1) * l.stride[0] + (l.rank > 1 ? l.stride[0] : 1);
      const std::vector<float> x = rounded<T>(normal(span, ++seed, 3.0f)), dy = rounded<T>(normal(span, ++seed));
      const StoredResult<T> result = run_kernel<T>(2, function, l, stored<T>(x), stored<T>(dy));
      const int64_t columns = l.shape[l.rank - 1], step = l.rank > 1 ? l.stride[l.rank - 2] : columns;
      std::vector<double> y(x.size(), 7.0), dx(x.size(), 7.0);
      std::vector<float> y_naive(x.size(), 7.0f), dx_naive(x.size(), 7.0f);
      for (size_t i = 0; i < x.size(); ++i) {
        if (static_cast<int64_t>(i) % step >= columns) continue;  // a gap between rows stays as it was
        y[i] = activation_reference<double>(function, x[i]);
        dx[i] = activation_backward_reference<double>(function, x[i], dy[i]);
        y_naive[i] = activation_reference<float>(function, x[i]);
        dx_naive[i] = activation_backward_reference<float>(function, x[i], dy[i]);
      }
      check_stored(result.y, y, y_naive);
      check_stored(result.dx, dx, dx_naive);
    }
  }
}

TEST_CASE("activation keeps relative accuracy over the whole range") {
  std::vector<float> x;
  for (double v = -80; v < 80; v += 0.0131) x.push_back(static_cast<float>(v));
  for (double v = 1e-30; v < 1; v *= 1.3) {
    x.push_back(static_cast<float>(v));
    x.push_back(static_cast<float>(-v));
  }
  const std::vector<float> ones(x.size(), 1.0f);
  for (const int function : kFunctions) {
    CAPTURE(function);
    const Result result = run_line(function, x, ones);
    for (size_t i = 0; i < x.size(); ++i) {
      CAPTURE(x[i]);
      const double v = x[i];
      // GELU's tail is e^(-x²/2): half an ulp of x² is x²/2 ulp of the result. What is below 2^-120 may become 0.
      const double ulp = function == GATUN_ACTIVATION_GELU ? 8 + v * v : 4;
      const double truth = activation_reference<double>(function, v);
      CHECK(std::abs(result.y[i] - truth) <= ulp * 0x1p-23 * std::abs(truth) + 0x1p-120);
      // 8 more: the derivatives of GELU pass through zero, those of the others multiply two such values
      const double slope = activation_backward_reference<double>(function, v, 1.0);
      const double scale = function == GATUN_ACTIVATION_GELU ? std::max(std::abs(slope), 0.4 * (std::abs(v) + 1) * std::exp(-v * v / 2)) : 1 / std::cosh(v);
      if (function == GATUN_ACTIVATION_GELU) CHECK(std::abs(result.dx[i] - slope) <= (8 + ulp) * 0x1p-23 * scale + 0x1p-120);
      if (function == GATUN_ACTIVATION_SIGMOID) {
        const double exact = std::exp(-std::abs(v)) / std::pow(1 + std::exp(-std::abs(v)), 2);
        CHECK(std::abs(result.dx[i] - exact) <= 8 * 0x1p-23 * exact + 0x1p-120);
      }
      if (function == GATUN_ACTIVATION_TANH) CHECK(std::abs(result.dx[i] - scale * scale) <= 16 * 0x1p-23 * scale * scale + 0x1p-120);
    }
  }
}

#if defined(GATUN_CUDA)
TEST_CASE_TEMPLATE("activation in the half types keeps relative accuracy where the result is no smaller than it can store", T, Bfloat16, Half) {
  std::vector<float> values;
  for (double v = -9; v < 9; v += 0.0131) values.push_back(static_cast<float>(v));
  const std::vector<float> x = rounded<T>(values);
  const gatun_layout line = layout(kDtype<T>, {static_cast<int64_t>(x.size())});
  for (const int function : kFunctions) {
    CAPTURE(function);
    const auto result = run_kernel<T>(1, function, line, stored<T>(x), std::vector<T>(x.size(), T(1.0f)));
    for (size_t i = 0; i < x.size(); ++i) {
      CAPTURE(x[i]);
      const double truth = activation_reference<double>(function, x[i]), slope = activation_backward_reference<double>(function, x[i], 1.0);
      CHECK(std::abs(static_cast<float>(result.y[i]) - truth) <= (kRounding<T> + 1e-5) * std::abs(truth) + 0x1p-24);
      // GELU's derivative passes through 0, as a difference of two such terms.
      const double scale = function == GATUN_ACTIVATION_GELU ? std::max(std::abs(slope), 0.4 * (std::abs(x[i]) + 1) * std::exp(-x[i] * x[i] / 2.0)) : slope;
      CHECK(std::abs(static_cast<float>(result.dx[i]) - slope) <= kRounding<T> * std::abs(slope) + 3e-5 * scale + 0x1p-24);
    }
  }
}
#endif

TEST_CASE("activation reference gradients agree with finite differences") {
  for (const int function : kFunctions) {
    for (const double x : {-3.1, -0.7, 0.3, 1.9}) {
      const auto f = [&](const std::vector<double>& v) { return 1.3 * activation_reference<double>(function, v[0]); };
      CHECK(central_difference(f, {x}, 0) == doctest::Approx(activation_backward_reference<double>(function, x, 1.3)).epsilon(1e-7));
    }
  }
}

TEST_CASE("activation gives the same bits for any number of threads, also in place") {
  const std::vector<float> x = normal(30011, 5), dy = normal(30011, 6);
  const gatun_layout line = layout(GATUN_F32, {30011});
  for (const int function : kFunctions) {
    const Result one = run_kernel(1, function, line, x, dy);
    for (const int threads : {2, 3}) {
      const Result many = run_kernel(threads, function, line, x, dy);
      CHECK(same_bits(one.y, many.y));
      CHECK(same_bits(one.dx, many.dx));
    }
    Device device;
    Memory<float> y(x), dx(dy);
    const Memory<float> x_memory(x);
    const gatun_activation_desc desc{sizeof desc, function, line, line};
    run([&](gatun_error* e) { return gatun_activation_forward(device.stream(), &desc, y.data(), y.data(), e); });
    CHECK(same_bits(one.y, y.values()));
    const gatun_activation_backward_desc back{sizeof back, function, line, line, line};
    run([&](gatun_error* e) { return gatun_activation_backward(device.stream(), &back, x_memory.data(), dx.data(), dx.data(), e); });
    CHECK(same_bits(one.dx, dx.values()));
  }
}

TEST_CASE("activation at NaN, infinity, zero and of nothing") {
  for (const int function : kFunctions) {
    CAPTURE(function);
    const Result result = run_line(function, {kNan, kInfinity, -kInfinity, 0.0f, 1.0f}, {1.0f, 1.0f, 1.0f, 1.0f, kNan});
    CHECK((std::isnan(result.y[0]) && std::isnan(result.dx[0]) && std::isnan(result.dx[4])));
    const bool squashes = function == GATUN_ACTIVATION_SIGMOID || function == GATUN_ACTIVATION_TANH;
    CHECK(result.y[1] == (squashes ? 1.0f : kInfinity));
    CHECK(result.y[2] == (function == GATUN_ACTIVATION_TANH ? -1.0f : 0.0f));
    CHECK(result.dx[1] == (squashes ? 0.0f : 1.0f));
    CHECK(result.dx[2] == 0.0f);
    CHECK(result.y[3] == (function == GATUN_ACTIVATION_SIGMOID ? 0.5f : 0.0f));
    CHECK(run_line(function, {}, {}).y.empty());
  }
}

TEST_CASE("activation refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4});
  const auto attempt = [&](gatun_activation_backward_desc desc, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_activation_backward(device.stream(), &desc, buffer.data(), buffer.data(), buffer.data(), e);
    });
  };
  constexpr uint32_t size = sizeof(gatun_activation_backward_desc);
  attempt({size, 9, matrix, matrix, matrix}, "unknown function 9");
  attempt({size, 1, layout(GATUN_U8, {4, 4}), matrix, matrix}, kWrongDtype);
  attempt({size, 1, matrix, layout(GATUN_F16, {4, 4}), matrix}, "dy is f16, expected f32 as x is");
  attempt({size, 1, matrix, layout(GATUN_F32, {4, 5}), matrix}, "dy has shape (4, 5), expected (4, 4)");
  attempt({size, 1, matrix, matrix, layout(GATUN_F32, {4, 4}, {0, 1})}, "elements overlap");
  const gatun_activation_desc desc{sizeof desc, 1, matrix, layout(GATUN_F32, {4, 4}, {1, 4})};
  refused("last dimension of y must be contiguous",
          [&](gatun_error* e) { return gatun_activation_forward(device.stream(), &desc, buffer.data(), buffer.data(), e); });
}

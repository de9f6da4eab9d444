// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax_reference.h"

#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Result {
  std::vector<float> y, dx;
};

// padding: gap between rows, which must stay as it was
Result run_kernel(int threads, const std::vector<float>& x, const std::vector<float>& dy, int64_t columns, int64_t padding, float temperature) {
  Device device(threads);
  const int64_t rows = columns ? static_cast<int64_t>(x.size()) / columns : 0, stride = columns + padding;
  const auto spread = [&](const std::vector<float>& packed) {
    std::vector<float> buffer(static_cast<size_t>(rows * stride), 7.0f);
    for (int64_t r = 0; r < rows; ++r) std::copy_n(packed.begin() + r * columns, columns, buffer.begin() + r * stride);
    return buffer;
  };
  const auto pack = [&](const std::vector<float>& buffer) {
    std::vector<float> values;
    for (int64_t r = 0; r < rows; ++r) {
      values.insert(values.end(), buffer.begin() + r * stride, buffer.begin() + r * stride + columns);
      for (int64_t c = columns; c < stride; ++c) CHECK(buffer[static_cast<size_t>(r * stride + c)] == 7.0f);
    }
    return values;
  };
  const gatun_layout matrix = layout(GATUN_F32, {rows, columns}, {stride, 1});
  const std::vector<float> in = spread(x), gradient = spread(dy);
  std::vector<float> y(in.size(), 7.0f), dx(in.size(), 7.0f);
  const gatun_softmax_desc desc{sizeof desc, temperature, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_forward(device.stream(), &desc, in.data(), y.data(), e); });
  const gatun_softmax_backward_desc back{sizeof back, temperature, matrix, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_backward(device.stream(), &back, y.data(), gradient.data(), dx.data(), e); });
  return {pack(y), pack(dx)};
}

}  // namespace

TEST_CASE("softmax matches the double reference on odd shapes, strides and temperatures") {
  uint32_t seed = 0;
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 7}, {5, 16}, {17, 33}, {64, 128}, {9, 3000}}) {
    for (const float temperature : {1.0f, 0.1f, 3.0f}) {
      CAPTURE(columns);
      CAPTURE(temperature);
      const std::vector<float> x = normal(rows * columns, ++seed), dy = normal(rows * columns, ++seed);
      const size_t n = static_cast<size_t>(columns);
      const auto y = softmax_reference<double>(widen(x), n, temperature);
      const auto y_naive = softmax_reference<float>(x, n, temperature);
      const Result r = run_kernel(2, x, dy, columns, seed % 3, temperature);
      check_close(r.y, y, y_naive);
      check_close(r.dx, softmax_backward_reference<double>(y, widen(dy), n, temperature),
                  softmax_backward_reference<float>(y_naive, dy, n, temperature));
    }
  }
}

TEST_CASE("softmax reference gradient agrees with finite differences") {
  const std::vector<double> x = widen(normal(10, 3)), dy = widen(normal(10, 4));
  const auto objective = [&](const std::vector<double>& v) {
    const auto y = softmax_reference<double>(v, 5, 0.7);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const auto dx = softmax_backward_reference<double>(softmax_reference<double>(x, 5, 0.7), dy, 5, 0.7);
  for (size_t i = 0; i < 10; ++i) CHECK(central_difference(objective, x, i) == doctest::Approx(dx[i]).epsilon(1e-7));
}

TEST_CASE("softmax of masked, infinite, large and empty rows") {
  const std::vector<float> zeros(5);
  const Result masked = run_kernel(2, std::vector<float>(5, -kInfinity), normal(5, 1), 5, 0, 1.0f);
  for (size_t i = 0; i < 5; ++i) CHECK((masked.y[i] == 0.0f && masked.dx[i] == 0.0f));
  const Result partly = run_kernel(2, {-kInfinity, 1.0f, -kInfinity, 1.0f, -kInfinity}, zeros, 5, 0, 1.0f);
  CHECK((partly.y[0] == 0.0f && partly.y[1] == 0.5f && partly.y[3] == 0.5f));
  const Result large = run_kernel(2, {1e30f, 1e30f, 0.0f, -1e30f, -3e38f}, zeros, 5, 0, 0.1f);
  CHECK((large.y[0] == 0.5f && large.y[1] == 0.5f && large.y[2] == 0.0f && large.y[4] == 0.0f));
  for (size_t bad = 0; bad < 5; ++bad) {
    // Among −inf too: a NaN must not look like a masked row.
    std::vector<float> x(10, -kInfinity);
    x[bad] = std::numeric_limits<float>::quiet_NaN();
    const Result nan = run_kernel(1, x, std::vector<float>(10), 5, 0, 1.0f);
    for (size_t i = 0; i < 5; ++i) CHECK((std::isnan(nan.y[i]) && nan.y[5 + i] == 0.0f));
  }
  CHECK(run_kernel(2, {}, {}, 5, 0, 1.0f).y.empty());
}

TEST_CASE("softmax gives the same bits for any number of threads, also in place") {
  const std::vector<float> x = normal(301 * 67, 5), dy = normal(301 * 67, 6);
  const Result one = run_kernel(1, x, dy, 67, 0, 0.5f);
  for (const int threads : {2, 3}) {
    const Result many = run_kernel(threads, x, dy, 67, 0, 0.5f);
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dx, many.dx));
  }
  Device device;
  std::vector<float> y = x, dx = dy;
  const gatun_layout matrix = layout(GATUN_F32, {301, 67});
  const gatun_softmax_desc desc{sizeof desc, 0.5f, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_forward(device.stream(), &desc, y.data(), y.data(), e); });
  const gatun_softmax_backward_desc back{sizeof back, 0.5f, matrix, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_backward(device.stream(), &back, y.data(), dx.data(), dx.data(), e); });
  CHECK(same_bits(one.y, y));
  CHECK(same_bits(one.dx, dx));
}

TEST_CASE("softmax refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4});
  const auto attempt = [&](const gatun_softmax_desc& desc, const char* part) {
    refused(part, [&](gatun_error* e) { return gatun_softmax_forward(device.stream(), &desc, b.data(), b.data(), e); });
  };
  attempt({sizeof(gatun_softmax_desc), 0.0f, matrix, matrix}, "temperature is 0");
  attempt({sizeof(gatun_softmax_desc), 1e-40f, matrix, matrix}, "must be positive and not subnormal");
  attempt({sizeof(gatun_softmax_desc), 1.0f, layout(GATUN_F32, {4, 4}, {1, 4}), matrix}, "last dimension of x must be contiguous");
  attempt({sizeof(gatun_softmax_desc), 1.0f, matrix, layout(GATUN_F32, {4, 3})}, "y has shape (4, 3), expected (4, 4)");
}

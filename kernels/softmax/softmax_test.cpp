// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax/softmax_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class T>
struct Result {
  std::vector<T> y, dx;
};

// padding: gap between rows, which must stay as it was
template <class T>
Result<T> run_kernel(int threads, const std::vector<T>& x, const std::vector<T>& dy, int64_t columns, int64_t padding, float temperature) {
  Device device(threads);
  const int64_t rows = columns ? static_cast<int64_t>(x.size()) / columns : 0;
  const gatun_layout matrix = layout(kDtype<T>, {rows, columns}, {columns + padding, 1});
  const Memory<T> in(spread(x, columns, padding)), gradient(spread(dy, columns, padding));
  const size_t size = static_cast<size_t>(rows * (columns + padding));
  Memory<T> y(size, T(7.0f)), dx(size, T(7.0f));
  const gatun_softmax_desc desc{sizeof desc, temperature, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_forward(device.stream(), &desc, in.data(), y.data(), e); });
  const gatun_softmax_backward_desc back{sizeof back, temperature, matrix, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_backward(device.stream(), &back, y.data(), gradient.data(), dx.data(), e); });
  return {pack(y.values(), columns, padding), pack(dx.values(), columns, padding)};
}

}  // namespace

TEST_CASE_TEMPLATE("softmax matches the double reference on odd shapes, strides and temperatures", T, GATUN_STORAGES) {
  uint32_t seed = 0;
  // Rows of a few lanes, of a warp and of a block; packs and single elements; rows that registers cannot hold.
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 7}, {5, 16}, {17, 33}, {64, 128}, {101, 264}, {9, 3000}, {3, 1333}, {2, 20008}, {1, 35000}}) {
    for (const float temperature : {1.0f, 0.1f, 3.0f}) {
      CAPTURE(columns);
      CAPTURE(temperature);
      const std::vector<float> x = rounded<T>(normal(rows * columns, ++seed)), dy = rounded<T>(normal(rows * columns, ++seed));
      const size_t n = static_cast<size_t>(columns);
      const Result<T> r = run_kernel(2, stored<T>(x), stored<T>(dy), columns, seed % 3 * 4, temperature);
      check_stored(r.y, softmax_reference<double>(widen(x), n, temperature), softmax_reference<float>(x, n, temperature));
      const std::vector<float> y = loaded(r.y);  // what the backward pass was given
      check_stored(r.dx, softmax_backward_reference<double>(widen(y), widen(dy), n, temperature),
                   softmax_backward_reference<float>(y, dy, n, temperature));
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

TEST_CASE_TEMPLATE("softmax of masked, infinite, large and empty rows", T, GATUN_STORAGES) {
  const auto values = [](const std::vector<float>& x) { return loaded(run_kernel(2, stored<T>(x), std::vector<T>(x.size(), T(0.0f)), 5, 0, 1.0f).y); };
  const Result<T> masked = run_kernel(2, std::vector<T>(5, T(-kInfinity)), stored<T>(normal(5, 1)), 5, 0, 1.0f);
  for (size_t i = 0; i < 5; ++i) CHECK((static_cast<float>(masked.y[i]) == 0.0f && static_cast<float>(masked.dx[i]) == 0.0f));
  const std::vector<float> partly = values({-kInfinity, 1.0f, -kInfinity, 1.0f, -kInfinity});
  CHECK((partly[0] == 0.0f && partly[1] == 0.5f && partly[3] == 0.5f));
  const float huge = kDtype<T> == GATUN_F16 ? 6e4f : 1e30f;
  const std::vector<float> large = values({huge, huge, 0.0f, -huge, -huge});
  CHECK((large[0] == 0.5f && large[1] == 0.5f && large[2] == 0.0f && large[4] == 0.0f));
  for (const float v : values({0.0f, kInfinity, 1.0f, -kInfinity, 1.0f})) CHECK(std::isnan(v));
  for (size_t bad = 0; bad < 5; ++bad) {
    // Among −inf too: a NaN must not look like a masked row.
    std::vector<float> x(10, -kInfinity);
    x[bad] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> nan = values(x);
    for (size_t i = 0; i < 5; ++i) CHECK((std::isnan(nan[i]) && nan[5 + i] == 0.0f));
  }
  CHECK(run_kernel<T>(2, {}, {}, 5, 0, 1.0f).y.empty());
}

TEST_CASE("softmax of rows whose largest elements come late, or only −inf before them") {
  for (const int64_t columns : {40, 1000, 9001}) {
    std::vector<float> x(static_cast<size_t>(columns), -kInfinity);
    for (size_t i = x.size() / 2; i < x.size(); ++i) x[i] = static_cast<float>(i) * 0.01f;
    const std::vector<float> dy = normal(columns, 3);
    const size_t n = x.size();
    check_close(run_kernel(2, x, dy, columns, 0, 0.5f).y, softmax_reference<double>(widen(x), n, 0.5), softmax_reference<float>(x, n, 0.5f));
  }
}

TEST_CASE("softmax gives the same bits for any number of threads, also in place") {
  const std::vector<float> x = normal(301 * 67, 5), dy = normal(301 * 67, 6);
  const Result<float> one = run_kernel(1, x, dy, 67, 0, 0.5f);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel(threads, x, dy, 67, 0, 0.5f);
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dx, many.dx));
  }
  Device device;
  Memory<float> y(x), dx(dy);
  const gatun_layout matrix = layout(GATUN_F32, {301, 67});
  const gatun_softmax_desc desc{sizeof desc, 0.5f, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_forward(device.stream(), &desc, y.data(), y.data(), e); });
  const gatun_softmax_backward_desc back{sizeof back, 0.5f, matrix, matrix, matrix};
  run([&](gatun_error* e) { return gatun_softmax_backward(device.stream(), &back, y.data(), dx.data(), dx.data(), e); });
  CHECK(same_bits(one.y, y.values()));
  CHECK(same_bits(one.dx, dx.values()));
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
  attempt({sizeof(gatun_softmax_desc), 1.0f, matrix, layout(GATUN_I32, {4, 4})}, "y is i32, expected f32");
  attempt({sizeof(gatun_softmax_desc), 1.0f, matrix, layout(GATUN_F32, {4, 3})}, "y has shape (4, 3), expected (4, 4)");
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/l2_normalize/l2_normalize_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kEpsilon = 1e-12f;

template <class T>
struct Result {
  std::vector<T> y, dx;
  std::vector<float> norm;
};

// Runs forward and backward on (rows, columns) with the given row strides.
template <class T>
Result<T> run_kernel(int threads, const std::vector<T>& x, const std::vector<T>& dy, int64_t rows, int64_t columns, int64_t padding) {
  Device device(threads);
  const Memory<T> x_buffer(spread(x, columns, padding)), dy_buffer(spread(dy, columns, padding));
  const size_t size = static_cast<size_t>(rows * (columns + padding));
  Memory<T> y_buffer(size, T(7.0f)), dx_buffer(size, T(7.0f));
  Memory<float> norm(static_cast<size_t>(rows), 0.0f);
  const gatun_layout matrix = layout(kDtype<T>, {rows, columns}, {columns + padding, 1});
  const gatun_l2_normalize_desc desc{sizeof desc, kEpsilon, matrix, matrix, layout(GATUN_F32, {rows})};
  run([&](gatun_error* e) { return gatun_l2_normalize_forward(device.stream(), &desc, x_buffer.data(), y_buffer.data(), norm.data(), e); });
  const gatun_l2_normalize_backward_desc back{sizeof back, kEpsilon, matrix, desc.norm, matrix, matrix};
  run([&](gatun_error* e) {
    return gatun_l2_normalize_backward(device.stream(), &back, y_buffer.data(), norm.data(), dy_buffer.data(), dx_buffer.data(), e);
  });
  return {pack(y_buffer.values(), columns, padding), pack(dx_buffer.values(), columns, padding), norm.values()};
}

template <class T>
void reference(const std::vector<T>& x, const std::vector<T>& dy, int64_t rows, int64_t columns, std::vector<T>& y, std::vector<T>& dx) {
  std::vector<T> norm(static_cast<size_t>(rows));
  y.resize(x.size());
  dx.resize(x.size());
  l2_normalize_reference<T>(x.data(), y.data(), norm.data(), rows, columns, kEpsilon);
  l2_normalize_backward_reference<T>(y.data(), norm.data(), dy.data(), dx.data(), rows, columns, kEpsilon);
}

// The backward pass is compared for the y and the norm that it was given.
template <class T>
void check_against_reference(const std::vector<T>& x, const std::vector<T>& dy, int64_t rows, int64_t columns, int64_t padding) {
  const Result<T> r = run_kernel(2, x, dy, rows, columns, padding);
  const std::vector<float> values = loaded(x), gradient = loaded(dy), y = loaded(r.y);
  std::vector<float> y_naive(x.size()), dx_naive(x.size()), norm_naive(static_cast<size_t>(rows));
  std::vector<double> y_true(x.size()), dx_true(x.size()), norm_true(static_cast<size_t>(rows));
  l2_normalize_reference<float>(values.data(), y_naive.data(), norm_naive.data(), rows, columns, kEpsilon);
  l2_normalize_reference<double>(widen(values).data(), y_true.data(), norm_true.data(), rows, columns, kEpsilon);
  l2_normalize_backward_reference<float>(y.data(), r.norm.data(), gradient.data(), dx_naive.data(), rows, columns, kEpsilon);
  l2_normalize_backward_reference<double>(widen(y).data(), widen(r.norm).data(), widen(gradient).data(), dx_true.data(), rows, columns, kEpsilon);
  check_stored(r.y, y_true, y_naive);
  check_close(r.norm, norm_true, norm_naive);
  check_stored(r.dx, dx_true, dx_naive);
}

}  // namespace

TEST_CASE_TEMPLATE("l2_normalize matches the double reference on odd shapes and strides", T, GATUN_STORAGES) {
  uint32_t seed = 1;
  // Rows of a few lanes, of a warp and of a block; packs and single elements; rows that registers cannot hold.
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 7}, {5, 16}, {17, 33}, {64, 128}, {101, 264}, {9, 1000}, {2, 1032}, {5, 1333}, {1, 20008}, {1, 35000}}) {
    for (const int64_t padding : {0, seed % 4 == 1 ? 3 : 8}) {
      CAPTURE(rows);
      CAPTURE(columns);
      const std::vector<float> x = normal(rows * columns, ++seed), dy = normal(rows * columns, ++seed);
      check_against_reference(stored<T>(x), stored<T>(dy), rows, columns, padding);
    }
  }
}

TEST_CASE("l2_normalize reference gradient agrees with finite differences") {
  const std::vector<double> x = widen(normal(12, 3)), dy = widen(normal(12, 4));
  std::vector<double> y, dx;
  reference<double>(x, dy, 3, 4, y, dx);
  const auto objective = [&](const std::vector<double>& input) {
    std::vector<double> out(12), norm(3);
    l2_normalize_reference<double>(input.data(), out.data(), norm.data(), 3, 4, 1e-12);
    double sum = 0;
    for (size_t i = 0; i < 12; ++i) sum += out[i] * dy[i];
    return sum;
  };
  for (size_t i = 0; i < 12; ++i) CHECK(central_difference(objective, x, i) == doctest::Approx(dx[i]).epsilon(1e-7));
}

TEST_CASE("l2_normalize gives the same bits for any number of threads") {
  const std::vector<float> x = normal(37 * 65, 5), dy = normal(37 * 65, 6);
  const Result<float> one = run_kernel(1, x, dy, 37, 65, 0);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel(threads, x, dy, 37, 65, 0);
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dx, many.dx));
  }
}

TEST_CASE("l2_normalize edge cases: empty, zeros, NaN, in place") {
  CHECK(run_kernel<float>(2, {}, {}, 0, 5, 0).y.empty());
  const Result<float> zeros = run_kernel(2, std::vector<float>(5), std::vector<float>(5), 1, 5, 0);
  for (const float value : zeros.y) CHECK(value == 0.0f);
  // Rows shorter than epsilon are divided by it, and so are their gradients: nothing is projected out.
  {
    Device device;
    const std::vector<float> short_rows = normal(3 * 5, 5, 0.1f), gradient = normal(3 * 5, 6);
    const Memory<float> x(short_rows), dy(gradient);
    Memory<float> y(15, 0.0f), norm(3, 0.0f), dx(15, 0.0f);
    const gatun_layout matrix = layout(GATUN_F32, {3, 5}), line = layout(GATUN_F32, {3});
    const gatun_l2_normalize_desc desc{sizeof desc, 4.0f, matrix, matrix, line};
    run([&](gatun_error* e) { return gatun_l2_normalize_forward(device.stream(), &desc, x.data(), y.data(), norm.data(), e); });
    const gatun_l2_normalize_backward_desc back{sizeof back, 4.0f, matrix, line, matrix, matrix};
    run([&](gatun_error* e) { return gatun_l2_normalize_backward(device.stream(), &back, y.data(), norm.data(), dy.data(), dx.data(), e); });
    const std::vector<float> y_values = y.values(), dx_values = dx.values();
    for (size_t i = 0; i < 15; ++i) {
      CHECK(y_values[i] == short_rows[i] / 4);
      CHECK(dx_values[i] == gradient[i] / 4);
    }
  }
  std::vector<float> x = normal(10, 7);
  x[2] = std::numeric_limits<float>::quiet_NaN();
  const Result<float> nan = run_kernel(2, x, normal(10, 8), 2, 5, 0);
  for (int i = 0; i < 5; ++i) CHECK(std::isnan(nan.y[static_cast<size_t>(i)]));
  for (int i = 5; i < 10; ++i) CHECK(std::isfinite(nan.y[static_cast<size_t>(i)]));

  Device device;
  const std::vector<float> x_values = normal(6 * 9, 9);
  Memory<float> values(x_values), norm(6, 0.0f);
  const Result<float> apart = run_kernel(2, x_values, x_values, 6, 9, 0);
  const gatun_layout matrix = layout(GATUN_F32, {6, 9});
  const gatun_l2_normalize_desc desc{sizeof desc, kEpsilon, matrix, matrix, layout(GATUN_F32, {6})};
  run([&](gatun_error* e) { return gatun_l2_normalize_forward(device.stream(), &desc, values.data(), values.data(), norm.data(), e); });
  CHECK(same_bits(values.values(), apart.y));

  // Nothing in between has no spacing, whatever its strides say.
  const gatun_layout nothing = layout(GATUN_F32, {5, 0, 3});
  const gatun_l2_normalize_desc empty{sizeof empty, kEpsilon, nothing, nothing, layout(GATUN_F32, {0})};
  run([&](gatun_error* e) { return gatun_l2_normalize_forward(device.stream(), &empty, nullptr, nullptr, nullptr, e); });
}

TEST_CASE("l2_normalize refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4});
  const auto attempt = [&](gatun_l2_normalize_desc desc, const char* part) {
    refused(part, [&](gatun_error* e) { return gatun_l2_normalize_forward(device.stream(), &desc, buffer.data(), buffer.data(), buffer.data() + 32, e); });
  };
  const gatun_layout norm = layout(GATUN_F32, {4});
  attempt({sizeof(gatun_l2_normalize_desc) - 8, kEpsilon, matrix, matrix, norm}, "struct_size");
  attempt({sizeof(gatun_l2_normalize_desc), 0.0f, matrix, matrix, norm}, "epsilon is 0");
  attempt({sizeof(gatun_l2_normalize_desc), 1e-40f, matrix, matrix, norm}, "must be positive and not subnormal");
  attempt({sizeof(gatun_l2_normalize_desc), kEpsilon, layout(GATUN_I32, {4, 4}), matrix, norm}, "x is i32");
  attempt({sizeof(gatun_l2_normalize_desc), kEpsilon, matrix, layout(GATUN_F32, {4, 5}), norm}, "y has shape (4, 5), expected (4, 4)");
  attempt({sizeof(gatun_l2_normalize_desc), kEpsilon, layout(GATUN_F32, {4, 4}, {1, 4}), matrix, norm}, "last dimension of x must be contiguous");
  attempt({sizeof(gatun_l2_normalize_desc), kEpsilon, matrix, layout(GATUN_F32, {4, 4}, {0, 1}), norm}, "elements overlap");
  attempt({sizeof(gatun_l2_normalize_desc), kEpsilon, matrix, matrix, layout(GATUN_F32, {3})}, "norm has shape (3), expected (4)");
  const gatun_l2_normalize_desc good{sizeof good, kEpsilon, matrix, matrix, norm};
  refused("x is NULL", [&](gatun_error* e) { return gatun_l2_normalize_forward(device.stream(), &good, nullptr, buffer.data(), buffer.data(), e); });
  refused("stream is NULL", [&](gatun_error* e) { return gatun_l2_normalize_forward(nullptr, &good, buffer.data(), buffer.data(), buffer.data(), e); });
}

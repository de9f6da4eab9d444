// SPDX-License-Identifier: Apache-2.0
#include "kernels/gather_rows/gather_rows_reference.h"

#include <array>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

std::vector<int32_t> random_indices(int64_t count, int64_t rows, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<int32_t> indices(static_cast<size_t>(count));
  for (int32_t& index : indices) index = static_cast<int32_t>(generator() % static_cast<uint32_t>(rows));
  return indices;
}

template <class T>
std::vector<T> gather(int threads, const std::vector<T>& x, const std::vector<int32_t>& indices, int64_t rows, int64_t columns) {
  Device device(threads);
  const int64_t count = static_cast<int64_t>(indices.size());
  const Memory<T> x_memory(x);
  const Memory<int32_t> index_memory(indices);
  Memory<T> y(static_cast<size_t>(count * columns), T());
  constexpr int32_t dtype = kDtype<T>;
  const gatun_gather_rows_desc desc{sizeof desc, 0, layout(dtype, {rows, columns}), layout(GATUN_I32, {count}), layout(dtype, {count, columns})};
  run([&](gatun_error* e) { return gatun_gather_rows_forward(device.stream(), &desc, x_memory.data(), index_memory.data(), y.data(), e); });
  return y.values();
}

template <class T>
std::vector<T> scatter(int threads, const std::vector<T>& dy, const std::vector<int32_t>& indices, int64_t rows, int64_t columns) {
  Device device(threads);
  const int64_t count = static_cast<int64_t>(indices.size());
  const Memory<T> dy_memory(dy);
  const Memory<int32_t> index_memory(indices);
  Memory<T> dx(static_cast<size_t>(rows * columns), T(7.0f));
  constexpr int32_t dtype = kDtype<T>;
  const gatun_gather_rows_backward_desc desc{sizeof desc, 0, layout(dtype, {count, columns}), layout(GATUN_I32, {count}), layout(dtype, {rows, columns})};
  run([&](gatun_error* e) { return gatun_gather_rows_backward(device.stream(), &desc, dy_memory.data(), index_memory.data(), dx.data(), e); });
  return dx.values();
}

}  // namespace

TEST_CASE_TEMPLATE("gather_rows copies rows and its backward pass adds them up, repeated ones too", T, GATUN_STORAGES) {
  uint32_t seed = 1;
  for (const auto& [rows, count, columns] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {5, 3, 7}, {3, 20, 17}, {200, 130, 33}, {500, 7, 64}, {4, 0, 5}, {4, 3, 0}, {3, 1500, 8}, {2, 3, 259}, {3, 4, 9000}}) {
    CAPTURE(rows);
    CAPTURE(count);
    CAPTURE(columns);
    const std::vector<float> x = rounded<T>(normal(rows * columns, ++seed)), dy = rounded<T>(normal(count * columns, ++seed));
    const std::vector<int32_t> indices = random_indices(count, rows, ++seed);
    std::vector<float> y(dy.size()), dx_naive(x.size());
    std::vector<double> dx(x.size());
    gather_rows_reference<float>(x.data(), indices.data(), y.data(), count, columns);
    gather_rows_backward_reference<double>(widen(dy).data(), indices.data(), dx.data(), rows, count, columns);
    gather_rows_backward_reference<float>(dy.data(), indices.data(), dx_naive.data(), rows, count, columns);
    for (const int threads : {1, 2, 3}) CHECK(same_bits(loaded(gather(threads, stored<T>(x), indices, rows, columns)), y));
    const std::vector<T> result = scatter(2, stored<T>(dy), indices, rows, columns);
    check_stored(result, dx, dx_naive);
    for (const int threads : {1, 3}) CHECK(same_bits(loaded(scatter(threads, stored<T>(dy), indices, rows, columns)), loaded(result)));
  }
}

TEST_CASE("gather_rows reference gradient agrees with finite differences") {
  const std::vector<double> x = widen(normal(12, 3)), dy = widen(normal(15, 4));
  const std::vector<int32_t> indices{2, 0, 2, 3, 3};
  std::vector<double> dx(12);
  gather_rows_backward_reference<double>(dy.data(), indices.data(), dx.data(), 4, 5, 3);
  const auto objective = [&](const std::vector<double>& input) {
    std::vector<double> y(15);
    gather_rows_reference<double>(input.data(), indices.data(), y.data(), 5, 3);
    double sum = 0;
    for (size_t i = 0; i < 15; ++i) sum += y[i] * dy[i];
    return sum;
  };
  for (size_t i = 0; i < 12; ++i) CHECK(central_difference(objective, x, i) == doctest::Approx(dx[i]).epsilon(1e-7));
}

TEST_CASE("gather_rows: spaced rows of several dimensions, and bytes of any dtype") {
  Device device;
  const std::vector<float> x = normal(4 * 11, 5);
  const std::vector<int32_t> indices{3, 1};
  const Memory<float> x_memory(x);
  const Memory<int32_t> index_memory(indices);
  Memory<float> y_memory(2 * 8, 7.0f);
  const gatun_gather_rows_desc desc{sizeof desc, 0, layout(GATUN_F32, {4, 2, 3}, {11, 3, 1}), layout(GATUN_I32, {2}),
                                    layout(GATUN_F32, {2, 2, 3}, {8, 3, 1})};
  run([&](gatun_error* e) { return gatun_gather_rows_forward(device.stream(), &desc, x_memory.data(), index_memory.data(), y_memory.data(), e); });
  const std::vector<float> y = y_memory.values();
  for (size_t i = 0; i < 2; ++i) {
    for (size_t c = 0; c < 6; ++c) CHECK(y[i * 8 + c] == x[static_cast<size_t>(indices[i]) * 11 + c]);
    CHECK(y[i * 8 + 6] == 7.0f);
  }
  const Memory<uint8_t> bytes(std::vector<uint8_t>{1, 2, 3, 4, 5, 6});
  Memory<uint8_t> picked(2, uint8_t{0});
  const gatun_gather_rows_desc byte_desc{sizeof byte_desc, 0, layout(GATUN_U8, {6}), layout(GATUN_I32, {2}), layout(GATUN_U8, {2})};
  run([&](gatun_error* e) { return gatun_gather_rows_forward(device.stream(), &byte_desc, bytes.data(), index_memory.data(), picked.data(), e); });
  CHECK(picked.values() == std::vector<uint8_t>{4, 2});
}

#if defined(GATUN_CUDA)
TEST_CASE("gather_rows: an index out of range reads nothing, and what depends on it is NaN") {
  for (const int64_t columns : {1, 8, 264}) {
    const std::vector<float> x = normal(3 * columns, 5), y = gather<float>(1, x, {2, 3, -1, 0}, 3, columns);
    for (int64_t c = 0; c < columns; ++c) {
      CHECK(y[static_cast<size_t>(c)] == x[static_cast<size_t>(2 * columns + c)]);
      CHECK((std::isnan(y[static_cast<size_t>(columns + c)]) && std::isnan(y[static_cast<size_t>(2 * columns + c)])));
      CHECK(y[static_cast<size_t>(3 * columns + c)] == x[static_cast<size_t>(c)]);
    }
    for (const int32_t wrong : {-1, 3}) {
      for (const float value : scatter<float>(1, normal(2 * columns, 6), {0, wrong}, 3, columns)) CHECK(std::isnan(value));
    }
  }
}
#endif

TEST_CASE("gather_rows refuses bad descriptors and names an index out of range") {
  Device device;
  std::vector<float> x(32), y(32);
  std::vector<int32_t> indices{0, 2, 4};
  const auto attempt = [&](gatun_gather_rows_desc desc, const char* part) {
    refused(part, [&](gatun_error* e) { return gatun_gather_rows_forward(device.stream(), &desc, x.data(), indices.data(), y.data(), e); });
  };
  const uint32_t size = sizeof(gatun_gather_rows_desc);
  const gatun_layout three = layout(GATUN_I32, {3});
#if !defined(GATUN_CUDA)
  attempt({size, 0, layout(GATUN_F32, {4, 2}), three, layout(GATUN_F32, {3, 2})}, "indices[2] is 4, x has 4 rows");
#endif
  attempt({size, 0, layout(GATUN_F32, {5, 2}), three, layout(GATUN_F32, {3, 3})}, "its rows must have the shape of those of x");
  attempt({size, 0, layout(GATUN_F32, {5, 2}), three, layout(GATUN_F32, {2, 2})}, "indices has shape (3), expected (2)");
  attempt({size, 0, layout(GATUN_F32, {5, 2, 2}, {8, 4, 1}), three, layout(GATUN_F32, {3, 2, 2})}, "each row of x must be contiguous");
  attempt({size, 0, layout(GATUN_NONE, {5, 2}), three, layout(GATUN_F32, {3, 2})}, "x is none, expected an element type");
#if !defined(GATUN_CUDA)
  indices[1] = -1;
  const gatun_gather_rows_backward_desc back{sizeof back, 0, layout(GATUN_F32, {3, 2}), three, layout(GATUN_F32, {5, 2})};
  refused("indices[1] is -1, dx has 5 rows",
          [&](gatun_error* e) { return gatun_gather_rows_backward(device.stream(), &back, y.data(), indices.data(), x.data(), e); });
#endif
}

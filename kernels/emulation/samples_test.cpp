// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/samples.h"

#include "kernels/testing/device_buffer.h"
#include "kernels/testing/checks.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

template <class T>
std::vector<T> round_to(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

enum class Order { kPlain, kTransposed };  // a (m, k) or (k, m), b (k, n) or (n, k)

// `product(a, b, c)` writes c (m, n) = a b; a and b are stored as their orders say.
template <class T, class F>
void check_product(int m, int n, int k, Order order_a, Order order_b, F&& product) {
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  const std::vector<T> a = round_to<T>(normal(int64_t{m} * k, 1)), b = round_to<T>(normal(int64_t{k} * n, 2));
  const DeviceBuffer<T> device_a(a), device_b(b);
  const size_t count = static_cast<size_t>(m) * static_cast<size_t>(n);
  DeviceBuffer<float> device_c(count);
  check(product(device_a.data(), device_b.data(), device_c.data()));
  std::vector<double> truth(count);
  std::vector<float> naive(count);
  for (int row = 0; row < m; ++row) {
    for (int i = 0; i < k; ++i) {
      for (int column = 0; column < n; ++column) {
        const size_t at = static_cast<size_t>(row) * static_cast<size_t>(n) + static_cast<size_t>(column);
        const float x = a[static_cast<size_t>(order_a == Order::kPlain ? row * k + i : i * m + row)];
        const float y = b[static_cast<size_t>(order_b == Order::kPlain ? i * n + column : column * k + i)];
        truth[at] += static_cast<double>(x) * y;
        naive[at] += x * y;
      }
    }
  }
  check_close(device_c.download(), truth, naive);
}

template <class T>
void check_gemm(int m, int n, int k) {
  check_product<T>(m, n, k, Order::kPlain, Order::kPlain, [=](const T* a, const T* b, float* c) { return samples::gemm(a, b, c, m, n, k, nullptr); });
}

template <class T>
void check_hopper(int m, int n, int k) {
  using samples::HopperGemm;
  for (const HopperGemm form : {HopperGemm::kPlain, HopperGemm::kTransposedB, HopperGemm::kTransposedBoth, HopperGemm::kRegisters,
                                HopperGemm::kRegistersTransposedB}) {
    const bool plain_b = form != HopperGemm::kPlain && form != HopperGemm::kRegisters;
    check_product<T>(m, n, k, form == HopperGemm::kTransposedBoth ? Order::kTransposed : Order::kPlain, plain_b ? Order::kPlain : Order::kTransposed,
                     [=](const T* a, const T* b, float* c) { return samples::hopper_gemm(a, b, c, m, n, k, form, nullptr); });
  }
}

}  // namespace

TEST_CASE("samples: a sum of two vectors, with a tail") {
  for (const int64_t count : {1, 255, 256, 1000}) {
    const std::vector<float> a = normal(count, 1), b = normal(count, 2);
    const DeviceBuffer<float> device_a(a), device_b(b);
    DeviceBuffer<float> result(a.size());
    check(samples::add(device_a.data(), device_b.data(), result.data(), count, nullptr));
    const std::vector<float> values = result.download();
    for (size_t i = 0; i < a.size(); ++i) CHECK(values[i] == a[i] + b[i]);
  }
}

TEST_CASE("samples: a sum over blocks with shuffles and an atomic") {
  for (const int64_t count : {1, 700, 5000}) {
    const std::vector<float> x = normal(count, 3);
    const DeviceBuffer<float> device_x(x);
    DeviceBuffer<float> total(std::vector<float>{0.0f});
    check(samples::sum(device_x.data(), total.data(), count, nullptr));
    double truth = 0;
    float naive = 0;
    for (const float value : x) truth += value, naive += value;
    check_close(total.download(), {truth}, {naive});
  }
}

TEST_CASE("samples: the last block adds up, in the same order under every schedule") {
  const std::vector<float> x = normal(1000, 8);
  const DeviceBuffer<float> device_x(x);
  DeviceBuffer<float> partial(samples::kSumBlocks), total(1);
  DeviceBuffer<unsigned> finished(std::vector<unsigned>{0});
  static std::vector<float> first;
  for (int repeat = 0; repeat < 2; ++repeat) {
    check(samples::ordered_sum(device_x.data(), partial.data(), finished.data(), total.data(), 1000, nullptr));
    const std::vector<float> result = total.download();
    if (first.empty()) first = result;
    CHECK(same_bits(result, first));
  }
  double truth = 0;
  float naive = 0;
  for (const float value : x) truth += value, naive += value;
  check_close(first, {truth}, {naive});
}

TEST_CASE("samples: a tiled transposition") {
  for (const auto& [rows, columns] : std::vector<std::pair<int, int>>{{1, 1}, {32, 64}, {45, 33}}) {
    const std::vector<float> x = normal(int64_t{rows} * columns, 4);
    const DeviceBuffer<float> device_x(x);
    DeviceBuffer<float> device_y(x.size());
    check(samples::transpose(device_x.data(), device_y.data(), rows, columns, nullptr));
    const std::vector<float> y = device_y.download();
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) REQUIRE(y[static_cast<size_t>(c * rows + r)] == x[static_cast<size_t>(r * columns + c)]);
    }
  }
}

TEST_CASE("samples: blocks that meet at a grid barrier, in launch after launch") {
  for (const int64_t count : {1, 130, 1000}) {
    const std::vector<float> x = normal(count, 9);
    DeviceBuffer<float> device_x(x), partial(2 * 1024);
    DeviceBuffer<unsigned> arrived(std::vector<unsigned>{0});
    std::vector<double> truth(x.begin(), x.end());
    std::vector<float> naive = x;
    for (int call = 0; call < 2; ++call) check(samples::add_mean(device_x.data(), partial.data(), arrived.data(), count, 3, nullptr));
    for (int round = 0; round < 6; ++round) {
      double mean = 0;
      float naive_mean = 0;
      for (size_t i = 0; i < x.size(); ++i) mean += truth[i] / static_cast<double>(count), naive_mean += naive[i] / static_cast<float>(count);
      for (size_t i = 0; i < x.size(); ++i) truth[i] += mean, naive[i] += naive_mean;
    }
    check_close(device_x.download(), truth, naive);
  }
}

TEST_CASE("samples: a matrix product on tensor cores, double buffered") {
  check_gemm<__nv_bfloat16>(64, 64, 32);
  check_gemm<__nv_bfloat16>(70, 72, 104);
  check_gemm<__half>(33, 24, 40);
}

TEST_CASE("samples: a matrix product of a warpgroup, tiles by bulk copies, operands of all kinds") {
  check_hopper<__nv_bfloat16>(64, 96, 64);
  check_hopper<__half>(72, 136, 200);
  check_hopper<__nv_bfloat16>(16, 8, 264);
}

TEST_CASE("samples: a tf32 tile rounds its inputs to 10 bits") {
  const std::vector<float> a = normal(16 * 8, 5), b = normal(8 * 8, 6);
  const DeviceBuffer<float> device_a(a), device_b(b);
  DeviceBuffer<float> device_c(16 * 8);
  check(samples::tf32_tile(device_a.data(), device_b.data(), device_c.data(), nullptr));
  const auto rounded = [](float value) {
    int exponent = 0;
    const double mantissa = std::frexp(static_cast<double>(value), &exponent);
    return std::ldexp(std::round(std::ldexp(mantissa, 11)), exponent - 11);
  };
  std::vector<double> truth(16 * 8);
  std::vector<float> naive(16 * 8);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 8; ++j) {
      for (size_t l = 0; l < 8; ++l) {
        const double x = rounded(a[i * 8 + l]), y = rounded(b[j * 8 + l]);
        truth[i * 8 + j] += x * y;
        naive[i * 8 + j] += static_cast<float>(x) * static_cast<float>(y);
      }
    }
  }
  check_close(device_c.download(), truth, naive);
}

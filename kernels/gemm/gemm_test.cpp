// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/gemm_reference.h"

#include <array>
#include <set>

#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

struct Problem {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
};

gatun_layout matrix(int64_t rows, int64_t columns, bool transposed, int64_t padding) {
  return transposed ? layout(GATUN_F32, {rows, columns}, {1, rows + padding}) : layout(GATUN_F32, {rows, columns}, {columns + padding, 1});
}

int64_t stored(int64_t rows, int64_t columns, bool transposed, int64_t padding) {
  return (transposed ? columns : rows) * ((transposed ? rows : columns) + padding);
}

std::vector<float> run_gemm(int threads, const Problem& p, float alpha, float beta, const std::vector<float>& a,
                            const std::vector<float>& b, std::vector<float> c, int64_t padding) {
  Device device(threads);
  const gatun_gemm_desc desc{sizeof desc, alpha, beta, 0, matrix(p.m, p.k, p.transpose_a, padding),
                             matrix(p.k, p.n, p.transpose_b, padding), matrix(p.m, p.n, false, padding)};
  run([&](gatun_error* e) { return gatun_gemm(device.stream(), &desc, sgemm_reference, a.data(), b.data(), c.data(), e); });
  return c;
}

template <class T>
std::vector<T> reference(const Problem& p, float alpha, float beta, const std::vector<T>& a, const std::vector<T>& b, std::vector<T> c,
                         int64_t padding) {
  gemm_reference<T>(p.transpose_a, p.transpose_b, p.m, p.n, p.k, alpha, a.data(), (p.transpose_a ? p.m : p.k) + padding, b.data(),
                    (p.transpose_b ? p.k : p.n) + padding, beta, c.data(), p.n + padding);
  return c;
}

}  // namespace

TEST_CASE("gemm tiles cover the product whatever its shape, transposes and strides") {
  uint32_t seed = 1;
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {5, 7, 3}, {700, 20, 90}, {33, 513, 64}, {300, 290, 31}, {129, 257, 300}}) {
    for (const int code : {0, 1, 2, 3}) {
      for (const int64_t padding : {0, 5}) {
        const Problem p{m, n, k, (code & 1) != 0, (code & 2) != 0};
        const std::vector<float> a = normal(stored(m, k, p.transpose_a, padding), seed++), b = normal(stored(k, n, p.transpose_b, padding), seed++);
        const std::vector<float> c = normal(m * (n + padding), seed++);
        for (const float beta : {0.0f, 0.5f}) {
          const auto truth = reference<double>(p, 1.5f, beta, widen(a), widen(b), widen(c), padding);
          const double allowed = bound(truth, reference<float>(p, 1.5f, beta, a, b, c, padding));
          std::vector<float> got = run_gemm(2, p, 1.5f, beta, a, b, c, padding);
          CHECK(distance(truth, got) <= allowed);
          got.front() += static_cast<float>(4 * allowed);
          CHECK(distance(truth, got) > allowed);
        }
      }
    }
  }
}

TEST_CASE("gemm gives the same bits for any number of threads") {
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{{640, 130, 50}, {100, 400, 100}}) {
    const Problem p{m, n, k, false, true};
    const std::vector<float> a = normal(m * k, 5), b = normal(n * k, 6), c(static_cast<size_t>(m * n));
    const std::vector<float> one = run_gemm(1, p, 1, 0, a, b, c, 0);
    for (const int threads : {2, 3}) CHECK(same_bits(one, run_gemm(threads, p, 1, 0, a, b, c, 0)));
  }
}

// The tiles of a product on one thread, as (rows, columns), written down by a kernel that computes nothing.
static std::multiset<std::pair<int, int>> seen;

static int observe(char, char, int64_t m, int64_t n, int64_t, float, const float*, int64_t, const float*, int64_t, float, float*, int64_t) {
  seen.emplace(m, n);
  return 0;
}

static int failing(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t, float, float*, int64_t) {
  return 2;
}

TEST_CASE("gemm reports a library that fails") {
  Device device(2);
  const std::vector<float> a(16), b(16);
  std::vector<float> c(16);
  const gatun_layout square = layout(GATUN_F32, {4, 4});
  const gatun_gemm_desc desc{sizeof desc, 1, 0, 0, square, square, square};
  gatun_error error{};
  CHECK(gatun_gemm(device.stream(), &desc, failing, a.data(), b.data(), c.data(), &error) == GATUN_INTERNAL);
  CHECK(std::string(error.message) == "the library's sgemm failed with status 2");
}

static std::multiset<std::pair<int, int>> tiles(int64_t m, int64_t n, int64_t k) {
  Device device(1);
  std::vector<float> a(static_cast<size_t>(m * k)), b(static_cast<size_t>(k * n)), c(static_cast<size_t>(m * n));
  const gatun_gemm_desc desc{sizeof desc, 1, 0, 0, matrix(m, k, false, 0), matrix(k, n, false, 0), matrix(m, n, false, 0)};
  seen.clear();
  run([&](gatun_error* e) { return gatun_gemm(device.stream(), &desc, observe, a.data(), b.data(), c.data(), e); });
  return seen;
}

TEST_CASE("gemm cuts large products and leaves small ones whole") {
  CHECK(tiles(40, 40, 40).count({40, 40}) == 1);
  const auto tall = tiles(12544, 64, 576);
  CHECK(tall.size() == 16);
  CHECK(tall.count({784, 64}) == 16);
  CHECK(tiles(1024, 1024, 1024).count({256, 256}) == 16);
  // no tile narrower than what pays for packing
  for (const auto& [rows, columns] : tiles(64, 512, 4096)) CHECK(std::min(rows, columns) >= 64);
}

TEST_CASE("gemm edge cases: empty, no inner dimension, uninitialised result") {
  CHECK(run_gemm(2, {0, 4, 3, false, false}, 1, 0, {}, normal(12, 1), {}, 0).empty());
  const std::vector<float> scaled = run_gemm(2, {2, 2, 0, false, false}, 1, 0.5f, {}, {}, {2, 4, 6, 8}, 0);
  CHECK(scaled == std::vector<float>{1, 2, 3, 4});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> overwritten = run_gemm(1, {1, 1, 1, false, false}, 1, 0, {2}, {3}, {nan}, 0);
  CHECK(overwritten[0] == 6.0f);
}

TEST_CASE("gemm refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(64);
  const auto attempt = [&](const gatun_layout& a, const gatun_layout& b, const gatun_layout& c, gatun_sgemm function, const char* part) {
    const gatun_gemm_desc desc{sizeof desc, 1, 0, 0, a, b, c};
    refused(part, [&](gatun_error* e) { return gatun_gemm(device.stream(), &desc, function, buffer.data(), buffer.data(), buffer.data(), e); });
  };
  const gatun_layout square = layout(GATUN_F32, {4, 4});
  attempt(square, square, square, nullptr, "sgemm is NULL");
  attempt(square, layout(GATUN_F32, {3, 4}), square, sgemm_reference, "b has shape");
  attempt(square, square, layout(GATUN_F32, {4, 3}), sgemm_reference, "c has shape");
  attempt(layout(GATUN_F32, {4, 4}, {8, 2}), square, square, sgemm_reference, "a has neither");
  attempt(square, layout(GATUN_F32, {4, 4}, {0, 1}), square, sgemm_reference, "b has neither");
  attempt(square, square, layout(GATUN_F32, {4, 4}, {1, 4}), sgemm_reference, "c");
  attempt(layout(GATUN_I32, {4, 4}), square, square, sgemm_reference, "a");
}

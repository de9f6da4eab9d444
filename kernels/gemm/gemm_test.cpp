// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/gemm_reference.h"

#include <array>
#include <cstddef>
#include <set>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

#if defined(GATUN_CUDA)
constexpr gatun_sgemm kSgemm = nullptr;
#else
constexpr gatun_sgemm kSgemm = sgemm_reference;
#endif

namespace {

struct Problem {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
};

gatun_layout matrix(int32_t dtype, int64_t rows, int64_t columns, bool transposed, int64_t padding) {
  return transposed ? layout(dtype, {rows, columns}, {1, rows + padding}) : layout(dtype, {rows, columns}, {columns + padding, 1});
}

int64_t stored_elements(int64_t rows, int64_t columns, bool transposed, int64_t padding) {
  return (transposed ? columns : rows) * ((transposed ? rows : columns) + padding);
}

// T is the storage of a and b, C that of c. `shift` elements before a and b, so that they are not aligned.
template <class T, class C>
std::vector<C> run_gemm(int threads, const Problem& p, float alpha, float beta, std::vector<T> a, std::vector<T> b, const std::vector<C>& c,
                        int64_t padding, int64_t shift = 0) {
  Device device(threads);
  a.insert(a.begin(), static_cast<size_t>(shift), T(7.0f));
  b.insert(b.begin(), static_cast<size_t>(shift), T(7.0f));
  const Memory<T> a_memory(a), b_memory(b);
  Memory<C> c_memory(c);
  const gatun_gemm_desc desc{sizeof desc, alpha, beta, 0, matrix(kDtype<T>, p.m, p.k, p.transpose_a, padding),
                             matrix(kDtype<T>, p.k, p.n, p.transpose_b, padding), matrix(kDtype<C>, p.m, p.n, false, padding)};
  run([&](gatun_error* e) {
    return gatun_gemm(device.stream(), &desc, kSgemm, a_memory.data() + shift, b_memory.data() + shift, c_memory.data(), e);
  });
  return c_memory.values();
}

template <class T>
std::vector<T> reference(const Problem& p, float alpha, float beta, const std::vector<T>& a, const std::vector<T>& b, std::vector<T> c,
                         int64_t padding) {
  gemm_reference<T>(p.transpose_a, p.transpose_b, p.m, p.n, p.k, alpha, a.data(), (p.transpose_a ? p.m : p.k) + padding, b.data(),
                    (p.transpose_b ? p.k : p.n) + padding, beta, c.data(), p.n + padding);
  return c;
}

// Runs one problem and checks it against the truth; what lies between the rows of c must stay as it was.
template <class T, class C>
void check_gemm(const Problem& p, float beta, int64_t padding, int64_t shift, uint32_t seed) {
  CAPTURE(p.m);
  CAPTURE(p.n);
  CAPTURE(p.k);
  CAPTURE(p.transpose_a);
  CAPTURE(p.transpose_b);
  CAPTURE(padding);
  const auto a = rounded<T>(normal(stored_elements(p.m, p.k, p.transpose_a, padding), seed));
  const auto b = rounded<T>(normal(stored_elements(p.k, p.n, p.transpose_b, padding), seed + 1));
  const auto c = rounded<C>(normal(p.m * (p.n + padding), seed + 2));
  const auto truth = reference<double>(p, 1.5f, beta, widen(a), widen(b), widen(c), padding);
  const auto naive = reference<float>(p, 1.5f, beta, a, b, c, padding);
  check_stored<C>(run_gemm(2, p, 1.5f, beta, stored<T>(a), stored<T>(b), stored<C>(c), padding, shift), truth, naive);
}

#if defined(GATUN_CUDA)
const std::vector<std::array<int64_t, 3>> kShapes{{1, 1, 1}, {5, 7, 3}, {70, 20, 36}, {33, 69, 17}};
#else
const std::vector<std::array<int64_t, 3>> kShapes{{1, 1, 1}, {5, 7, 3}, {700, 20, 90}, {33, 513, 64}, {300, 290, 31}, {129, 257, 300}};
#endif

}  // namespace

TEST_CASE("gemm tiles cover the product whatever its shape, transposes and strides") {
  uint32_t seed = 1;
  for (const auto& [m, n, k] : kShapes) {
    for (const int code : {0, 1, 2, 3}) {
      for (const int64_t padding : {0, 5}) {
        check_gemm<float, float>({m, n, k, (code & 1) != 0, (code & 2) != 0}, (code + padding) % 3 == 0 ? 0.0f : 0.5f, padding, 0, seed += 3);
      }
    }
  }
}

#if defined(GATUN_CUDA)
TEST_CASE_TEMPLATE("gemm on tensor cores: whatever shape, transposes, strides and alignment, c in f32 or as a and b", T, Bfloat16, Half) {
  uint32_t seed = 500;
  const bool bf16 = kDtype<T> == GATUN_BF16;
  for (const int code : {0, 1, 2, 3}) {
    const bool transpose_a = (code & 1) != 0, transpose_b = (code & 2) != 0;
    // More steps than there are stages; rows that are no multiple of 16 bytes.
    check_gemm<T, float>({20, 9, 201, transpose_a, transpose_b}, 0.0f, code % 2 == 0 ? 0 : 3, 0, seed += 3);
    // Rows of a multiple of 8 elements are copied 16 bytes at a time, whether the matrix fills the last of them or not.
    check_gemm<T, T>({20, 12, 212, transpose_a, transpose_b}, 0.5f, 4, 0, seed += 3);
    check_gemm<T, T>({24, 16, 8, transpose_a, transpose_b}, 0.0f, 0, code == 1 ? 1 : 0, seed += 3);
    // Several tiles, the halves of T shared between the two types.
    if ((code % 2 == 0) == bf16) check_gemm<T, float>({140, 133, 40, transpose_a, transpose_b}, 0.5f, 3, 0, seed += 3);
    else check_gemm<T, T>({136, 136, 40, transpose_a, transpose_b}, 0.5f, 0, 0, seed += 3);
  }
  check_gemm<T, T>({1, 1, 1, false, false}, 0.5f, 0, 0, seed += 3);
  check_gemm<T, T>({9, 3, 0, false, false}, 0.5f, 0, 0, seed += 3);
}

TEST_CASE("gemm in f32 takes the larger tile where there are enough of them") {
  for (const bool transposed : {false, true}) check_gemm<float, float>({260, 132, 19, transposed, !transposed}, 0.5f, transposed ? 0 : 4, 0, 900);
  check_gemm<float, float>({1100, 140, 3, false, true}, 0.0f, 0, 0, 910);  // more than a band of tiles
}

TEST_CASE_TEMPLATE("gemm: NaN in one row of a stays in that row of c", T, GATUN_STORAGES) {
  std::vector<float> a(static_cast<size_t>(40 * 24), 1.0f);
  a[30 * 24 + 5] = std::numeric_limits<float>::quiet_NaN();
  const auto c = loaded(run_gemm<T, T>(1, {40, 16, 24, false, false}, 1, 0, stored<T>(a), std::vector<T>(24 * 16, T(0.5f)), std::vector<T>(40 * 16), 0));
  for (size_t i = 0; i < c.size(); ++i) {
    if (i / 16 == 30) CHECK(std::isnan(c[i]));
    else CHECK(c[i] == 12.0f);
  }
}

#else
TEST_CASE("gemm gives the same bits for any number of threads") {
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{{640, 130, 50}, {100, 400, 100}}) {
    const Problem p{m, n, k, false, true};
    const std::vector<float> a = normal(m * k, 5), b = normal(n * k, 6), c(static_cast<size_t>(m * n));
    const std::vector<float> one = run_gemm<float, float>(1, p, 1, 0, a, b, c, 0);
    for (const int threads : {2, 3}) CHECK(same_bits(one, run_gemm<float, float>(threads, p, 1, 0, a, b, c, 0)));
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
  const gatun_gemm_desc desc{sizeof desc, 1, 0, 0, matrix(GATUN_F32, m, k, false, 0), matrix(GATUN_F32, k, n, false, 0), matrix(GATUN_F32, m, n, false, 0)};
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

#endif

TEST_CASE("gemm edge cases: empty, no inner dimension, uninitialised result") {
  CHECK(run_gemm<float, float>(2, {0, 4, 3, false, false}, 1, 0, {}, normal(12, 1), {}, 0).empty());
  const std::vector<float> scaled = run_gemm<float, float>(2, {2, 2, 0, false, false}, 1, 0.5f, {}, {}, {2, 4, 6, 8}, 0);
  CHECK(scaled == std::vector<float>{1, 2, 3, 4});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> overwritten = run_gemm<float, float>(1, {1, 1, 1, false, false}, 1, 0, {2}, {3}, {nan}, 0);
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
#if !defined(GATUN_CUDA)
  attempt(square, square, square, nullptr, "sgemm is NULL");
#endif
  attempt(square, layout(GATUN_F32, {3, 4}), square, kSgemm, "b has shape");
  attempt(square, square, layout(GATUN_F32, {4, 3}), kSgemm, "c has shape");
  attempt(layout(GATUN_F32, {4, 4}, {8, 2}), square, square, kSgemm, "a has neither");
  attempt(square, layout(GATUN_F32, {4, 4}, {0, 1}), square, kSgemm, "b has neither");
  attempt(square, square, layout(GATUN_F32, {4, 4}, {1, 4}), kSgemm, "c");
  attempt(layout(GATUN_I32, {4, 4}), square, square, kSgemm, "a");
  attempt(layout(GATUN_F32, {0, 2147483393}), layout(GATUN_F32, {2147483393, 0}), layout(GATUN_F32, {0, 0}), kSgemm, "a is too large");
#if defined(GATUN_CUDA)
  attempt(square, layout(GATUN_BF16, {4, 4}), square, kSgemm, "b is bf16, expected f32 as a is");
  refused("c is f16, expected bf16 as a is", [&](gatun_error* e) {
    const gatun_layout half = layout(GATUN_BF16, {4, 4});
    const gatun_gemm_desc desc{sizeof desc, 1, 0, 0, half, half, layout(GATUN_F16, {4, 4})};
    return gatun_gemm(device.stream(), &desc, nullptr, buffer.data(), buffer.data(), buffer.data(), e);
  });
#endif
}

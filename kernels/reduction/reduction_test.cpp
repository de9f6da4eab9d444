// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduction/reduction_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  gatun_layout x, y;
};

int64_t extent(const gatun_layout& l) {
  int64_t last = 0;
  for (int i = 0; i < l.rank; ++i) {
    if (l.shape[i] == 0) return 0;
    last += (l.shape[i] - 1) * l.stride[i];
  }
  return last + 1;
}

// The layouts of c, with x stored as T and y as Y.
template <class T, class Y>
std::vector<Y> run_stored(int threads, int operation, const Case& c, const std::vector<T>& x) {
  Device device(threads);
  const Memory<T> in(x);
  Memory<Y> y(static_cast<size_t>(extent(c.y)), Y(7.0f));
  gatun_reduction_desc desc{sizeof desc, operation, c.x, c.y};
  desc.x.dtype = kDtype<T>;
  desc.y.dtype = kDtype<Y>;
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_reduction_workspace(&desc, &bytes, e); });
  Workspace workspace(bytes);
  run([&](gatun_error* e) { return gatun_reduction(device.stream(), &desc, in.data(), y.data(), bytes ? workspace.data() : nullptr, bytes, e); });
  return y.values();
}

std::vector<float> run_kernel(int threads, int operation, const Case& c, const std::vector<float>& x) {
  return run_stored<float, float>(threads, operation, c, x);
}

std::vector<Case> cases() {
  const int32_t f = GATUN_F32;
  return {
      {layout(f, {1}), layout(f, {1})},
      {layout(f, {5}), layout(f, {1})},
      {layout(f, {50000}), layout(f, {1})},
      {layout(f, {17, 33}), layout(f, {17, 1})},
      {layout(f, {17, 33}), layout(f, {33})},
      {layout(f, {17, 33}), layout(f, {1})},
      {layout(f, {3000, 70}), layout(f, {70})},          // columns in several chunks
      {layout(f, {6, 900}), layout(f, {6, 1}, {3, 1})},  // strided y
      {layout(f, {3, 20000}), layout(f, {3, 1})},        // rows in several chunks
      {layout(f, {40, 6}, {1, 40}), layout(f, {6})},     // transposed: memory runs along the reduced dimension
      {layout(f, {40, 6}, {1, 40}), layout(f, {40, 1})},
      {layout(f, {40, 6}, {24, 2}), layout(f, {40, 1})},  // gaps
      {layout(f, {40, 600}, {1200, 2}), layout(f, {600})},
      {layout(f, {5, 7, 3}, {3, 0, 1}), layout(f, {5, 1, 3})},  // repeats
      {layout(f, {2, 3, 4, 5, 6}), layout(f, {2, 1, 4, 1, 6})},
      {layout(f, {2, 3, 4, 5, 6}), layout(f, {1, 3, 1, 5, 1})},
      {layout(f, {2, 3, 4, 5, 6}), layout(f, {5, 1})},
      {layout(f, {4, 6}), layout(f, {4, 6})},  // nothing reduced
      {layout(f, {9, 40}, {44, 1}), layout(f, {9, 1})},  // packs of rows with gaps
      {layout(f, {5, 4004}), layout(f, {5, 1})},
      {layout(f, {3, 50, 40}), layout(f, {3, 1, 40})},
      {layout(f, {3, 50, 40}, {2640, 44, 1}), layout(f, {3, 1, 40})},
      {layout(f, {200, 12}), layout(f, {12})},
  };
}

}  // namespace

TEST_CASE("reduction matches the double reference for every operation and layout") {
  for (const int operation : {GATUN_REDUCTION_SUM, GATUN_REDUCTION_MEAN, GATUN_REDUCTION_MAXIMUM}) {
    uint32_t seed = 0;
    for (const Case& c : cases()) {
      CAPTURE(operation);
      CAPTURE(seed);
      std::vector<float> x = normal(extent(c.x), ++seed);
      for (float& value : x) value += 0.5f;
      std::vector<float> naive(static_cast<size_t>(extent(c.y)), 7.0f);
      std::vector<double> truth(naive.begin(), naive.end());
      reduction_reference<float>(operation, c.x, x.data(), c.y, naive.data());
      reduction_reference<double>(operation, c.x, widen(x).data(), c.y, truth.data());
      const std::vector<float> result = run_kernel(2, operation, c, x);
      check_close(result, truth, naive);
      for (const int threads : {1, 3}) CHECK(same_bits(result, run_kernel(threads, operation, c, x)));
    }
  }
}

#if defined(GATUN_CUDA)
TEST_CASE_TEMPLATE("reduction of half types sums in float and rounds the result once", T, Bfloat16, Half) {
  for (const int operation : {GATUN_REDUCTION_SUM, GATUN_REDUCTION_MEAN, GATUN_REDUCTION_MAXIMUM}) {
    uint32_t seed = 0;
    for (const Case& c : cases()) {
      CAPTURE(operation);
      CAPTURE(seed);
      std::vector<float> values = normal(extent(c.x), ++seed);
      for (float& value : values) value += 0.5f;
      const std::vector<T> x = stored<T>(values);
      std::vector<float> naive(static_cast<size_t>(extent(c.y)), 7.0f);
      std::vector<double> truth(naive.begin(), naive.end());
      reduction_reference<float>(operation, c.x, loaded(x).data(), c.y, naive.data());
      reduction_reference<double>(operation, c.x, widen(loaded(x)).data(), c.y, truth.data());
      check_close(run_stored<T, float>(1, operation, c, x), truth, naive);
      check_stored(run_stored<T, T>(1, operation, c, x), truth, naive);
    }
  }
}
#endif

TEST_CASE_TEMPLATE("reduction counts what is not finite in every type", T, GATUN_STORAGES) {
  for (const int64_t n : {3, 4099}) {
    std::vector<float> values = normal(n, 3);
    values[0] = kNan;
    values[static_cast<size_t>(n) - 1] = -kInfinity;
    Device device;
    const Memory<T> in(stored<T>(values));
    Memory<int32_t> found(1, -1);
    const gatun_reduction_count_nonfinite_desc desc{sizeof desc, 0, layout(kDtype<T>, {n}), layout(GATUN_I32, {1})};
    run([&](gatun_error* e) { return gatun_reduction_count_nonfinite(device.stream(), &desc, in.data(), found.data(), e); });
    CHECK(found.values()[0] == 2);
  }
}

TEST_CASE("reduction of a million equal numbers does not drift as a running sum does") {
  const Case c{layout(GATUN_F32, {1000000}), layout(GATUN_F32, {1})};
  const float sum = run_kernel(2, GATUN_REDUCTION_SUM, c, std::vector<float>(1000000, 0.1f))[0];
  CHECK(std::abs(sum - 1e6 * static_cast<double>(0.1f)) < 1.0);  // a running sum in float is off by 958
}

TEST_CASE("reduction over nothing, and of NaN") {
  const Case rows{layout(GATUN_F32, {3, 0}), layout(GATUN_F32, {3, 1})}, none{layout(GATUN_F32, {0, 3}), layout(GATUN_F32, {3})};
  for (const Case& c : {rows, none}) {
    for (const float v : run_kernel(2, GATUN_REDUCTION_SUM, c, {})) CHECK(v == 0.0f);
    for (const float v : run_kernel(2, GATUN_REDUCTION_MEAN, c, {})) CHECK(std::isnan(v));
    for (const float v : run_kernel(2, GATUN_REDUCTION_MAXIMUM, c, {})) CHECK(v == -kInfinity);
  }
  CHECK(run_kernel(2, GATUN_REDUCTION_SUM, {layout(GATUN_F32, {0, 3}), layout(GATUN_F32, {0, 1})}, {}).empty());
  for (size_t bad = 0; bad < 40; bad += 3) {
    std::vector<float> x = normal(40, 4);
    x[bad] = kNan;
    CHECK(std::isnan(run_kernel(1, GATUN_REDUCTION_MAXIMUM, {layout(GATUN_F32, {40}), layout(GATUN_F32, {1})}, x)[0]));
    CHECK(std::isnan(run_kernel(1, GATUN_REDUCTION_MAXIMUM, {layout(GATUN_F32, {20, 2}), layout(GATUN_F32, {2})}, x)[bad % 2]));
    CHECK(std::isfinite(run_kernel(1, GATUN_REDUCTION_MAXIMUM, {layout(GATUN_F32, {20, 2}), layout(GATUN_F32, {2})}, x)[1 - bad % 2]));
  }
}

TEST_CASE("reduction counts what is not finite") {
  std::vector<float> x = normal(50001, 3);
  const auto count = [&](const gatun_layout& l, int threads) {
    Device device(threads);
    const Memory<float> in(x);
    Memory<int32_t> found(1, -1);
    const gatun_reduction_count_nonfinite_desc desc{sizeof desc, 0, l, layout(GATUN_I32, {1})};
    run([&](gatun_error* e) { return gatun_reduction_count_nonfinite(device.stream(), &desc, in.data(), found.data(), e); });
    return found.values()[0];
  };
  const gatun_layout all = layout(GATUN_F32, {50001});
  CHECK(count(all, 2) == 0);
  CHECK(count(layout(GATUN_F32, {0}), 2) == 0);
  x[0] = kNan;
  x[20000] = kInfinity;
  x[50000] = -kInfinity;
  x[49999] = 3e38f;
  for (const int threads : {1, 2, 3}) CHECK(count(all, threads) == 3);
  CHECK(count(layout(GATUN_F32, {100, 500}, {500, 1}), 2) == 2);
  CHECK(count(layout(GATUN_F32, {25001}, {2}), 2) == 3);
  CHECK(count(layout(GATUN_F32, {16667}, {3}), 2) == 1);  // 20000 and 50000 are no multiples of 3
}

TEST_CASE("reduction refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(100000);
  const auto attempt = [&](int operation, const gatun_layout& x, const gatun_layout& y, const char* part) {
    const gatun_reduction_desc desc{sizeof desc, operation, x, y};
    refused(part, [&](gatun_error* e) { return gatun_reduction(device.stream(), &desc, buffer.data(), buffer.data(), nullptr, 0, e); });
  };
  const gatun_layout matrix = layout(GATUN_F32, {4, 4});
  attempt(0, matrix, matrix, "unknown operation 0");
  attempt(GATUN_REDUCTION_SUM, layout(GATUN_I32, {4}), layout(GATUN_F32, {1}), "x is i32");
  attempt(GATUN_REDUCTION_SUM, matrix, layout(GATUN_I32, {4}), "y is i32, expected f32");
  attempt(GATUN_REDUCTION_SUM, matrix, layout(GATUN_F32, {3}), "x does not reduce to y");
  attempt(GATUN_REDUCTION_SUM, layout(GATUN_F32, {4}), matrix, "x does not reduce to y");
  attempt(GATUN_REDUCTION_SUM, matrix, layout(GATUN_F32, {4, 4}, {0, 1}), "elements overlap");
  attempt(GATUN_REDUCTION_SUM, layout(GATUN_F32, {100000}), layout(GATUN_F32, {1}), "the workspace has 0 bytes");
}

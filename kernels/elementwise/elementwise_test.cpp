// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise_reference.h"

#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kAlpha = 0.7f, kBeta = -0.3f;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr gatun_layout kAbsent{};

bool binary(int operation) { return operation >= GATUN_ELEMENTWISE_ADD; }

int64_t extent(const gatun_layout& l) {
  int64_t last = 0;
  for (int i = 0; i < l.rank; ++i) {
    if (l.shape[i] == 0) return 0;
    last += (l.shape[i] - 1) * l.stride[i];
  }
  return last + 1;
}

int64_t count(const gatun_layout& l) {
  int64_t n = 1;
  for (int i = 0; i < l.rank; ++i) n *= l.shape[i];
  return n;
}

gatun_elementwise_desc describe(int operation, const gatun_layout& x, const gatun_layout& z, const gatun_layout& y) {
  return {sizeof(gatun_elementwise_desc), operation, kAlpha, kBeta, operation == GATUN_ELEMENTWISE_FILL ? kAbsent : x,
          binary(operation) ? z : kAbsent, y};
}

// Positive and away from zero where the function needs it.
std::vector<float> inputs(int64_t n, uint32_t seed) {
  std::vector<float> values = normal(n, seed, 3.0f);
  for (float& v : values) v = std::abs(v) + 0.01f;
  return values;
}

std::vector<float> run_kernel(int threads, int operation, const gatun_layout& x, const gatun_layout& z, const gatun_layout& y,
                              const std::vector<float>& x_data, const std::vector<float>& z_data, std::vector<float> y_data) {
  Device device(threads);
  const gatun_elementwise_desc desc = describe(operation, x, z, y);
  run([&](gatun_error* e) {
    return gatun_elementwise(device.stream(), &desc, operation == GATUN_ELEMENTWISE_FILL ? nullptr : x_data.data(),
                             binary(operation) ? z_data.data() : nullptr, y_data.data(), e);
  });
  return y_data;
}

struct Case {
  gatun_layout x, z, y;
};

std::vector<Case> cases() {
  const int32_t f = GATUN_F32;
  return {
      {layout(f, {1}), layout(f, {1}), layout(f, {1})},
      {layout(f, {7, 5}), layout(f, {7, 5}), layout(f, {7, 5})},
      {layout(f, {20000}), layout(f, {20000}), layout(f, {20000})},
      {layout(f, {9, 33}), layout(f, {33}), layout(f, {9, 33})},             // a bias
      {layout(f, {9, 1}), layout(f, {9, 33}), layout(f, {9, 33})},           // a column
      {layout(f, {9, 1}), layout(f, {1}), layout(f, {9, 33})},               // both repeat along the rows
      {layout(f, {17, 40}, {1, 17}), layout(f, {17, 40}), layout(f, {17, 40})},  // transposed
      {layout(f, {17, 600}), layout(f, {17, 600}, {1, 17}), layout(f, {17, 600}, {1200, 2})},  // every second column
      {layout(f, {2, 3, 4, 5, 6}), layout(f, {3, 1, 5, 1}), layout(f, {2, 3, 4, 5, 6}, {720, 6, 18, 72, 1})},
      {layout(f, {4, 6}, {0, 1}), layout(f, {4, 6}, {0, 0}), layout(f, {4, 6}, {7, 1})},
      {layout(f, {300, 3}), layout(f, {3}), layout(f, {300, 3})},
  };
}

}  // namespace

TEST_CASE("elementwise matches the double reference for every operation and layout") {
  for (int operation = GATUN_ELEMENTWISE_COPY; operation <= GATUN_ELEMENTWISE_MINIMUM; ++operation) {
    CAPTURE(operation);
    for (const Case& c : cases()) {
      const std::vector<float> x = inputs(extent(c.x), 1), z = inputs(extent(c.z), 2), y = inputs(extent(c.y), 3);
      const std::vector<float> result = run_kernel(2, operation, c.x, c.z, c.y, x, z, y);
      std::vector<double> truth = widen(y);  // gaps between elements must stay as they were
      std::vector<float> naive = y;
      for (int64_t n = 0; n < count(c.y); ++n) {
        const auto at = [&](const gatun_layout& l) { return static_cast<size_t>(elementwise_offset(c.y, l, n)); };
        const float a = x[at(c.x)], b = z[at(c.z)];
        truth[at(c.y)] = elementwise_reference<double>(operation, kAlpha, kBeta, a, b, y[at(c.y)]);
        naive[at(c.y)] = elementwise_reference<float>(operation, kAlpha, kBeta, a, b, y[at(c.y)]);
      }
      check_close(result, truth, naive);
    }
  }
}

TEST_CASE("elementwise exp and log are within 2 ulp over the whole range") {
  std::vector<float> x;
  for (double v = 1e-44; v < 1e38; v *= 1.0037) x.push_back(static_cast<float>(v));
  for (float v = 0.9f; v < 1.1f; v += 1e-4f) x.push_back(v);
  const gatun_layout line = layout(GATUN_F32, {static_cast<int64_t>(x.size())});
  const std::vector<float> logs = run_kernel(2, GATUN_ELEMENTWISE_LOG, line, kAbsent, line, x, {}, x);
  for (size_t i = 0; i < x.size(); ++i) {
    const double truth = std::log(static_cast<double>(x[i]));
    CHECK(std::abs(logs[i] - truth) <= 2 * std::abs(truth) * 0x1p-23);
  }
  std::vector<float> y;
  for (float v = -87.3f; v < 88.7f; v += 0.0137f) y.push_back(v);
  const gatun_layout range = layout(GATUN_F32, {static_cast<int64_t>(y.size())});
  const std::vector<float> exps = run_kernel(2, GATUN_ELEMENTWISE_EXP, range, kAbsent, range, y, {}, y);
  for (size_t i = 0; i < y.size(); ++i) {
    const double truth = std::exp(static_cast<double>(y[i]));
    CHECK(std::abs(exps[i] - truth) <= 2 * truth * 0x1p-23);
  }
}

TEST_CASE("elementwise special values: NaN reaches the output, limits of exp and log") {
  const std::vector<float> x = {kNan, 1.0f, -1.0f, 0.0f, kInfinity, -kInfinity, kNan};
  const std::vector<float> z = {1.0f, kNan, 2.0f, 0.0f, 1.0f, 1.0f, kNan};
  const gatun_layout line = layout(GATUN_F32, {7});
  const auto compute = [&](int operation) { return run_kernel(1, operation, line, line, line, x, z, z); };
  for (const int operation : {GATUN_ELEMENTWISE_MAXIMUM, GATUN_ELEMENTWISE_MINIMUM}) {
    const std::vector<float> y = compute(operation);
    CHECK((std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[6])));
    CHECK(y[2] == (operation == GATUN_ELEMENTWISE_MAXIMUM ? 2.0f : -1.0f));
    CHECK(y[4] == (operation == GATUN_ELEMENTWISE_MAXIMUM ? kInfinity : 1.0f));
  }
  const std::vector<float> logs = compute(GATUN_ELEMENTWISE_LOG);
  CHECK((std::isnan(logs[0]) && logs[1] == 0.0f && std::isnan(logs[2]) && logs[3] == -kInfinity && logs[4] == kInfinity && std::isnan(logs[5])));
  const std::vector<float> exps = compute(GATUN_ELEMENTWISE_EXP);
  CHECK((std::isnan(exps[0]) && exps[3] == 1.0f && exps[4] == kInfinity && exps[5] == 0.0f));
  CHECK(std::isnan(compute(GATUN_ELEMENTWISE_SQRT)[2]));
}

TEST_CASE("elementwise converts u8, i32 and i64 to f32 and copies them as they are") {
  Device device;
  const std::vector<uint8_t> bytes = {0, 1, 128, 255, 7, 9};
  const std::vector<int32_t> ints = {-1, 0, 1 << 20, 5, 6, 7};
  const std::vector<int64_t> longs = {-1, 0, 1LL << 40, 5, 6, 7};
  const auto check = [&](int32_t dtype, const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    std::vector<float> y(6);
    gatun_elementwise_desc desc = describe(GATUN_ELEMENTWISE_AFFINE, layout(dtype, {2, 3}, {1, 2}), kAbsent, layout(GATUN_F32, {2, 3}));
    desc.alpha = 2.0f;
    desc.beta = 1.0f;
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, values.data(), nullptr, y.data(), e); });
    for (size_t i = 0; i < 6; ++i) CHECK(y[i] == 2.0f * static_cast<float>(values[i % 3 * 2 + i / 3]) + 1.0f);
    std::vector<T> copy(6);
    const gatun_elementwise_desc same = describe(GATUN_ELEMENTWISE_COPY, desc.x, kAbsent, layout(dtype, {2, 3}));
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &same, values.data(), nullptr, copy.data(), e); });
    for (size_t i = 0; i < 6; ++i) CHECK(copy[i] == values[i % 3 * 2 + i / 3]);
  };
  check(GATUN_U8, bytes);
  check(GATUN_I32, ints);
  check(GATUN_I64, longs);
}

TEST_CASE("elementwise gives the same bits for any number of threads, also in place") {
  const gatun_layout matrix = layout(GATUN_F32, {501, 77}), column = layout(GATUN_F32, {501, 1});
  const std::vector<float> x = inputs(501 * 77, 5), z = inputs(501, 6);
  for (const int operation : {GATUN_ELEMENTWISE_EXP, GATUN_ELEMENTWISE_DIVIDE, GATUN_ELEMENTWISE_ACCUMULATE}) {
    const std::vector<float> one = run_kernel(1, operation, matrix, column, matrix, x, z, x);
    for (const int threads : {2, 3}) CHECK(same_bits(one, run_kernel(threads, operation, matrix, column, matrix, x, z, x)));
    std::vector<float> in_place = x;
    Device device;
    const gatun_elementwise_desc desc = describe(operation, matrix, column, matrix);
    run([&](gatun_error* e) {
      return gatun_elementwise(device.stream(), &desc, in_place.data(), binary(operation) ? z.data() : nullptr, in_place.data(), e);
    });
    CHECK(same_bits(one, in_place));
  }
}

TEST_CASE("elementwise accepts empty operands") {
  Device device;
  for (const gatun_layout& y : {layout(GATUN_F32, {0}), layout(GATUN_F32, {0, 4}), layout(GATUN_F32, {3, 0})}) {
    const gatun_elementwise_desc desc = describe(GATUN_ELEMENTWISE_ADD, y, layout(GATUN_F32, {1}), y);
    const float one = 1.0f;
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, nullptr, &one, nullptr, e); });
    const gatun_elementwise_desc copy = describe(GATUN_ELEMENTWISE_COPY, y, kAbsent, y);
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &copy, nullptr, nullptr, nullptr, e); });
  }
}

TEST_CASE("elementwise refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4});
  const auto attempt = [&](const gatun_elementwise_desc& desc, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_elementwise(device.stream(), &desc, desc.x.dtype ? buffer.data() : nullptr, desc.z.dtype ? buffer.data() : nullptr,
                               buffer.data() + 32, e);
    });
  };
  gatun_elementwise_desc desc = describe(99, matrix, kAbsent, matrix);
  desc.z = kAbsent;
  attempt(desc, "unknown operation 99");
  attempt(describe(GATUN_ELEMENTWISE_ADD, layout(GATUN_F32, {3, 4}), matrix, matrix), "x does not broadcast to y");
  attempt(describe(GATUN_ELEMENTWISE_ADD, matrix, layout(GATUN_F32, {1, 1, 4}), matrix), "z does not broadcast to y");
  attempt(describe(GATUN_ELEMENTWISE_ADD, matrix, kAbsent, matrix), "z is none, expected f32");
  attempt(describe(GATUN_ELEMENTWISE_ADD, layout(GATUN_I32, {4}), matrix, matrix), "x is i32");
  attempt(describe(GATUN_ELEMENTWISE_EXP, matrix, kAbsent, layout(GATUN_F32, {4, 4}, {0, 1})), "elements overlap");
  attempt(describe(GATUN_ELEMENTWISE_EXP, matrix, kAbsent, layout(GATUN_I32, {4, 4})), "y is i32, expected f32");
  desc = describe(GATUN_ELEMENTWISE_EXP, matrix, kAbsent, matrix);
  refused("x is NULL", [&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, nullptr, nullptr, buffer.data(), e); });
  desc.z = matrix;
  attempt(desc, "takes no z");
  desc = describe(GATUN_ELEMENTWISE_FILL, kAbsent, kAbsent, matrix);
  desc.x = matrix;
  attempt(desc, "fill takes no x");
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
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

// X, Z and Y are the storage types of the operands.
template <class X, class Z, class Y>
std::vector<Y> run_stored(int threads, int operation, const gatun_layout& x, const gatun_layout& z, const gatun_layout& y,
                          const std::vector<X>& x_data, const std::vector<Z>& z_data, const std::vector<Y>& y_data) {
  Device device(threads);
  const gatun_elementwise_desc desc = describe(operation, x, z, y);
  const Memory<X> x_memory(x_data);
  const Memory<Z> z_memory(z_data);
  Memory<Y> y_memory(y_data);
  run([&](gatun_error* e) {
    return gatun_elementwise(device.stream(), &desc, operation == GATUN_ELEMENTWISE_FILL ? nullptr : x_memory.data(),
                             binary(operation) ? z_memory.data() : nullptr, y_memory.data(), e);
  });
  return y_memory.values();
}

std::vector<float> run_kernel(int threads, int operation, const gatun_layout& x, const gatun_layout& z, const gatun_layout& y,
                              const std::vector<float>& x_data, const std::vector<float>& z_data, const std::vector<float>& y_data) {
  return run_stored<float, float, float>(threads, operation, x, z, y, x_data, z_data, y_data);
}

struct Case {
  gatun_layout x, z, y;
};

// A copy for the layouts that a copy has ways of its own for, else an addition.
int operation_of(const Case& c) { return c.z.rank == 1 && c.y.rank == 3 ? GATUN_ELEMENTWISE_COPY : GATUN_ELEMENTWISE_ADD; }

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
      {layout(f, {5, 24}), layout(f, {5, 1}), layout(f, {5, 24}, {40, 1})},  // whole accesses with gaps, one value a row
      {layout(f, {3, 70, 40}, {2800, 1, 70}), layout(f, {40}), layout(f, {3, 70, 40})},  // tiles of a transposition
      {layout(f, {5, 24}, {41, 1}), layout(f, {24}), layout(f, {5, 24})},  // rows of whole accesses that do not begin at one
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

// The layout in another dtype.
static gatun_layout as(int32_t dtype, gatun_layout l) {
  l.dtype = dtype;
  return l;
}

template <class X, class Z, class Y>
static void check_storage_types(int operation, const Case& c) {
  CAPTURE(operation);
  const auto x = rounded<X>(inputs(extent(c.x), 1)), z = rounded<Z>(inputs(extent(c.z), 2)), y = rounded<Y>(inputs(extent(c.y), 3));
  const auto result = run_stored<X, Z, Y>(2, operation, as(kDtype<X>, c.x), as(kDtype<Z>, c.z), as(kDtype<Y>, c.y), stored<X>(x), stored<Z>(z), stored<Y>(y));
  std::vector<double> truth = widen(y);
  std::vector<float> naive = y;
  for (int64_t n = 0; n < count(c.y); ++n) {
    const auto at = [&](const gatun_layout& l) { return static_cast<size_t>(elementwise_offset(c.y, l, n)); };
    truth[at(c.y)] = elementwise_reference<double>(operation, kAlpha, kBeta, x[at(c.x)], z[at(c.z)], y[at(c.y)]);
    naive[at(c.y)] = elementwise_reference<float>(operation, kAlpha, kBeta, x[at(c.x)], z[at(c.z)], y[at(c.y)]);
  }
  // exp would leave the range of f16.
  if (operation == GATUN_ELEMENTWISE_EXP && kDtype<Y> == GATUN_F16) {
    for (double& value : truth) value = std::min(value, 65504.0);
    for (float& value : naive) value = std::min(value, 65504.0f);
    std::vector<Y> bounded = result;
    for (Y& value : bounded) value = Y(std::min(static_cast<float>(value), 65504.0f));
    return check_stored(bounded, truth, naive);
  }
  check_stored(result, truth, naive);
}

TEST_CASE_TEMPLATE("elementwise in every storage type, for every operation and layout", T, GATUN_STORAGES) {
  if (kDtype<T> == GATUN_F32) return;  // the case before
  const std::vector<Case> all = cases();
  for (int operation = GATUN_ELEMENTWISE_COPY; operation <= GATUN_ELEMENTWISE_MINIMUM; ++operation) {
    check_storage_types<T, T, T>(operation, all[1]);
    check_storage_types<T, T, T>(operation, all[3 + static_cast<size_t>(operation) % 10]);
    check_storage_types<T, float, T>(operation, all[11]);
    check_storage_types<T, T, float>(operation, all[static_cast<size_t>(operation) % 2 == 0 ? 11 : 8]);
    check_storage_types<float, T, T>(operation, all[operation % 2 == 0 ? 0 : 11]);
  }
  for (const Case& c : all) check_storage_types<T, T, T>(operation_of(c), c);
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

// Every float about both ends of the range of exp: 128 ln 2, where the largest float is passed, and -126 ln 2, where subnormals would begin.
TEST_CASE("elementwise exp at its limits") {
  for (const float limit : {88.7228317f, -87.3365402f}) {
    std::vector<float> x{limit};
    for (int i = 0; i < 40; ++i) x.push_back(std::nextafter(x.back(), kInfinity));
    for (float below = limit; x.size() < 81;) x.push_back(below = std::nextafter(below, -kInfinity));
    const gatun_layout line = layout(GATUN_F32, {static_cast<int64_t>(x.size())});
    const std::vector<float> y = run_kernel(1, GATUN_ELEMENTWISE_EXP, line, kAbsent, line, x, {}, x);
    for (size_t i = 0; i < x.size(); ++i) {
      CAPTURE(x[i]);
      const double truth = std::exp(static_cast<double>(x[i]));
      if (x[i] > 0 && x[i] > limit) CHECK(y[i] == kInfinity);
      else if (x[i] < 0 && truth < 0x1p-126) CHECK(y[i] == 0.0f);
      else CHECK(std::abs(y[i] - truth) <= 2 * truth * 0x1p-23);
    }
  }
}

TEST_CASE("elementwise converts u8, i32 and i64 to f32 and copies them as they are") {
  Device device;
  const std::vector<uint8_t> bytes = {0, 1, 128, 255, 7, 9};
  const std::vector<int32_t> ints = {-1, 0, 1 << 20, 5, 6, 7};
  const std::vector<int64_t> longs = {-1, 0, 1LL << 40, 5, 6, 7};
  const auto check = [&](int32_t dtype, const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    const Memory<T> x(values);
    Memory<float> y_memory(6, 0.0f);
    gatun_elementwise_desc desc = describe(GATUN_ELEMENTWISE_AFFINE, layout(dtype, {2, 3}, {1, 2}), kAbsent, layout(GATUN_F32, {2, 3}));
    desc.alpha = 2.0f;
    desc.beta = 1.0f;
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, x.data(), nullptr, y_memory.data(), e); });
    const std::vector<float> y = y_memory.values();
    for (size_t i = 0; i < 6; ++i) CHECK(y[i] == 2.0f * static_cast<float>(values[i % 3 * 2 + i / 3]) + 1.0f);
    Memory<T> copied(6, T{});
    const gatun_elementwise_desc same = describe(GATUN_ELEMENTWISE_COPY, desc.x, kAbsent, layout(dtype, {2, 3}));
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &same, x.data(), nullptr, copied.data(), e); });
    const std::vector<T> copy = copied.values();
    for (size_t i = 0; i < 6; ++i) CHECK(copy[i] == values[i % 3 * 2 + i / 3]);
  };
#if defined(GATUN_CUDA)
  // Copies in units of every size, and tiles of every element size.
  const auto check_copy = [&](int32_t dtype, auto element, const gatun_layout& from, const gatun_layout& to) {
    using T = decltype(element);
    std::vector<T> values(static_cast<size_t>(extent(from)));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i * 7 + 1);
    const Memory<T> x(values);
    Memory<T> y(static_cast<size_t>(extent(to)), T{99});
    const gatun_elementwise_desc desc = describe(GATUN_ELEMENTWISE_COPY, as(dtype, from), kAbsent, as(dtype, to));
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, x.data(), nullptr, y.data(), e); });
    std::vector<T> expected(static_cast<size_t>(extent(to)), T{99});
    for (int64_t n = 0; n < count(to); ++n) {
      expected[static_cast<size_t>(elementwise_offset(to, to, n))] = values[static_cast<size_t>(elementwise_offset(to, from, n))];
    }
    CHECK((y.values() == expected));
  };
  for (const auto& [from, to] : std::vector<std::pair<gatun_layout, gatun_layout>>{
           {layout(0, {37}), layout(0, {37})},
           {layout(0, {5, 48}, {64, 1}), layout(0, {5, 48})},
           {layout(0, {5, 6}, {8, 1}), layout(0, {5, 6})},
           {layout(0, {3, 9, 50}, {450, 1, 9}), layout(0, {3, 9, 50}, {510, 55, 1})},
           {layout(0, {33, 70}, {1, 33}), layout(0, {33, 70})},
           {layout(0, {70, 3, 40}, {1, 2800, 70}), layout(0, {70, 3, 40})}}) {
    check_copy(GATUN_U8, uint8_t{}, from, to);
    check_copy(GATUN_BF16, uint16_t{}, from, to);
    check_copy(GATUN_F32, uint32_t{}, from, to);
    check_copy(GATUN_I64, uint64_t{}, from, to);
  }
#endif
  check(GATUN_U8, bytes);
  check(GATUN_I32, ints);
  check(GATUN_I64, longs);
}

TEST_CASE("elementwise gives the same bits for any number of threads, also in place") {
  const gatun_layout matrix = layout(GATUN_F32, {501, 77}), column = layout(GATUN_F32, {501, 1});
  const std::vector<float> x = inputs(501 * 77, 5), z = inputs(501, 6);
  const Memory<float> z_memory(z);
  for (const int operation : {GATUN_ELEMENTWISE_EXP, GATUN_ELEMENTWISE_DIVIDE, GATUN_ELEMENTWISE_ACCUMULATE}) {
    const std::vector<float> one = run_kernel(1, operation, matrix, column, matrix, x, z, x);
    for (const int threads : {2, 3}) CHECK(same_bits(one, run_kernel(threads, operation, matrix, column, matrix, x, z, x)));
    Memory<float> in_place(x);
    Device device;
    const gatun_elementwise_desc desc = describe(operation, matrix, column, matrix);
    run([&](gatun_error* e) {
      return gatun_elementwise(device.stream(), &desc, in_place.data(), binary(operation) ? z_memory.data() : nullptr, in_place.data(), e);
    });
    CHECK(same_bits(one, in_place.values()));
  }
}

TEST_CASE("elementwise accepts empty operands") {
  Device device;
  for (const gatun_layout& y : {layout(GATUN_F32, {0}), layout(GATUN_F32, {0, 4}), layout(GATUN_F32, {3, 0})}) {
    const gatun_elementwise_desc desc = describe(GATUN_ELEMENTWISE_ADD, y, layout(GATUN_F32, {1}), y);
    const Memory<float> one(1, 1.0f);
    run([&](gatun_error* e) { return gatun_elementwise(device.stream(), &desc, nullptr, one.data(), nullptr, e); });
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

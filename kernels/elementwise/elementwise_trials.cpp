// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise/elementwise_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kAlpha = 0.7f, kBeta = -0.3f;
constexpr gatun_layout kAbsent{};
const char* const kNames[] = {"copy", "fill",   "affine",     "accumulate", "negate",   "absolute", "exp",    "log",    "sqrt",
                              "square", "reciprocal", "add", "subtract",   "multiply", "divide",   "maximum", "minimum"};

bool binary(int operation) { return operation >= GATUN_ELEMENTWISE_ADD; }

gatun_elementwise_desc describe(int operation, const gatun_layout& x, const gatun_layout& z, const gatun_layout& y) {
  return {sizeof(gatun_elementwise_desc), operation, kAlpha, kBeta, operation == GATUN_ELEMENTWISE_FILL ? kAbsent : x, binary(operation) ? z : kAbsent, y};
}

// Positive, away from zero, and small enough for exp in f16.
std::vector<float> inputs(Selftest& s, int64_t count) {
  std::vector<float> values = s.normal(count);
  for (float& v : values) v = std::min(std::abs(v), 4.0f) + 0.1f;
  return values;
}

template <class T>
void compare(Selftest& s, int operation, int64_t rows, int64_t columns, int kind) {
  constexpr int32_t type = testing::kDtype<T>;
  // As it lies, transposed, or one row for all; z is a column, as it lies, or one row.
  const gatun_layout whole = layout(type, {rows, columns});
  const gatun_layout x_layout = kind == 1 ? layout(type, {rows, columns}, {1, rows}) : whole;
  const gatun_layout z_layout = kind == 0 ? layout(type, {rows, 1}) : kind == 1 ? whole : layout(type, {columns});
  const auto x = testing::rounded<T>(inputs(s, rows * columns)), z = testing::rounded<T>(inputs(s, rows * columns)), y = testing::rounded<T>(inputs(s, rows * columns));
  std::vector<double> truth(x.size());
  std::vector<float> naive(x.size());
  for (size_t n = 0; n < x.size(); ++n) {
    const float a = x[static_cast<size_t>(elementwise_offset(whole, x_layout, static_cast<int64_t>(n)))];
    const float b = z[static_cast<size_t>(elementwise_offset(whole, z_layout, static_cast<int64_t>(n)))];
    truth[n] = elementwise_reference<double>(operation, kAlpha, kBeta, a, b, y[n]);
    naive[n] = elementwise_reference<float>(operation, kAlpha, kBeta, a, b, y[n]);
  }
  const Buffer<T> in(s.device(), testing::stored<T>(x)), second(s.device(), testing::stored<T>(z));
  Buffer<T> out(s.device(), testing::stored<T>(y));
  const auto desc = describe(operation, x_layout, z_layout, whole);
  call([&](gatun_error* e) {
    return gatun_elementwise(s.stream(), &desc, operation == GATUN_ELEMENTWISE_FILL ? nullptr : in.data(), binary(operation) ? second.data() : nullptr,
                             out.data(), e);
  });
  s.check(kNames[operation - 1], dtype<T>(), ShapeText{rows, columns} + (kind == 0 ? "" : kind == 1 ? " transposed" : " row"), out.values(), truth, naive);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for (int operation = GATUN_ELEMENTWISE_COPY; operation <= GATUN_ELEMENTWISE_MINIMUM; ++operation) {
      const int64_t rows = s.extent(1, 200), columns = s.extent(1, 500);
      for_each_storage(s.device(), [&](auto element) { compare<decltype(element)>(s, operation, rows, columns, (round + operation) % 3); });
    }
  }
}

template <class X, class Y>
void time(Bench& b, const std::string& direction, int operation, const gatun_layout& x, const gatun_layout& z, const gatun_layout& y, const ShapeText& shape) {
  const int64_t n = y.shape[0] * y.shape[1], z_count = binary(operation) ? z.shape[0] * (z.rank > 1 ? z.shape[1] : 1) : 0;
  const bool reads_y = operation == GATUN_ELEMENTWISE_ACCUMULATE;
  const double count = static_cast<double>(n);
  const Cost cost{.flops = count, .bytes = count * (sizeof(X) + sizeof(Y) * (reads_y ? 2 : 1)) + static_cast<double>(z_count) * sizeof(X)};
  b.row(direction, dtype<Y>(), shape, cost, [&](Run& run) {
    Rotating<X> in = run.normal<X>(n), second = run.normal<X>(std::max<int64_t>(z_count, 1));
    Rotating<Y> out = run.normal<Y>(n);
    const auto desc = describe(operation, x, z, y);
    run.time([&](int i, gatun_error* e) { return gatun_elementwise(run.stream(), &desc, in[i], binary(operation) ? second[i] : nullptr, out[i], e); });
  });
}

void bench(Bench& b) {
  const int64_t rows = b.emulated() ? 20 : b.device().cpu() ? 6304 : 50432, columns = b.emulated() ? 64 : 768;
  for_each_storage(b.device(), [&](auto element) {
    using T = decltype(element);
    constexpr int32_t type = testing::kDtype<T>;
    const gatun_layout whole = layout(type, {rows, columns});
    time<T, T>(b, "copy", GATUN_ELEMENTWISE_COPY, whole, kAbsent, whole, {rows, columns});
    time<T, T>(b, "add", GATUN_ELEMENTWISE_ADD, whole, whole, whole, {rows, columns});
    time<T, T>(b, "add", GATUN_ELEMENTWISE_ADD, whole, layout(type, {columns}), whole, ShapeText{rows, columns} + " bias");
    time<T, T>(b, "accumulate", GATUN_ELEMENTWISE_ACCUMULATE, whole, kAbsent, whole, {rows, columns});
    time<T, T>(b, "copy", GATUN_ELEMENTWISE_COPY, layout(type, {rows, columns}, {1, rows}), kAbsent, whole, ShapeText{rows, columns} + " transposed");
    if constexpr (!std::is_same_v<T, float>) {
      time<float, T>(b, "copy, from f32", GATUN_ELEMENTWISE_COPY, layout(GATUN_F32, {rows, columns}), kAbsent, whole, {rows, columns});
    }
  });
}

GATUN_TRIALS(elementwise, selftest, bench);

}  // namespace
}  // namespace gatun::trial

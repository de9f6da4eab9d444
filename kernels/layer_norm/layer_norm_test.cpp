// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm/layer_norm_reference.h"

#include <cstdlib>
#include <memory>

#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kEpsilon = 1e-6f;
constexpr gatun_layout kAbsent{};

struct Result {
  std::vector<float> mean, rstd, y, dx, dgamma, dbeta;
};

struct Problem {
  int64_t rows, columns, padding;
  bool affine = true;
  std::vector<float> x, dy, gamma, beta;
  Problem(int64_t rows, int64_t columns, int64_t padding, uint32_t seed)
      : rows(rows), columns(columns), padding(padding), x(normal(rows * columns, seed)), dy(normal(rows * columns, seed + 1000)),
        gamma(normal(columns, seed + 2000)), beta(normal(columns, seed + 3000)) {
    for (float& v : x) v += 0.5f;
  }
  template <class T>
  LayerNormReference<T> reference() const {
    const auto wide = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
    const std::vector<T> one(gamma.size(), T(1)), zero(gamma.size(), T(0));
    return layer_norm_reference<T>(wide(x), affine ? wide(gamma) : one, affine ? wide(beta) : zero, wide(dy), static_cast<size_t>(columns), T(kEpsilon));
  }
};

Result run_kernel(int threads, const Problem& p) {
  Device device(threads);
  const int64_t stride = p.columns + p.padding;
  const auto spread = [&](const std::vector<float>& packed) {
    std::vector<float> buffer(static_cast<size_t>(p.rows * stride), 7.0f);
    for (int64_t r = 0; r < p.rows; ++r) std::copy_n(packed.begin() + r * p.columns, p.columns, buffer.begin() + r * stride);
    return buffer;
  };
  const auto pack = [&](const std::vector<float>& buffer) {
    std::vector<float> values;
    for (int64_t r = 0; r < p.rows; ++r) {
      values.insert(values.end(), buffer.begin() + r * stride, buffer.begin() + r * stride + p.columns);
      for (int64_t c = p.columns; c < stride; ++c) CHECK(buffer[static_cast<size_t>(r * stride + c)] == 7.0f);
    }
    return values;
  };
  const gatun_layout matrix = layout(GATUN_F32, {p.rows, p.columns}, {stride, 1});
  const gatun_layout channels = layout(GATUN_F32, {p.columns}), line = layout(GATUN_F32, {p.rows}), affine = p.affine ? channels : kAbsent;
  const float *gamma = p.affine ? p.gamma.data() : nullptr, *beta = p.affine ? p.beta.data() : nullptr;
  const std::vector<float> x = spread(p.x), dy = spread(p.dy);
  std::vector<float> y(x.size(), 7.0f), dx(x.size(), 7.0f);
  Result r;
  r.mean.resize(static_cast<size_t>(p.rows));
  r.rstd.resize(static_cast<size_t>(p.rows));
  r.dgamma.resize(p.gamma.size());
  r.dbeta.resize(p.gamma.size());
  const gatun_layer_norm_desc desc{sizeof desc, kEpsilon, matrix, affine, affine, matrix, line, line};
  run([&](gatun_error* e) {
    return gatun_layer_norm_forward(device.stream(), &desc, x.data(), gamma, beta, y.data(), r.mean.data(), r.rstd.data(), e);
  });
  const gatun_layer_norm_backward_desc back{sizeof back, 0, matrix, affine, line, line, matrix, matrix, channels, channels};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_layer_norm_backward_workspace(&back, &bytes, e); });
  std::unique_ptr<void, void (*)(void*)> workspace(std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64), std::free);
  run([&](gatun_error* e) {
    return gatun_layer_norm_backward(device.stream(), &back, x.data(), gamma, r.mean.data(), r.rstd.data(), dy.data(), dx.data(),
                                     r.dgamma.data(), r.dbeta.data(), workspace.get(), bytes, e);
  });
  r.y = pack(y);
  r.dx = pack(dx);
  return r;
}

}  // namespace

TEST_CASE("layer_norm matches the double reference on odd shapes and strides") {
  uint32_t seed = 0;
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 2}, {3, 7}, {5, 16}, {17, 33}, {2000, 65}, {9, 1000}}) {
    for (const int64_t padding : {0, 3}) {
      for (const bool affine : {true, false}) {
        CAPTURE(rows);
        CAPTURE(columns);
        Problem p(rows, columns, padding, ++seed);
        p.affine = affine;
        const auto truth = p.reference<double>();
        const auto naive = p.reference<float>();
        const Result r = run_kernel(2, p);
        check_close(r.mean, truth.mean, naive.mean);
        check_close(r.rstd, truth.rstd, naive.rstd);
        check_close(r.y, truth.y, naive.y);
        check_close(r.dx, truth.dx, naive.dx);
        check_close(r.dgamma, truth.dgamma, naive.dgamma);
        check_close(r.dbeta, truth.dbeta, naive.dbeta);
      }
    }
  }
}

TEST_CASE("layer_norm reference gradient agrees with finite differences") {
  const size_t rows = 3, columns = 5;
  const std::vector<double> all = widen(normal(rows * columns + 2 * columns, 3)), dy = widen(normal(rows * columns, 4));
  const auto evaluate = [&](const std::vector<double>& v) {
    const auto at = v.begin() + rows * columns;
    return layer_norm_reference<double>({v.begin(), at}, {at, at + columns}, {at + columns, v.end()}, dy, columns, 1e-6);
  };
  const auto objective = [&](const std::vector<double>& v) {
    const auto y = evaluate(v).y;
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const auto result = evaluate(all);
  std::vector<double> gradient = result.dx;
  gradient.insert(gradient.end(), result.dgamma.begin(), result.dgamma.end());
  gradient.insert(gradient.end(), result.dbeta.begin(), result.dbeta.end());
  for (size_t i = 0; i < all.size(); ++i) CHECK(central_difference(objective, all, i) == doctest::Approx(gradient[i]).epsilon(1e-6));
}

TEST_CASE("layer_norm gives the same bits for any number of threads") {
  const Problem p(1501, 67, 0, 9);
  const Result one = run_kernel(1, p);
  for (const int threads : {2, 3}) {
    const Result many = run_kernel(threads, p);
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dx, many.dx));
    CHECK(same_bits(one.dgamma, many.dgamma));
    CHECK(same_bits(one.dbeta, many.dbeta));
  }
}

TEST_CASE("layer_norm of constant rows, NaN and nothing; gradients that nobody wants") {
  Problem constant(1, 9, 0, 1);
  std::fill(constant.x.begin(), constant.x.end(), 3.0f);
  const Result r = run_kernel(2, constant);
  CHECK(same_bits(r.y, constant.beta));
  Problem bad(2, 9, 0, 2);
  bad.x[3] = std::numeric_limits<float>::quiet_NaN();
  const Result n = run_kernel(2, bad);
  for (size_t i = 0; i < 9; ++i) CHECK((std::isnan(n.y[i]) && std::isnan(n.dx[i]) && std::isfinite(n.y[9 + i])));
  const Result none = run_kernel(2, Problem(0, 5, 0, 3));
  for (const float v : none.dgamma) CHECK(v == 0.0f);

  Device device;
  const Problem p(40, 9, 0, 4);
  const Result all = run_kernel(2, p);
  const gatun_layout matrix = layout(GATUN_F32, {40, 9}), line = layout(GATUN_F32, {40});
  std::vector<float> dx = p.dy;  // in place
  const gatun_layer_norm_backward_desc back{sizeof back, 0, matrix, layout(GATUN_F32, {9}), line, line, matrix, matrix, kAbsent, kAbsent};
  run([&](gatun_error* e) {
    return gatun_layer_norm_backward(device.stream(), &back, p.x.data(), p.gamma.data(), all.mean.data(), all.rstd.data(), dx.data(),
                                     dx.data(), nullptr, nullptr, nullptr, 0, e);
  });
  CHECK(same_bits(all.dx, dx));
}

TEST_CASE("layer_norm refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 3}), channels = layout(GATUN_F32, {3}), line = layout(GATUN_F32, {4});
  const auto attempt = [&](const gatun_layer_norm_desc& desc, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_layer_norm_forward(device.stream(), &desc, b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), e);
    });
  };
  constexpr uint32_t size = sizeof(gatun_layer_norm_desc);
  attempt({size, 0.0f, matrix, channels, channels, matrix, line, line}, "epsilon is 0");
  attempt({size, 1.0f, matrix, line, channels, matrix, line, line}, "gamma has shape (4), expected (3)");
  attempt({size, 1.0f, matrix, kAbsent, channels, matrix, line, line}, "gamma has a pointer but no layout");
  attempt({size, 1.0f, matrix, channels, channels, matrix, channels, line}, "mean has shape (3), expected (4)");
  const gatun_layer_norm_backward_desc back{sizeof back, 0, matrix, channels, line, line, matrix, matrix, channels, channels};
  refused("the workspace has 0 bytes", [&](gatun_error* e) {
    return gatun_layer_norm_backward(device.stream(), &back, b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(),
                                     nullptr, 0, e);
  });
}

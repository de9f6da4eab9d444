// SPDX-License-Identifier: Apache-2.0
#include "kernels/layer_norm/layer_norm_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kEpsilon = 1e-6f;
constexpr gatun_layout kAbsent{};

template <class T>
struct Result {
  std::vector<float> mean, rstd, dgamma, dbeta;
  std::vector<T> y, dx;
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

template <class T = float>
Result<T> run_kernel(int threads, const Problem& p) {
  Device device(threads);
  const gatun_layout matrix = layout(kDtype<T>, {p.rows, p.columns}, {p.columns + p.padding, 1});
  const gatun_layout channels = layout(GATUN_F32, {p.columns}), line = layout(GATUN_F32, {p.rows}), affine = p.affine ? channels : kAbsent;
  const Memory<T> x(spread(stored<T>(p.x), p.columns, p.padding)), dy(spread(stored<T>(p.dy), p.columns, p.padding));
  const Memory<float> gamma(p.gamma), beta(p.beta);
  const float *scale = p.affine ? gamma.data() : nullptr, *shift = p.affine ? beta.data() : nullptr;
  const size_t size = static_cast<size_t>(p.rows * (p.columns + p.padding)), rows = static_cast<size_t>(p.rows);
  Memory<T> y(size, T(7.0f)), dx(size, T(7.0f));
  Memory<float> mean(rows, 7.0f), rstd(rows, 7.0f), dgamma(p.gamma.size(), 7.0f), dbeta(p.gamma.size(), 7.0f);
  const gatun_layer_norm_desc desc{sizeof desc, kEpsilon, matrix, affine, affine, matrix, line, line};
  run([&](gatun_error* e) {
    return gatun_layer_norm_forward(device.stream(), &desc, x.data(), scale, shift, y.data(), mean.data(), rstd.data(), e);
  });
  const gatun_layer_norm_backward_desc back{sizeof back, 0, matrix, affine, line, line, matrix, matrix, channels, channels};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_layer_norm_backward_workspace(&back, &bytes, e); });
  Workspace workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_layer_norm_backward(device.stream(), &back, x.data(), scale, mean.data(), rstd.data(), dy.data(), dx.data(), dgamma.data(),
                                     dbeta.data(), workspace.data(), bytes, e);
  });
  return {mean.values(), rstd.values(), dgamma.values(), dbeta.values(), pack(y.values(), p.columns, p.padding), pack(dx.values(), p.columns, p.padding)};
}

template <class T>
void check_against_reference(Problem p) {
  p.x = rounded<T>(p.x);
  p.dy = rounded<T>(p.dy);
  const auto truth = p.reference<double>();
  const auto naive = p.reference<float>();
  const Result<T> r = run_kernel<T>(2, p);
  check_close(r.mean, truth.mean, naive.mean);
  check_close(r.rstd, truth.rstd, naive.rstd);
  check_stored(r.y, truth.y, naive.y);
  check_stored(r.dx, truth.dx, naive.dx);
  check_close(r.dgamma, truth.dgamma, naive.dgamma);
  check_close(r.dbeta, truth.dbeta, naive.dbeta);
}

}  // namespace

TEST_CASE_TEMPLATE("layer_norm matches the double reference on odd shapes and strides", T, GATUN_STORAGES) {
  uint32_t seed = 0;
  // Rows of a few lanes, of a warp and of a block; packs and single elements; rows that registers cannot hold; several chunks of rows.
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 2}, {3, 7}, {5, 16}, {17, 33}, {115, 65}, {77, 136}, {9, 1000}, {35, 768}, {3, 4104}, {18, 641}, {2, 20008}}) {
    CAPTURE(rows);
    CAPTURE(columns);
    Problem p(rows, columns, 0, ++seed);
    p.affine = seed % 4 != 0;
    check_against_reference<T>(p);
    p.padding = seed % 2 == 0 ? 3 : 8;
    check_against_reference<T>(p);
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
  const Problem p(201, 67, 0, 9);
  const Result<float> one = run_kernel(1, p);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel(threads, p);
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dx, many.dx));
    CHECK(same_bits(one.dgamma, many.dgamma));
    CHECK(same_bits(one.dbeta, many.dbeta));
  }
}

TEST_CASE("layer_norm of constant rows, NaN and nothing; gradients that nobody wants") {
  Problem constant(1, 9, 0, 1);
  std::fill(constant.x.begin(), constant.x.end(), 3.0f);
  const Result<float> r = run_kernel(2, constant);
  CHECK(same_bits(r.y, constant.beta));
  Problem bad(2, 9, 0, 2);
  bad.x[3] = std::numeric_limits<float>::quiet_NaN();
  const Result<float> n = run_kernel(2, bad);
  for (size_t i = 0; i < 9; ++i) CHECK((std::isnan(n.y[i]) && std::isnan(n.dx[i]) && std::isfinite(n.y[9 + i])));
  const Result<float> none = run_kernel(2, Problem(0, 5, 0, 3));
  for (const float v : none.dgamma) CHECK(v == 0.0f);

  for (const int64_t columns : {9, 40, 2056}) {
    const int64_t rows = columns > 1000 ? 3 : 40;
    Device device;
    const Problem p(rows, columns, 0, 4);
    const Result<float> all = run_kernel(2, p);
    const gatun_layout matrix = layout(GATUN_F32, {rows, columns}), line = layout(GATUN_F32, {rows});
    const Memory<float> x(p.x), gamma(p.gamma), mean(all.mean), rstd(all.rstd);
    Memory<float> dx(p.dy);  // in place
    const gatun_layer_norm_backward_desc back{sizeof back, 0, matrix, layout(GATUN_F32, {columns}), line, line, matrix, matrix, kAbsent, kAbsent};
    run([&](gatun_error* e) {
      return gatun_layer_norm_backward(device.stream(), &back, x.data(), gamma.data(), mean.data(), rstd.data(), dx.data(), dx.data(), nullptr,
                                       nullptr, nullptr, 0, e);
    });
    CHECK(same_bits(all.dx, dx.values()));
  }
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

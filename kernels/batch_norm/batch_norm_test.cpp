// SPDX-License-Identifier: Apache-2.0
#include "kernels/batch_norm/batch_norm_reference.h"

#include <array>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr double kEpsilon = 1e-5;
constexpr gatun_layout kAbsent{};

template <class T>
struct Result {
  std::vector<float> mean, centered, rstd, dgamma, dbeta, running_mean, running_variance;
  std::vector<T> y, dx;
};

struct Problem {
  int64_t rows, columns, padding;
  bool relu = false;
  bool affine = true;
  float offset = 0.5f;
  std::vector<float> x, dy, gamma, beta;  // packed

  Problem(int64_t rows, int64_t columns, int64_t padding, uint32_t seed, float offset = 0.5f)
      : rows(rows), columns(columns), padding(padding), offset(offset), x(normal(rows * columns, seed)),
        dy(normal(rows * columns, seed + 1000)), gamma(normal(columns, seed + 2000)), beta(normal(columns, seed + 3000)) {
    for (float& v : x) v += offset;
  }
  template <class T>
  BatchNormReference<T> reference() const {
    const auto wide = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
    const std::vector<T> one(gamma.size(), T(1)), zero(gamma.size(), T(0));
    return batch_norm_reference<T>(wide(x), affine ? wide(gamma) : one, affine ? wide(beta) : zero, wide(dy), rows, columns, T(kEpsilon), relu);
  }
};

template <class T = float>
Result<T> run_kernel(int threads, const Problem& p) {
  Device device(threads);
  const size_t channels = static_cast<size_t>(p.columns), size = static_cast<size_t>(p.rows * (p.columns + p.padding));
  const gatun_layout matrix = layout(kDtype<T>, {p.rows, p.columns}, {p.columns + p.padding, 1}), line = layout(GATUN_F32, {p.columns});
  const gatun_layout affine = p.affine ? line : kAbsent;
  const Memory<float> scale(p.gamma), shift(p.beta), momentum(std::vector<float>{0.1f});
  const float *gamma = p.affine ? scale.data() : nullptr, *beta = p.affine ? shift.data() : nullptr;
  const Memory<T> x(spread(stored<T>(p.x), p.columns, p.padding)), dy(spread(stored<T>(p.dy), p.columns, p.padding));
  Memory<T> y(size, T(7.0f)), dx(size, T(7.0f));
  Memory<float> mean(channels, 7.0f), centered(channels, 7.0f), rstd(channels, 7.0f), dgamma(channels, 7.0f), dbeta(channels, 7.0f);
  Memory<float> running_mean(channels, 0.25f), running_variance(channels, 2.0f);
  size_t bytes = 0;

  const gatun_batch_norm_statistics_desc statistics{sizeof statistics, 0, matrix, line, line};
  run([&](gatun_error* e) { return gatun_batch_norm_statistics_workspace(&statistics, &bytes, e); });
  Workspace first(bytes);
  run([&](gatun_error* e) {
    return gatun_batch_norm_statistics(device.stream(), &statistics, x.data(), mean.data(), centered.data(), first.data(), bytes, e);
  });
  const gatun_batch_norm_desc forward{sizeof forward, p.relu, p.rows, kEpsilon, matrix, line, line, affine, affine,
                                      layout(GATUN_F32, {1}), line, line, line, matrix, kAbsent};
  run([&](gatun_error* e) {
    return gatun_batch_norm_forward(device.stream(), &forward, x.data(), mean.data(), centered.data(), gamma, beta, momentum.data(),
                                    running_mean.data(), running_variance.data(), rstd.data(), y.data(), nullptr, e);
  });
  const gatun_batch_norm_backward_sums_desc sums{sizeof sums, p.relu, matrix, line, line, affine, affine, matrix, line, line, kAbsent, kAbsent};
  run([&](gatun_error* e) { return gatun_batch_norm_backward_sums_workspace(&sums, &bytes, e); });
  Workspace second(bytes);
  run([&](gatun_error* e) {
    return gatun_batch_norm_backward_sums(device.stream(), &sums, x.data(), mean.data(), rstd.data(), gamma, beta, dy.data(), dgamma.data(),
                                          dbeta.data(), nullptr, nullptr, second.data(), bytes, e);
  });
  const gatun_batch_norm_backward_desc backward{sizeof backward, p.relu, p.rows, matrix, line, line, affine, affine, matrix, line, line, matrix};
  run([&](gatun_error* e) {
    return gatun_batch_norm_backward(device.stream(), &backward, x.data(), mean.data(), rstd.data(), gamma, beta, dy.data(), dgamma.data(),
                                     dbeta.data(), dx.data(), e);
  });
  return {mean.values(), centered.values(), rstd.values(), dgamma.values(), dbeta.values(), running_mean.values(), running_variance.values(),
          pack(y.values(), p.columns, p.padding), pack(dx.values(), p.columns, p.padding)};
}

template <class T = float>
void check_against_reference(Problem p) {
  p.x = rounded<T>(p.x);
  p.dy = rounded<T>(p.dy);
  const auto truth = p.reference<double>();
  const auto naive = p.reference<float>();
  const Result<T> r = run_kernel<T>(2, p);
  check_close(r.mean, truth.mean, naive.mean);
  check_close(r.centered, truth.centered, naive.centered);
  check_close(r.rstd, truth.rstd, naive.rstd);
  check_stored(r.y, truth.y, naive.y);
  check_close(r.dgamma, truth.dgamma, naive.dgamma);
  check_close(r.dbeta, truth.dbeta, naive.dbeta);
  check_stored(r.dx, truth.dx, naive.dx);
  for (size_t c = 0; c < r.mean.size(); ++c) {
    CHECK(r.running_mean[c] == doctest::Approx(0.9 * 0.25 + 0.1 * truth.mean[c]).epsilon(1e-6));
    CHECK(r.running_variance[c] == doctest::Approx(0.9 * 2.0 + 0.1 * truth.centered[c] / static_cast<double>(p.rows - 1)).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("batch_norm matches the double reference on odd shapes and strides", T, GATUN_STORAGES) {
  uint32_t seed = 0;
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{2, 1}, {5, 7}, {33, 16}, {700, 3}, {1000, 33}, {70, 600}, {1500, 64}}) {
    CAPTURE(rows);
    CAPTURE(columns);
    Problem p(rows, columns, 0, ++seed);
    p.affine = seed % 3 != 0;
    check_against_reference<T>(p);
    p.padding = seed % 2 == 0 ? 5 : 8;
    p.affine = !p.affine;
    check_against_reference<T>(p);
  }
}

TEST_CASE_TEMPLATE("batch_norm with relu matches the double reference", T, GATUN_STORAGES) {
  for (const int64_t columns : {37, 40}) {
    // Inputs whose normalised value is near 0 could be masked differently by rounding: they are moved away from it.
    Problem p(301, columns, 0, 77);
    p.relu = true;
    for (int pass = 0; pass < 20; ++pass) {
      p.x = rounded<T>(p.x);
      Problem plain = p;
      plain.relu = false;
      const auto value = plain.reference<double>().y;
      for (size_t i = 0; i < value.size(); ++i) {
        if (std::abs(value[i]) < 1e-3) p.x[i] += kDtype<T> == GATUN_BF16 ? 0.05f : 0.01f;
      }
    }
    check_against_reference<T>(p);
  }
}

TEST_CASE("batch_norm statistics survive a mean that is large beside the deviation") {
  const Problem p(5000, 9, 0, 5, 1000.0f);
  const auto truth = p.reference<double>();
  const Result<float> r = run_kernel(2, p);
  // E[x²] - E[x]² in float would lose all digits here (1e6 against 1).
  for (size_t c = 0; c < 9; ++c) CHECK(std::abs(r.centered[c] / truth.centered[c] - 1) < 1e-4);
}

TEST_CASE("batch_norm reference gradient agrees with finite differences") {
  for (const bool relu : {false, true}) {
    const int64_t rows = 5, columns = 3;
    std::vector<double> all = widen(normal(rows * columns + 2 * columns, 3));  // x, gamma, beta
    const std::vector<double> dy = widen(normal(rows * columns, 4));
    const auto evaluate = [&](const std::vector<double>& v) {
      const auto at = v.begin() + rows * columns;
      return batch_norm_reference<double>({v.begin(), at}, {at, at + columns}, {at + columns, v.end()}, dy, rows, columns, kEpsilon, relu);
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
}

TEST_CASE("batch_norm gives the same bits for any number of threads") {
  Problem p(801, 37, 0, 9);
  p.relu = true;
  const Result<float> one = run_kernel(1, p);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel(threads, p);
    CHECK(same_bits(one.mean, many.mean));
    CHECK(same_bits(one.centered, many.centered));
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dgamma, many.dgamma));
    CHECK(same_bits(one.dbeta, many.dbeta));
    CHECK(same_bits(one.dx, many.dx));
  }
}

TEST_CASE("batch_norm of two machines joins to that of one") {
  const Problem both(600, 5, 0, 21);
  const auto truth = both.reference<double>();
  double mean[5] = {}, centered[5] = {};
  Result<float> parts[2];
  for (int m = 0; m < 2; ++m) {
    Problem part(300, 5, 0, 1);
    part.x.assign(both.x.begin() + m * 1500, both.x.begin() + (m + 1) * 1500);
    parts[m] = run_kernel(2, part);
    for (size_t c = 0; c < 5; ++c) mean[c] += parts[m].mean[c] / 2.0;
  }
  for (const Result<float>& part : parts) {
    for (size_t c = 0; c < 5; ++c) centered[c] += part.centered[c] + 300 * (part.mean[c] - mean[c]) * (part.mean[c] - mean[c]);
  }
  for (size_t c = 0; c < 5; ++c) {
    CHECK(mean[c] == doctest::Approx(truth.mean[c]).epsilon(1e-5));
    CHECK(centered[c] == doctest::Approx(truth.centered[c]).epsilon(1e-5));
  }
}

TEST_CASE_TEMPLATE("batch_norm inference, NaN and nothing", T, GATUN_STORAGES) {
  const int64_t rows = 90, columns = 300;
  Problem p(rows, columns, 0, 31);
  p.x = rounded<T>(p.x);
  const gatun_layout matrix = layout(kDtype<T>, {rows, columns}), line = layout(GATUN_F32, {columns});
  const std::vector<float> means = normal(columns, 32);
  const Memory<float> variance(columns, 0.5f), mean(means), gamma(p.gamma), beta(p.beta);
  std::vector<float> x = p.x;
  x[5] = std::numeric_limits<float>::quiet_NaN();
  const gatun_batch_norm_inference_desc desc{sizeof desc, 1, kEpsilon, matrix, line, line, line, line, matrix};
  std::vector<T> y;
  for (const int threads : {1, 2, 3}) {
    Device device(threads);
    Memory<T> in_place(stored<T>(x));
    run([&](gatun_error* e) {
      return gatun_batch_norm_inference(device.stream(), &desc, in_place.data(), mean.data(), variance.data(), gamma.data(), beta.data(),
                                        in_place.data(), e);
    });
    if (threads > 1) CHECK(distance(loaded(in_place.values()), loaded(y)) == 0);
    y = in_place.values();
  }
  CHECK(std::isnan(static_cast<float>(y[5])));
  y[5] = T(0.0f);
  std::vector<double> truth(y.size());
  std::vector<float> naive(y.size());
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t c = i % columns;
    if (i == 5) continue;
    truth[i] = std::max(0.0, (p.x[i] - static_cast<double>(means[c])) / std::sqrt(0.5 + kEpsilon) * p.gamma[c] + p.beta[c]);
    naive[i] = std::max(0.0f, (p.x[i] - means[c]) / std::sqrt(0.5f + static_cast<float>(kEpsilon)) * p.gamma[c] + p.beta[c]);
  }
  check_stored(y, truth, naive);

  Device device;
  Memory<float> none_mean(4, 1.0f), none_centered(4, 1.0f);
  const gatun_batch_norm_statistics_desc none{sizeof none, 0, layout(kDtype<T>, {0, 4}), layout(GATUN_F32, {4}), layout(GATUN_F32, {4})};
  run([&](gatun_error* e) { return gatun_batch_norm_statistics(device.stream(), &none, nullptr, none_mean.data(), none_centered.data(), nullptr, 0, e); });
  for (size_t c = 0; c < 4; ++c) CHECK((none_mean.values()[c] == 0.0f && none_centered.values()[c] == 0.0f));
}

TEST_CASE("batch_norm without running statistics, gradient in place") {
  Device device;
  const Problem p(40, 12, 0, 7);
  const Result<float> all = run_kernel(2, p);
  const gatun_layout matrix = layout(GATUN_F32, {40, 12}), line = layout(GATUN_F32, {12});
  const Memory<float> x(p.x), mean(all.mean), centered(all.centered), gamma(p.gamma), beta(p.beta), dgamma(all.dgamma), dbeta(all.dbeta);
  Memory<float> rstd(12, 7.0f), y(p.x.size(), 7.0f), dx(p.dy);
  const gatun_batch_norm_desc forward{sizeof forward, 0, 40, kEpsilon, matrix, line, line, line, line, kAbsent, kAbsent, kAbsent, line, matrix, kAbsent};
  run([&](gatun_error* e) {
    return gatun_batch_norm_forward(device.stream(), &forward, x.data(), mean.data(), centered.data(), gamma.data(), beta.data(), nullptr,
                                    nullptr, nullptr, rstd.data(), y.data(), nullptr, e);
  });
  CHECK(same_bits(all.rstd, rstd.values()));
  CHECK(same_bits(all.y, y.values()));
  const gatun_batch_norm_backward_desc backward{sizeof backward, 0, 40, matrix, line, line, line, line, matrix, line, line, matrix};
  run([&](gatun_error* e) {
    return gatun_batch_norm_backward(device.stream(), &backward, x.data(), mean.data(), rstd.data(), gamma.data(), beta.data(), dx.data(),
                                     dgamma.data(), dbeta.data(), dx.data(), e);
  });
  CHECK(same_bits(all.dx, dx.values()));
}

#if !defined(GATUN_CUDA)
// The end of a residual block against the same in separate steps: norm(x) + residual, rectified; and back.
TEST_CASE("batch_norm with a residual matches the double reference, for any number of threads") {
  for (const auto& [rows, columns, padding] : std::vector<std::array<int64_t, 3>>{{2, 1, 0}, {301, 37, 5}, {70, 600, 0}, {900, 64, 8}}) {
    CAPTURE(columns);
    Problem p(rows, columns, padding, 50);
    const auto forward_of = [&] { return p.reference<double>().y; };
    std::vector<float> residual = normal(rows * columns, 51);
    const auto plain = forward_of();
    // Sums near 0 could be rectified differently by rounding: they are moved away from it.
    for (size_t i = 0; i < plain.size(); ++i) {
      if (std::abs(plain[i] + residual[i]) < 1e-2) residual[i] += 0.1f;
    }
    residual[0] = std::numeric_limits<float>::quiet_NaN();
    const auto truth_of = [&](auto zero) {
      using T = decltype(zero);
      Problem masked = p;
      const auto y = p.reference<T>().y;
      std::vector<T> sum(y.size());
      for (size_t i = 0; i < y.size(); ++i) {
        sum[i] = y[i] + static_cast<T>(residual[i]);
        if (sum[i] <= 0) masked.dy[i] = 0.0f;
        if (sum[i] <= 0) sum[i] = 0;
      }
      return std::pair{masked.reference<T>(), sum};
    };
    auto [truth, truth_y] = truth_of(0.0);
    auto [naive, naive_y] = truth_of(0.0f);
    std::vector<float> bits;
    for (const int threads : {2, 1, 3}) {
      Device device(threads);
      const gatun_layout matrix = layout(GATUN_F32, {rows, columns}, {columns + padding, 1}), line = layout(GATUN_F32, {columns});
      const size_t channels = static_cast<size_t>(columns);
      const Memory<float> x(spread(p.x, columns, padding)), dy(spread(p.dy, columns, padding)), gamma(p.gamma), beta(p.beta);
      Memory<float> in_place(spread(residual, columns, padding)), rstd(channels, 7.0f), dgamma(channels, 7.0f), dbeta(channels, 7.0f);
      const size_t size = static_cast<size_t>(rows * (columns + padding));
      Memory<float> mean(channels, 7.0f), centered(channels, 7.0f), dresidual(size, 7.0f), dx(size, 7.0f);
      size_t bytes = 0;
      const gatun_batch_norm_statistics_desc statistics{sizeof statistics, 0, matrix, line, line};
      run([&](gatun_error* e) { return gatun_batch_norm_statistics_workspace(&statistics, &bytes, e); });
      Workspace work(bytes);
      run([&](gatun_error* e) {
        return gatun_batch_norm_statistics(device.stream(), &statistics, x.data(), mean.data(), centered.data(), work.data(), bytes, e);
      });
      const gatun_batch_norm_desc forward{sizeof forward, 1, rows, kEpsilon, matrix, line, line, line, line, kAbsent, kAbsent, kAbsent, line, matrix, matrix};
      run([&](gatun_error* e) {
        return gatun_batch_norm_forward(device.stream(), &forward, x.data(), mean.data(), centered.data(), gamma.data(), beta.data(), nullptr, nullptr,
                                        nullptr, rstd.data(), in_place.data(), in_place.data(), e);
      });
      const gatun_batch_norm_backward_sums_desc sums{sizeof sums, 1, matrix, line, line, line, line, matrix, line, line, matrix, matrix};
      run([&](gatun_error* e) {
        return gatun_batch_norm_backward_sums(device.stream(), &sums, x.data(), mean.data(), rstd.data(), gamma.data(), beta.data(), dy.data(),
                                              dgamma.data(), dbeta.data(), in_place.data(), dresidual.data(), work.data(), bytes, e);
      });
      const gatun_batch_norm_backward_desc backward{sizeof backward, 0, rows, matrix, line, line, line, line, matrix, line, line, matrix};
      run([&](gatun_error* e) {
        return gatun_batch_norm_backward(device.stream(), &backward, x.data(), mean.data(), rstd.data(), gamma.data(), beta.data(), dresidual.data(),
                                         dgamma.data(), dbeta.data(), dx.data(), e);
      });
      std::vector<float> y = pack(in_place.values(), columns, padding);
      CHECK(std::isnan(y[0]));
      y[0] = 0.0f;
      truth_y[0] = 0.0;
      naive_y[0] = 0.0f;
      const std::vector<float> gradient = pack(dresidual.values(), columns, padding);
      for (size_t i = 0; i < y.size(); ++i) CHECK(gradient[i] == (i == 0 || y[i] > 0 ? p.dy[i] : 0.0f));
      check_close(y, truth_y, naive_y);
      check_close(dgamma.values(), truth.dgamma, naive.dgamma);
      check_close(dbeta.values(), truth.dbeta, naive.dbeta);
      check_close(pack(dx.values(), columns, padding), truth.dx, naive.dx);
      y.insert(y.end(), gradient.begin(), gradient.end());
      const std::vector<float> all = dx.values();
      y.insert(y.end(), all.begin(), all.end());
      if (!bits.empty()) CHECK(same_bits(bits, y));
      bits = y;
    }
  }
}
#endif

TEST_CASE("batch_norm refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4}), line = layout(GATUN_F32, {4}), one = layout(GATUN_F32, {1});
  const auto attempt = [&](const gatun_batch_norm_desc& d, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_batch_norm_forward(device.stream(), &d, b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(),
                                      b.data(), b.data(), d.residual.dtype == GATUN_NONE ? nullptr : b.data(), e);
    });
  };
  const gatun_batch_norm_desc good{sizeof good, 0, 4, kEpsilon, matrix, line, line, line, line, one, line, line, line, matrix, kAbsent};
  gatun_batch_norm_desc bad = good;
  bad.relu = 2;
  attempt(bad, "relu is 2");
  bad = good;
  bad.epsilon = 0;
  attempt(bad, "epsilon is 0");
  bad = good;
  bad.count = 1;
  attempt(bad, "count is 1");
  bad = good;
  bad.running_mean = kAbsent;
  attempt(bad, "together or not at all");
  bad = good;
  bad.residual = layout(GATUN_F32, {4, 3});
#if defined(GATUN_CUDA)
  gatun_error error{};
  CHECK(gatun_batch_norm_forward(device.stream(), &bad, b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), b.data(),
                                 b.data(), b.data(), &error) == GATUN_UNSUPPORTED);
  CHECK(std::string(error.message).starts_with("residual is for the CPU only: f32(4, 3)"));
#else
  attempt(bad, "residual has shape (4, 3)");
#endif
  bad = good;
  bad.gamma = layout(GATUN_F32, {3});
  attempt(bad, "gamma has shape (3), expected (4)");
  bad = good;
  bad.y = layout(GATUN_F32, {4, 4}, {0, 1});
  attempt(bad, "elements overlap");
  const gatun_batch_norm_statistics_desc statistics{sizeof statistics, 0, matrix, line, line};
  refused("the workspace has 0 bytes", [&](gatun_error* e) {
    return gatun_batch_norm_statistics(device.stream(), &statistics, b.data(), b.data(), b.data(), nullptr, 0, e);
  });
}

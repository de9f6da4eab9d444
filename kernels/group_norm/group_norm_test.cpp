// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kEpsilon = 1e-5f;
constexpr gatun_layout kAbsent{};

template <class T>
struct Result {
  std::vector<float> mean, rstd, dgamma, dbeta;
  std::vector<T> y, dx;
};

struct Problem {
  int64_t samples, height, width, channels, groups, padding;
  bool affine = true;
  std::vector<float> x, dy, gamma, beta;
  Problem(int64_t samples, int64_t height, int64_t width, int64_t channels, int64_t groups, int64_t padding, uint32_t seed)
      : samples(samples), height(height), width(width), channels(channels), groups(groups), padding(padding),
        x(normal(samples * height * width * channels, seed)), dy(normal(samples * height * width * channels, seed + 1000)),
        gamma(normal(channels, seed + 2000)), beta(normal(channels, seed + 3000)) {
    for (float& v : x) v += 0.5f;
  }
  int64_t rows() const { return samples * height * width; }
  template <class T>
  GroupNormReference<T> reference() const {
    const auto wide = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
    const std::vector<T> one(gamma.size(), T(1)), zero(gamma.size(), T(0));
    return group_norm_reference<T>(wide(x), affine ? wide(gamma) : one, affine ? wide(beta) : zero, wide(dy), static_cast<size_t>(samples),
                                   static_cast<size_t>(height * width), static_cast<size_t>(groups), T(kEpsilon));
  }
};

template <class T = float>
Result<T> run_kernel(int threads, const Problem& p) {
  Device device(threads);
  const int64_t stride = p.channels + p.padding;
  const gatun_layout image = layout(kDtype<T>, {p.samples, p.height, p.width, p.channels},
                                    {p.height * p.width * stride, p.width * stride, stride, 1});
  const gatun_layout line = layout(GATUN_F32, {p.channels}), affine = p.affine ? line : kAbsent;
  const gatun_layout statistics = layout(GATUN_F32, {p.samples, p.groups});
  const Memory<float> scale(p.gamma), shift(p.beta);
  const float *gamma = p.affine ? scale.data() : nullptr, *beta = p.affine ? shift.data() : nullptr;
  const Memory<T> x(spread(stored<T>(p.x), p.channels, p.padding)), dy(spread(stored<T>(p.dy), p.channels, p.padding));
  const size_t size = static_cast<size_t>(p.rows() * stride), groups = static_cast<size_t>(p.samples * p.groups);
  Memory<T> y(size, T(7.0f)), dx(size, T(7.0f));
  Memory<float> mean(groups, 7.0f), rstd(groups, 7.0f), dgamma(p.gamma.size(), 7.0f), dbeta(p.gamma.size(), 7.0f);
  const gatun_group_norm_desc desc{sizeof desc, kEpsilon, p.groups, image, affine, affine, image, statistics, statistics};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_group_norm_forward_workspace(&desc, &bytes, e); });
  Workspace first(bytes);
  run([&](gatun_error* e) {
    return gatun_group_norm_forward(device.stream(), &desc, x.data(), gamma, beta, y.data(), mean.data(), rstd.data(), first.data(), bytes, e);
  });
  const gatun_group_norm_backward_desc back{sizeof back, 0, p.groups, image, affine, statistics, statistics, image, image, line, line};
  run([&](gatun_error* e) { return gatun_group_norm_backward_workspace(&back, &bytes, e); });
  Workspace second(bytes);
  run([&](gatun_error* e) {
    return gatun_group_norm_backward(device.stream(), &back, x.data(), gamma, mean.data(), rstd.data(), dy.data(), dx.data(), dgamma.data(),
                                     dbeta.data(), second.data(), bytes, e);
  });
  return {mean.values(), rstd.values(), dgamma.values(), dbeta.values(), pack(y.values(), p.channels, p.padding), pack(dx.values(), p.channels, p.padding)};
}

}  // namespace

TEST_CASE_TEMPLATE("group_norm matches the double reference on odd shapes, strides and groups", T, GATUN_STORAGES) {
  const Problem problems[] = {{1, 1, 1, 2, 1, 0, 1},   {3, 5, 3, 6, 2, 0, 2},  {2, 4, 4, 34, 17, 5, 3},  {2, 3, 3, 16, 16, 0, 4},
                              {5, 7, 7, 33, 1, 2, 5}, {4, 14, 14, 64, 32, 0, 6}, {2, 9, 9, 320, 32, 8, 7}, {1, 23, 23, 24, 8, 0, 8}};
  for (Problem p : problems) {
    p.x = rounded<T>(p.x);
    p.dy = rounded<T>(p.dy);
    for (const bool affine : {true, false}) {
      CAPTURE(p.channels);
      CAPTURE(p.groups);
      p.affine = affine;
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
  }
}

TEST_CASE("group_norm reference gradient agrees with finite differences") {
  const size_t elements = 2 * 3 * 4, channels = 4;
  const std::vector<double> all = widen(normal(elements + 2 * channels, 3)), dy = widen(normal(elements, 4));
  const auto evaluate = [&](const std::vector<double>& v) {
    const auto at = v.begin() + elements;
    return group_norm_reference<double>({v.begin(), at}, {at, at + channels}, {at + channels, v.end()}, dy, 2, 3, 2, 1e-5);
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

TEST_CASE("group_norm gives the same bits for any number of threads") {
  const Problem p(7, 9, 9, 24, 4, 0, 9);
  const Result<float> one = run_kernel(1, p);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel(threads, p);
    CHECK(same_bits(one.y, many.y));
    CHECK(same_bits(one.dx, many.dx));
    CHECK(same_bits(one.dgamma, many.dgamma));
    CHECK(same_bits(one.dbeta, many.dbeta));
  }
}

TEST_CASE("group_norm: a NaN stays in its group, no samples are allowed") {
  Problem p(2, 2, 2, 4, 2, 0, 1);
  p.x[0] = std::numeric_limits<float>::quiet_NaN();
  const Result<float> r = run_kernel(2, p);
  for (size_t i = 0; i < r.y.size(); ++i) CHECK(std::isnan(r.y[i]) == (i < 16 && i % 4 < 2));
  for (const float v : run_kernel(2, Problem(0, 2, 2, 4, 2, 0, 3)).dgamma) CHECK(v == 0.0f);
}

TEST_CASE("group_norm: gradients that nobody wants, gradient in place") {
  Device device;
  const Problem p(2, 3, 3, 8, 2, 0, 4);
  const Result<float> all = run_kernel(2, p);
  const gatun_layout image = layout(GATUN_F32, {2, 9, 8}), statistics = layout(GATUN_F32, {2, 2});
  const Memory<float> x(p.x), gamma(p.gamma), mean(all.mean), rstd(all.rstd);
  Memory<float> dx(p.dy);
  const gatun_group_norm_backward_desc back{sizeof back, 0, 2, image, layout(GATUN_F32, {8}), statistics, statistics, image, image, kAbsent, kAbsent};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_group_norm_backward_workspace(&back, &bytes, e); });
  Workspace workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_group_norm_backward(device.stream(), &back, x.data(), gamma.data(), mean.data(), rstd.data(), dx.data(), dx.data(), nullptr,
                                     nullptr, workspace.data(), bytes, e);
  });
  CHECK(same_bits(all.dx, dx.values()));
}

TEST_CASE("group_norm refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(64);
  const gatun_layout image = layout(GATUN_F32, {2, 3, 4}), line = layout(GATUN_F32, {4}), statistics = layout(GATUN_F32, {2, 2});
  const auto attempt = [&](const gatun_group_norm_desc& desc, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_group_norm_forward(device.stream(), &desc, b.data(), b.data(), b.data(), b.data(), b.data(), b.data(), nullptr, 0, e);
    });
  };
  constexpr uint32_t size = sizeof(gatun_group_norm_desc);
  attempt({size, 1.0f, 3, image, line, line, image, statistics, statistics}, "groups is 3, which does not divide 4 channels");
  attempt({size, 0.0f, 2, image, line, line, image, statistics, statistics}, "epsilon is 0");
  attempt({size, 1.0f, 2, image, line, line, image, layout(GATUN_F32, {2, 4}), statistics}, "mean has shape (2, 4), expected (2, 2)");
  attempt({size, 1.0f, 2, line, line, line, line, statistics, statistics}, "x has rank 1");
  attempt({size, 1.0f, 2, image, line, line, image, statistics, statistics}, "the workspace has 0 bytes");
}

#if !defined(GATUN_CUDA)
// Many samples are fetched ahead and written past the caches.
TEST_CASE("group_norm of many samples has the bits of a few") {
  Problem p(43, 28, 28, 64, 32, 0, 10);
  const Result<float> all = run_kernel(2, p);
  p.samples = 2;
  const size_t size = static_cast<size_t>(p.rows() * p.channels);
  p.x.resize(size);
  p.dy.resize(size);
  const Result<float> few = run_kernel(2, p);
  CHECK(same_bits(few.y, {all.y.begin(), all.y.begin() + static_cast<ptrdiff_t>(size)}));
  CHECK(same_bits(few.dx, {all.dx.begin(), all.dx.begin() + static_cast<ptrdiff_t>(size)}));
}
#endif

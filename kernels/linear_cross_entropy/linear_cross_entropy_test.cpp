// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_cross_entropy/linear_cross_entropy_reference.h"

#include <tuple>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr gatun_layout kAbsent{};

struct Problem {
  int64_t rows, count, depth, target_rows;
  float temperature = 0.1f, factor = 1.0f;
  std::vector<float> z, prototypes, targets, given;  // given: scores, instead of the products
  std::vector<int32_t> labels;  // used instead of targets when there are any
  int64_t padding = 0;
  bool scores = false, dz = true, dprototypes = true;

  Problem(int64_t rows, int64_t count, int64_t depth, uint32_t seed, int64_t views = 1)
      : rows(rows), count(count), depth(depth), target_rows(rows / views), factor(1.0f / static_cast<float>(std::max<int64_t>(1, rows))),
        z(normal(rows * depth, seed, 1 / std::sqrt(static_cast<float>(depth)))), prototypes(normal(count * depth, seed + 1000)),
        targets(normal(target_rows * count, seed + 2000)) {
    for (float& t : targets) t = std::abs(t) / static_cast<float>(count);
  }
  // Labels, and as soft targets what they stand for.
  void label() {
    std::fill(targets.begin(), targets.end(), 0.0f);
    for (int64_t r = 0; r < target_rows; ++r) {
      labels.push_back(static_cast<int32_t>(r % 5 == 4 ? -1 : r * 7 % count));
      if (labels.back() >= 0) targets[static_cast<size_t>(r * count + labels.back())] = 1.0f;
    }
  }
  template <class T>
  LinearCrossEntropyReference<T> reference() const {
    const auto wide = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
    return linear_cross_entropy_reference<T>(wide(z), wide(prototypes), wide(targets), static_cast<size_t>(depth), static_cast<T>(temperature),
                                             static_cast<T>(factor));
  }
  gatun_linear_cross_entropy_desc desc() const {
    const auto matrix = [&](int64_t r, int64_t c) { return layout(GATUN_F32, {r, c}, {c + padding, 1}); };
    gatun_linear_cross_entropy_desc d{};
    d.struct_size = sizeof d;
    d.temperature = temperature;
    d.factor = factor;
    d.z = matrix(rows, depth);
    d.prototypes = matrix(count, depth);
    d.targets = labels.empty() ? matrix(target_rows, count) : layout(GATUN_I32, {target_rows});
    d.scores = scores ? matrix(rows, count) : kAbsent;
    d.loss = layout(GATUN_F32, {rows});
    d.dz = dz ? matrix(rows, depth) : kAbsent;
    d.dprototypes = dprototypes ? matrix(count, depth) : kAbsent;
    return d;
  }
};

struct Result {
  std::vector<float> loss, dz, dprototypes;
};

// What lies between rows keeps the value it had.
void untouched(const std::vector<float>& values, int64_t columns, int64_t padding) {
  int64_t changed = 0;
  for (size_t i = 0; i < values.size(); ++i) changed += static_cast<int64_t>(i) % (columns + padding) >= columns && values[i] != 7.0f;
  CHECK(changed == 0);
}

Result run_kernel(int threads, const Problem& p) {
  Device device(threads);
  const gatun_linear_cross_entropy_desc desc = p.desc();
  const Memory<float> z(spread(p.z, p.depth, p.padding)), prototypes(spread(p.prototypes, p.depth, p.padding));
  const Memory<float> soft(spread(p.targets, p.count, p.padding));
  const Memory<int32_t> labels(p.labels);
  const size_t rows = static_cast<size_t>(p.rows);
  Memory<float> loss(rows, 7.0f), dz(static_cast<size_t>(p.rows * (p.depth + p.padding)), 7.0f);
  Memory<float> dprototypes(static_cast<size_t>(p.count * (p.depth + p.padding)), 7.0f);
  Memory<float> scores(spread(p.given.empty() ? p.reference<float>().scores : p.given, p.count, p.padding));
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_linear_cross_entropy_workspace(device.stream(), &desc, &bytes, e); });
  Workspace workspace(bytes);
  const void* targets = p.labels.empty() ? static_cast<const void*>(soft.data()) : labels.data();
  run([&](gatun_error* e) {
    return gatun_linear_cross_entropy(device.stream(), &desc, z.data(), prototypes.data(), targets, p.scores ? scores.data() : nullptr, loss.data(),
                                      p.dz ? dz.data() : nullptr, p.dprototypes ? dprototypes.data() : nullptr, workspace.data(), bytes, e);
  });
  untouched(dz.values(), p.depth, p.padding);
  untouched(dprototypes.values(), p.depth, p.padding);
  return {loss.values(), pack(dz.values(), p.depth, p.padding), pack(dprototypes.values(), p.depth, p.padding)};
}

void check_against_reference(const Problem& p) {
  CAPTURE(p.rows);
  CAPTURE(p.count);
  CAPTURE(p.depth);
  const auto truth = p.reference<double>();
  const auto naive = p.reference<float>();
  const Result r = run_kernel(2, p);
  check_close(r.loss, truth.loss, naive.loss);
  if (p.dz) check_close(r.dz, truth.dz, naive.dz);
  if (p.dprototypes) check_close(r.dprototypes, truth.dprototypes, naive.dprototypes);
}

}  // namespace

TEST_CASE("linear_cross_entropy matches the double reference") {
  uint32_t seed = 0;
  // Single elements, odd sizes, views that share targets, several chunks of rows, which targets do not begin with.
  for (const auto& [rows, count, depth, views] : std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>{
           {1, 1, 1, 1}, {6, 7, 3, 2}, {33, 65, 17, 1}, {60, 300, 32, 4}, {16, 3000, 24, 2}, {150, 40000, 4, 2}}) {
    Problem p(rows, count, depth, ++seed, views);
    p.padding = seed % 3;
    check_against_reference(p);
    p.scores = true;
    check_against_reference(p);
    p.dz = false;
    check_against_reference(p);
    p.dprototypes = p.scores = false;
    check_against_reference(p);
    if (count > 10000) continue;
    Problem hard(rows, count, depth, ++seed, views);
    hard.label();
    hard.temperature = 0.7f;
    check_against_reference(hard);
  }
}

TEST_CASE("linear_cross_entropy reference gradients agree with finite differences") {
  const Problem p(4, 5, 3, 9, 2);
  const std::vector<double> z = widen(p.z), c = widen(p.prototypes), t = widen(p.targets);
  const auto objective = [&](const std::vector<double>& z, const std::vector<double>& c) {
    double sum = 0;
    for (const double loss : linear_cross_entropy_reference<double>(z, c, t, 3, 0.7, 0.25).loss) sum += 0.25 * loss;
    return sum;
  };
  const auto r = linear_cross_entropy_reference<double>(z, c, t, 3, 0.7, 0.25);
  for (size_t i = 0; i < z.size(); ++i) {
    CHECK(central_difference([&](const std::vector<double>& v) { return objective(v, c); }, z, i) == doctest::Approx(r.dz[i]).epsilon(1e-6));
  }
  for (size_t i = 0; i < c.size(); ++i) {
    CHECK(central_difference([&](const std::vector<double>& v) { return objective(z, v); }, c, i) == doctest::Approx(r.dprototypes[i]).epsilon(1e-6));
  }
}

TEST_CASE("linear_cross_entropy of masked rows, NaN, labels out of range, and nothing") {
  Problem p(4, 5, 2, 20);
  p.z = {1, 0, 0, 1, 0, 0, 1, 1};
  for (size_t k = 0; k < 5; ++k) p.prototypes[2 * k] = -std::numeric_limits<float>::infinity();
  p.z[2] = p.z[3] = 1;
  Result r = run_kernel(2, p);
  // every score of the first row is -inf; the third row's are 0 times -inf
  CHECK(r.loss[0] == 0.0f);
  CHECK(std::isnan(r.loss[2]));
  Problem q(3, 5, 2, 21);
  q.labels = {5, -1, 4};
  r = run_kernel(2, q);
  CHECK((std::isnan(r.loss[0]) && std::isnan(r.dz[0]) && r.loss[1] == 0.0f && r.dz[2] == 0.0f && r.dz[3] == 0.0f && std::isfinite(r.dz[4])));
  r = run_kernel(2, Problem(0, 5, 2, 22));
  CHECK(r.loss.empty());
  for (const float value : r.dprototypes) CHECK(value == 0.0f);
}

TEST_CASE("linear_cross_entropy of a row of scores that are -inf has no gradient, of one that is +inf no number") {
  for (const bool hard : {false, true}) {
    Problem p(2, 5, 2, 23);
    if (hard) p.label();
    p.scores = true;
    p.given = p.reference<float>().scores;
    std::fill_n(p.given.begin(), 5, -std::numeric_limits<float>::infinity());
    const Result r = run_kernel(2, p);
    CHECK((r.loss[0] == 0.0f && r.dz[0] == 0.0f && r.dz[1] == 0.0f && r.loss[1] > 0.0f && r.dz[2] != 0.0f));
    for (const float value : r.dprototypes) CHECK(std::isfinite(value));
    p.given[7] = std::numeric_limits<float>::infinity();
    CHECK(std::isnan(run_kernel(2, p).loss[1]));
  }
}

TEST_CASE("linear_cross_entropy finds the largest score wherever it is") {
  // Further from the others than exponentials reach: of a wrong largest score the sum would be infinite.
  for (const int64_t count : {1, 5, 16, 33, 67}) {
    CAPTURE(count);
    for (int64_t k = 0; k < count; ++k) {
      Problem p(2, count, 1, 24);
      p.temperature = 0.5f;
      p.z = {1, -1};
      std::fill(p.prototypes.begin(), p.prototypes.end(), -30.0f);
      p.prototypes[static_cast<size_t>(k)] = 60.0f;
      for (const bool hard : {false, true}) {
        if (hard) p.label();
        const auto truth = p.reference<double>();
        const Result r = run_kernel(2, p);
        for (size_t i = 0; i < 2; ++i) {
          CHECK(r.loss[i] == doctest::Approx(truth.loss[i]).epsilon(1e-5));
          CHECK(r.dz[i] == doctest::Approx(truth.dz[i]).epsilon(1e-5));
        }
      }
    }
  }
}

TEST_CASE("linear_cross_entropy carries a NaN to what depends on it, and to nothing else") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Two views of three targets: row n has target n mod 3.
  const auto nan_rows = [](const std::vector<float>& values, size_t columns) {
    std::vector<size_t> rows;
    for (size_t r = 0; r < values.size() / columns; ++r) {
      size_t count = 0;
      for (size_t c = 0; c < columns; ++c) count += std::isnan(values[r * columns + c]);
      CHECK((count == 0 || count == columns));
      if (count > 0) rows.push_back(r);
    }
    return rows;
  };
  using Indices = std::vector<size_t>;
  const Indices every = {0, 1, 2, 3, 4};
  for (const int64_t padding : {0, 3}) {
    Problem p(6, 5, 4, 50, 2);
    p.padding = padding;
    p.z[4 * 4 + 1] = nan;
    Result r = run_kernel(2, p);
    CHECK(nan_rows(r.loss, 1) == Indices{4});
    CHECK(nan_rows(r.dz, 4) == Indices{4});
    CHECK(nan_rows(r.dprototypes, 4) == every);

    p = Problem(6, 5, 4, 51, 2);
    p.padding = padding;
    p.targets[1 * 5 + 2] = nan;
    r = run_kernel(2, p);
    CHECK(nan_rows(r.loss, 1) == Indices{1, 4});
    CHECK(nan_rows(r.dz, 4) == Indices{1, 4});
    CHECK(nan_rows(r.dprototypes, 4) == every);

    p = Problem(6, 5, 4, 52, 2);
    p.padding = padding;
    p.prototypes[3 * 4] = nan;
    r = run_kernel(2, p);
    CHECK(nan_rows(r.loss, 1) == Indices{0, 1, 2, 3, 4, 5});
    CHECK(nan_rows(r.dz, 4) == Indices{0, 1, 2, 3, 4, 5});
    CHECK(nan_rows(r.dprototypes, 4) == every);
  }
}

TEST_CASE("linear_cross_entropy gives the same bits for any number of threads") {
  const Problem p(130, 20011, 20, 30, 2);
  const Result one = run_kernel(1, p);
  for (const int threads : {2, 3}) {
    const Result many = run_kernel(threads, p);
    CHECK(same_bits(one.loss, many.loss));
    CHECK(same_bits(one.dz, many.dz));
    CHECK(same_bits(one.dprototypes, many.dprototypes));
  }
}

TEST_CASE("linear_cross_entropy refuses bad descriptors with a message that names the operand") {
  Device device;
  const Problem p(6, 5, 3, 40);
  const auto attempt = [&](const auto& change, const char* part) {
    gatun_linear_cross_entropy_desc desc = p.desc();
    change(desc);
    size_t bytes = 0;
    refused(part, [&](gatun_error* e) { return gatun_linear_cross_entropy_workspace(device.stream(), &desc, &bytes, e); });
  };
  using Desc = gatun_linear_cross_entropy_desc;
  attempt([](Desc& d) { d.temperature = 0; }, "temperature is 0");
  attempt([](Desc& d) { d.factor = std::numeric_limits<float>::infinity(); }, "factor is inf");
  attempt([](Desc& d) { d.reserved = 3; }, "reserved is 3");
  attempt([](Desc& d) { d.z = layout(GATUN_F32, {6, 0}); }, "z has no elements");
  attempt([](Desc& d) { d.prototypes = layout(GATUN_F32, {5, 4}); }, "prototypes has shape (5, 4), expected (5, 3)");
  attempt([](Desc& d) { d.targets = layout(GATUN_F32, {4, 5}); }, "targets has 4 rows, which do not divide the 6 of z");
  attempt([](Desc& d) { d.targets = layout(GATUN_F32, {6, 4}); }, "targets has shape (6, 4), expected (6, 5)");
  attempt([](Desc& d) { d.scores = layout(GATUN_F32, {6, 6}); }, "scores has shape (6, 6), expected (6, 5)");
  attempt([](Desc& d) { d.loss = layout(GATUN_F32, {5}); }, "loss has shape (5), expected (6)");
  attempt([](Desc& d) { d.dz = layout(GATUN_F32, {5, 3}); }, "dz has shape (5, 3), expected (6, 3)");
  attempt([](Desc& d) { d.dprototypes = layout(GATUN_F32, {6, 3}); }, "dprototypes has shape (6, 3), expected (5, 3)");
  attempt([](Desc& d) { d.dprototypes = layout(GATUN_F32, {5, 3}, {2, 1}); }, "dprototypes");
}

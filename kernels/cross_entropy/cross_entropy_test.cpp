// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy/cross_entropy_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/strided.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr gatun_layout kAbsent{};

template <class T>
struct Result {
  std::vector<float> loss, lse;
  std::vector<T> dlogits;
};

struct Problem {
  int64_t rows, columns;
  float temperature = 1.0f;
  std::vector<float> logits, targets, dloss;
  std::vector<int32_t> labels;  // used instead of targets when there are any

  Problem(int64_t rows, int64_t columns, uint32_t seed, float temperature = 1.0f)
      : rows(rows), columns(columns), temperature(temperature), logits(normal(rows * columns, seed)),
        targets(normal(rows * columns, seed + 1000)), dloss(normal(rows, seed + 2000)) {
    for (float& t : targets) t = std::abs(t) / static_cast<float>(columns);
  }
  // Labels, and as soft targets what they stand for.
  void label() {
    std::fill(targets.begin(), targets.end(), 0.0f);
    for (int64_t r = 0; r < rows; ++r) {
      labels.push_back(static_cast<int32_t>(r % 5 == 4 ? -1 : r * 7 % columns));
      if (labels.back() >= 0) targets[static_cast<size_t>(r * columns + labels.back())] = 1.0f;
    }
  }
};

// padding: gap between rows of logits, targets and the gradient; keep: the forward pass leaves the backward one what it may
template <class T = float>
Result<T> run_kernel(int threads, const Problem& p, int64_t padding = 0, bool keep = true) {
  Device device(threads);
  const std::initializer_list<int64_t> shape{p.rows, p.columns}, strides{p.columns + padding, 1};
  const gatun_layout matrix = layout(kDtype<T>, shape, strides), line = layout(GATUN_F32, {p.rows});
  const gatun_layout targets = p.labels.empty() ? layout(GATUN_F32, shape, strides) : layout(GATUN_I32, {p.rows});
  const Memory<T> logits(spread(stored<T>(p.logits), p.columns, padding));
  const Memory<float> soft(spread(p.targets, p.columns, padding)), dloss(p.dloss);
  const Memory<int32_t> labels(p.labels);
  const void* data = p.labels.empty() ? static_cast<const void*>(soft.data()) : labels.data();
  const size_t rows = static_cast<size_t>(p.rows);
  Memory<float> loss(rows, 7.0f), lse(rows, 7.0f), kept(2 * rows, 7.0f);
  const gatun_layout pairs = keep ? layout(GATUN_F32, {2 * p.rows}) : kAbsent;
  float* const pairs_data = keep ? kept.data() : nullptr;
  Memory<T> dlogits(static_cast<size_t>(p.rows * (p.columns + padding)), T(7.0f));
  const gatun_cross_entropy_desc desc{sizeof desc, p.temperature, matrix, targets, line, line, pairs};
  run([&](gatun_error* e) {
    return gatun_cross_entropy_forward(device.stream(), &desc, logits.data(), data, loss.data(), lse.data(), pairs_data, e);
  });
  const gatun_cross_entropy_backward_desc back{sizeof back, p.temperature, matrix, targets, pairs, line, matrix};
  run([&](gatun_error* e) {
    return gatun_cross_entropy_backward(device.stream(), &back, logits.data(), data, pairs_data, dloss.data(), dlogits.data(), e);
  });
  return {loss.values(), lse.values(), pack(dlogits.values(), p.columns, padding)};
}

template <class T>
void check_against_reference(Problem p, int64_t padding) {
  p.logits = rounded<T>(p.logits);
  const size_t n = static_cast<size_t>(p.columns);
  const auto truth = cross_entropy_reference<double>(widen(p.logits), widen(p.targets), widen(p.dloss), n, p.temperature);
  const auto naive = cross_entropy_reference<float>(p.logits, p.targets, p.dloss, n, p.temperature);
  const Result<T> r = run_kernel<T>(2, p, padding);
  check_close(r.loss, truth.loss, naive.loss);
  check_close(r.lse, truth.lse, naive.lse);
  check_stored(r.dlogits, truth.dlogits, naive.dlogits);
}

}  // namespace

TEST_CASE_TEMPLATE("cross_entropy matches the double reference for soft targets and for labels", T, GATUN_STORAGES) {
  uint32_t seed = 0;
  // Rows of a few lanes, of a warp and of a block; packs and single elements; rows that registers cannot hold.
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 7}, {5, 16}, {17, 33}, {64, 304}, {9, 3000}, {1, 20008}, {1, 5001}}) {
    for (const float temperature : {1.0f, 0.1f, 4.0f}) {
      if (columns > 3000 && temperature != 0.1f) continue;
      CAPTURE(columns);
      CAPTURE(temperature);
      const int64_t padding = seed % 3 * 4;
      Problem p(rows, columns, ++seed, temperature);
      check_against_reference<T>(p, padding);
      for (float& v : p.logits) v += 50.0f;  // a common offset must not cost digits of the gradient
      check_against_reference<T>(p, padding);
      Problem hard(rows, columns, ++seed, temperature);
      hard.label();
      // Where there is no label the reference, of no targets at all, gives zeros too.
      check_against_reference<T>(hard, padding);
    }
  }
}

TEST_CASE("cross_entropy reference gradient agrees with finite differences") {
  const Problem p(2, 5, 3, 0.7f);
  const std::vector<double> x = widen(p.logits), t = widen(p.targets), g = widen(p.dloss);
  const auto objective = [&](const std::vector<double>& v) {
    const auto loss = cross_entropy_reference<double>(v, t, g, 5, 0.7).loss;
    return loss[0] * g[0] + loss[1] * g[1];
  };
  const auto gradient = cross_entropy_reference<double>(x, t, g, 5, 0.7).dlogits;
  for (size_t i = 0; i < 10; ++i) CHECK(central_difference(objective, x, i) == doctest::Approx(gradient[i]).epsilon(1e-6));
}

TEST_CASE("cross_entropy of masked classes, masked rows, NaN, and labels out of range") {
  Problem p(4, 5, 9);
  p.targets[0] = 0.0f;
  p.logits[0] = -kInfinity;  // masked without target: as if the class were not there
  for (size_t i = 5; i < 10; ++i) p.logits[i] = -kInfinity;
  p.logits[12] = std::numeric_limits<float>::quiet_NaN();
  const Result<float> r = run_kernel(2, p);
  const auto rest = cross_entropy_reference<double>({p.logits.begin() + 1, p.logits.begin() + 5}, {p.targets.begin() + 1, p.targets.begin() + 5}, {1.0}, 4, 1.0);
  CHECK(r.loss[0] == doctest::Approx(rest.loss[0]).epsilon(1e-6));
  CHECK(r.dlogits[0] == 0.0f);
  CHECK((r.loss[1] == 0.0f && r.lse[1] == -kInfinity));
  for (size_t i = 5; i < 10; ++i) CHECK(r.dlogits[i] == 0.0f);
  CHECK((std::isnan(r.loss[2]) && std::isnan(r.dlogits[10]) && std::isfinite(r.loss[3])));

  Problem q(3, 5, 10);
  q.labels = {5, -1, 4};
  const Result<float> hard = run_kernel(2, q);
  CHECK((std::isnan(hard.loss[0]) && std::isnan(hard.dlogits[0]) && std::isfinite(hard.loss[2])));
  CHECK(hard.loss[1] == 0.0f);
  for (size_t i = 5; i < 10; ++i) CHECK(hard.dlogits[i] == 0.0f);
  CHECK(run_kernel(2, Problem(0, 5, 1)).loss.empty());
}

TEST_CASE("cross_entropy: one upstream gradient for all rows, gradient in place, no lse") {
  Device device;
  Problem p(6, 9, 11);
  std::fill(p.dloss.begin(), p.dloss.end(), 0.25f);
  const Result<float> apart = run_kernel(2, p);
  const gatun_layout matrix = layout(GATUN_F32, {6, 9});
  const gatun_cross_entropy_backward_desc back{sizeof back, 1.0f, matrix, matrix, kAbsent, layout(GATUN_F32, {6}, {0}), matrix};
  Memory<float> logits(p.logits), loss(6, 7.0f);
  const Memory<float> targets(p.targets), dloss(std::vector<float>{0.25f});
  run([&](gatun_error* e) {
    return gatun_cross_entropy_backward(device.stream(), &back, logits.data(), targets.data(), nullptr, dloss.data(), logits.data(), e);
  });
  CHECK(same_bits(apart.dlogits, logits.values()));
  const Memory<float> again(p.logits);
  const gatun_cross_entropy_desc desc{sizeof desc, 1.0f, matrix, matrix, layout(GATUN_F32, {6}), kAbsent, kAbsent};
  run([&](gatun_error* e) { return gatun_cross_entropy_forward(device.stream(), &desc, again.data(), targets.data(), loss.data(), nullptr, nullptr, e); });
  CHECK(same_bits(apart.loss, loss.values()));
}

TEST_CASE("cross_entropy of rows whose largest logits come late, or only −inf before them") {
  for (const int64_t columns : {40, 1000, 9001}) {
    // Several rows: the yardstick's rounding of a single loss may happen to be none.
    Problem p(5, columns, 3, 0.5f);
    const size_t n = static_cast<size_t>(columns);
    for (size_t i = 0; i < p.logits.size(); ++i) p.logits[i] = static_cast<float>(i % n) * 0.01f;
    check_against_reference<float>(p, 0);
    for (size_t i = 0; i < p.logits.size(); ++i) {
      if (i % n >= n / 2) continue;
      p.logits[i] = -kInfinity;
      p.targets[i] = 0.0f;
    }
    check_against_reference<float>(p, 0);
    p.targets[1] = 0.5f;  // of a class that cannot be
    CHECK(run_kernel(2, p).loss[0] == kInfinity);
  }
}

TEST_CASE("cross_entropy gives the same gradient whether the forward pass kept something or not") {
  for (const int64_t columns : {1, 33, 300}) {
    for (const float temperature : {0.1f, 2.0f}) {
      Problem p(11, columns, 77, temperature);
      CHECK(same_bits(run_kernel(2, p, 3, true).dlogits, run_kernel(2, p, 3, false).dlogits));
      p.label();
      CHECK(same_bits(run_kernel(2, p, 0, true).dlogits, run_kernel(2, p, 0, false).dlogits));
    }
  }
}

TEST_CASE("cross_entropy gives the same bits for any number of threads") {
  const Problem p(203, 67, 5, 0.1f);
  const Result<float> one = run_kernel(1, p);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel(threads, p);
    CHECK(same_bits(one.loss, many.loss));
    CHECK(same_bits(one.dlogits, many.dlogits));
  }
}

TEST_CASE("cross_entropy refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(64);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4}), line = layout(GATUN_F32, {4});
  const auto attempt = [&](const gatun_cross_entropy_desc& desc, const char* part) {
    refused(part, [&](gatun_error* e) { return gatun_cross_entropy_forward(device.stream(), &desc, b.data(), b.data(), b.data(), b.data(), b.data(), e); });
  };
  constexpr uint32_t size = sizeof(gatun_cross_entropy_desc);
  attempt({size, -1.0f, matrix, matrix, line, line, {}}, "temperature is -1");
  attempt({size, 1e-40f, matrix, matrix, line, line, {}}, "must be positive and not subnormal");
  attempt({size, 1.0f, matrix, layout(GATUN_I32, {3}), line, line, {}}, "targets has shape (3), expected (4)");
  attempt({size, 1.0f, matrix, layout(GATUN_I64, {4}), line, line, {}}, "targets is i64");
  attempt({size, 1.0f, matrix, matrix, layout(GATUN_F32, {5}), line, {}}, "loss has shape (5), expected (4)");
  attempt({size, 1.0f, matrix, matrix, line, line, line}, "kept has shape (4), expected (8)");
}

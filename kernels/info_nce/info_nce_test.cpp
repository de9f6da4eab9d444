// SPDX-License-Identifier: Apache-2.0
#include <numeric>
#include <tuple>

#include "kernels/info_nce/info_nce_reference.h"
#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr gatun_layout kAbsent{};

class Workspace {
 public:
  Workspace(const Device& device, size_t bytes) : device_(device) {
    require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &memory_, e); });
  }
  ~Workspace() { gatun_memory_free(device_.context(), memory_, nullptr); }
  void* data() { return memory_; }

 private:
  const Device& device_;
  void* memory_ = nullptr;
};

struct Problem {
  bool self;
  int64_t queries, keys, depth;
  float temperature = 0.2f;
  std::vector<float> q, k, dloss;
  std::vector<int32_t> query_groups, key_groups;
  int64_t gap = 0;  // elements between two rows in memory, of every strided operand

  // Rows of about unit length; groups of a few rows each, some rows in none.
  Problem(bool self, int64_t queries, int64_t keys, int64_t depth, uint32_t seed, int32_t groups = 5)
      : self(self), queries(queries), keys(self ? queries : keys), depth(depth) {
    const float length = 1 / std::sqrt(static_cast<float>(depth));
    q = normal(queries * depth, seed, length);
    k = self ? q : normal(keys * depth, seed + 1000, length);
    dloss = normal(queries, seed + 2000);
    for (int64_t i = 0; i < queries; ++i) query_groups.push_back(i % 7 == 6 ? -1 : static_cast<int32_t>(i * 5 % groups));
    for (int64_t j = 0; j < this->keys; ++j) key_groups.push_back(j % 6 == 5 ? -2 : static_cast<int32_t>(j * 3 % groups));
    if (self) key_groups = query_groups;
  }
  void move_row(int64_t row, float value) {
    q[static_cast<size_t>(row * depth)] = value;
    if (self) k = q;
  }
  template <class T>
  InfoNceReference<T> reference() const {
    const auto as = [](const std::vector<float>& x) { return std::vector<T>(x.begin(), x.end()); };
    return info_nce_reference<T>(self, as(q), as(k), query_groups, key_groups, as(dloss), depth, static_cast<T>(temperature));
  }
};

struct Result {
  std::vector<float> loss, lse, dq, dk;
  std::vector<int32_t> positives;
};

constexpr float kUntouched = 12544.0f;  // in every storage type

std::vector<float> spread(const std::vector<float>& rows, int64_t depth, int64_t gap) {
  const int64_t count = static_cast<int64_t>(rows.size()) / depth;
  std::vector<float> out(static_cast<size_t>(count * (depth + gap)), kUntouched);
  for (int64_t r = 0; r < count; ++r) std::copy_n(rows.begin() + r * depth, depth, out.begin() + r * (depth + gap));
  return out;
}

// The rows alone; what lies between them must not have been written.
std::vector<float> gather(const std::vector<float>& memory, int64_t depth, int64_t gap) {
  std::vector<float> out;
  for (size_t i = 0; i < memory.size(); ++i) {
    if (static_cast<int64_t>(i) % (depth + gap) < depth) out.push_back(memory[i]);
    else CHECK(memory[i] == kUntouched);
  }
  return out;
}

template <class T = float>
Result run_kernel(const Problem& p, int threads = 2, bool want_dk = true) {
  Device device(threads);
  const int64_t stride = p.depth + p.gap;
  const gatun_layout q = layout(kDtype<T>, {p.queries, p.depth}, {stride, 1});
  const gatun_layout k = p.self ? kAbsent : layout(kDtype<T>, {p.keys, p.depth}, {stride, 1});
  const gatun_layout per_query = layout(GATUN_F32, {p.queries}), ids = layout(GATUN_I32, {p.queries});
  const gatun_layout key_ids = p.self ? kAbsent : layout(GATUN_I32, {p.keys});
  const auto rows = [&](const std::vector<float>& values) { return stored<T>(spread(values, p.depth, p.gap)); };
  const auto sevens = [&](const std::vector<float>& like) { return rows(std::vector<float>(like.size(), 7.0f)); };
  const Memory<T> q_rows(rows(p.q)), k_rows(rows(p.k));
  const Memory<int32_t> query_groups(p.query_groups), key_groups(p.key_groups);
  const void* k_data = p.self ? nullptr : k_rows.data();
  const void* key_group_data = p.self ? nullptr : key_groups.data();
  const size_t n = static_cast<size_t>(p.queries);
  Memory<float> loss(n, kUntouched), lse(n, kUntouched);
  Memory<int32_t> positives(n, -1);
  Memory<T> dq(sevens(p.q)), dk(sevens(p.k));
  const Memory<float> dloss(p.dloss);
  size_t bytes = 0;
  const gatun_info_nce_desc desc{sizeof desc, p.temperature, q, k, ids, key_ids, per_query, per_query, ids};
  run([&](gatun_error* e) { return gatun_info_nce_forward_workspace(device.stream(), &desc, &bytes, e); });
  Workspace forward(device, bytes);
  run([&](gatun_error* e) {
    return gatun_info_nce_forward(device.stream(), &desc, q_rows.data(), k_data, query_groups.data(), key_group_data, loss.data(), lse.data(),
                                  positives.data(), forward.data(), bytes, e);
  });
  const bool with_dk = want_dk && !p.self;
  const gatun_info_nce_backward_desc back{sizeof back, p.temperature, q, k, ids, key_ids, per_query, ids, per_query, q, with_dk ? k : kAbsent};
  run([&](gatun_error* e) { return gatun_info_nce_backward_workspace(device.stream(), &back, &bytes, e); });
  Workspace backward(device, bytes);
  run([&](gatun_error* e) {
    return gatun_info_nce_backward(device.stream(), &back, q_rows.data(), k_data, query_groups.data(), key_group_data, lse.data(),
                                   positives.data(), dloss.data(), dq.data(), with_dk ? dk.data() : nullptr, backward.data(), bytes, e);
  });
  return {loss.values(), lse.values(), gather(loaded(dq.values()), p.depth, p.gap), gather(loaded(dk.values()), p.depth, p.gap), positives.values()};
}

template <class T = float>
void check(Problem p) {
  CAPTURE(p.self);
  CAPTURE(p.queries);
  CAPTURE(p.keys);
  CAPTURE(p.depth);
  CAPTURE(p.temperature);
  p.q = rounded<T>(p.q);
  p.k = rounded<T>(p.k);
  const auto truth = p.reference<double>();
  const auto naive = p.reference<float>();
  const Result r = run_kernel<T>(p);
  check_close(r.loss, truth.loss, naive.loss);
  check_close(r.lse, truth.lse, naive.lse);
  CHECK(r.positives == truth.positives);
  check_stored(stored<T>(r.dq), truth.dq, naive.dq);
  if (!p.self) check_stored(stored<T>(r.dk), truth.dk, naive.dk);
}

bool same_bits(const Result& a, const Result& b) {
  return testing::same_bits(a.loss, b.loss) && testing::same_bits(a.lse, b.lse) && testing::same_bits(a.dq, b.dq) &&
         testing::same_bits(a.dk, b.dk) && a.positives == b.positives;
}

}  // namespace

TEST_CASE("info_nce matches the double reference in the self form") {
  uint32_t seed = 0;
#if defined(GATUN_CUDA)
  const std::vector<std::pair<int64_t, int64_t>> shapes{{1, 1}, {3, 16}, {65, 33}, {130, 20}, {20, 140}};
#else
  const std::vector<std::pair<int64_t, int64_t>> shapes{{1, 1},   {2, 3},  {3, 16},   {15, 7},    {64, 64}, {65, 33},
                                                        {130, 20}, {250, 9}, {257, 64}, {300, 128}, {97, 600}};
#endif
  for (const auto& [rows, depth] : shapes) {
    for (const float temperature : {1.0f, 0.07f}) {
      Problem p(true, rows, rows, depth, ++seed);
      p.temperature = temperature;
#if defined(GATUN_CUDA)
      p.gap = temperature < 1 ? 3 : 0;
#else
      check(p);
      p.gap = 3;
#endif
      check(p);
    }
  }
}

TEST_CASE("info_nce matches the double reference with two operands") {
  uint32_t seed = 100;
  for (const auto& [queries, keys, depth] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
#if defined(GATUN_CUDA)
           {1, 1, 1}, {3, 140, 17}, {129, 64, 24}, {9, 17, 260}, {5, 2200, 3}}) {  // the last: tiles that follow each other
#else
           {1, 1, 1}, {2, 5, 3}, {70, 3, 16}, {3, 300, 17}, {129, 64, 64}, {64, 257, 128}, {33, 40, 520}}) {
#endif
    Problem p(false, queries, keys, depth, ++seed);
#if !defined(GATUN_CUDA)
    check(p);
#endif
    p.gap = 5;
    check(p);
  }
}

#if defined(GATUN_CUDA)
TEST_CASE_TEMPLATE("info_nce on tensor cores matches the double reference", T, Bfloat16, Half) {
  uint32_t seed = 400;
  for (const auto& [queries, keys, depth] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 1, 1}, {5, 9, 8}, {140, 70, 33}, {30, 20, 136}}) {
    for (const bool self : {true, false}) {
      Problem p(self, queries, keys, depth, ++seed);
      p.gap = depth % 8 == 0 ? 8 : 3;  // rows that can be copied 16 bytes at a time, and others
      check<T>(p);
    }
  }
}
#endif

TEST_CASE("info_nce of many rows of one group, of large scores, and of large groups") {
#if defined(GATUN_CUDA)
  check(Problem(true, 150, 150, 12, 200, 1));
#else
  check(Problem(true, 513, 513, 32, 200, 1));
  check(Problem(false, 100, 700, 24, 201, 2));
#endif
  Problem scaled(true, 90, 90, 40, 202);
  for (float& x : scaled.q) x *= 20;  // scores of thousands
  scaled.k = scaled.q;
  check(scaled);
  // Largest scores so far apart within a tile that no common shift would do.
  Problem uneven(true, 200, 200, 24, 203);
  for (size_t i = 0; i < uneven.q.size(); ++i) uneven.q[i] *= i / 24 % 5 == 0 ? 9.0f : 0.01f;
  uneven.k = uneven.q;
  check(uneven);
}

TEST_CASE("info_nce without queries, keys, partners or positives") {
  CHECK(run_kernel(Problem(true, 0, 0, 4, 1)).loss.empty());
  const Result nothing = run_kernel(Problem(false, 0, 6, 4, 1));
  for (const float g : nothing.dk) CHECK(g == 0.0f);

  const Result no_keys = run_kernel(Problem(false, 5, 0, 4, 2));
  const Result alone = run_kernel(Problem(true, 1, 1, 4, 3));
  for (const Result& r : {no_keys, alone}) {
    for (const float x : r.loss) CHECK(x == 0.0f);
    for (const float x : r.lse) CHECK(x == -kInf);
    for (const int32_t x : r.positives) CHECK(x == 0);
    for (const float x : r.dq) CHECK(x == 0.0f);
  }

  Problem none(true, 40, 40, 8, 4);
  std::fill(none.query_groups.begin(), none.query_groups.end(), -1);
  none.key_groups = none.query_groups;
  const Result r = run_kernel(none);
  for (const float x : r.loss) CHECK(x == 0.0f);
  for (const float x : r.lse) CHECK(std::isfinite(x));
  for (const float x : r.dq) CHECK(x == 0.0f);

  // A row in no group has no loss of its own, and a gradient as the negative of the others.
  Problem one(true, 3, 3, 2, 5);
  one.query_groups = one.key_groups = {4, 4, -1};
  const Result mixed = run_kernel(one);
  CHECK(mixed.loss[2] == 0.0f);
  CHECK(mixed.positives == std::vector<int32_t>{1, 1, 0});
  CHECK(mixed.dq[4] != 0.0f);
  check(one);
}

TEST_CASE("info_nce: NaN reaches the losses of the rows that see it") {
  for (const int64_t rows : {5, 150}) {
    Problem p(false, rows, 140, 16, 300);
    p.move_row(3, kNan);
    const Result r = run_kernel(p);
    for (size_t i = 0; i < r.loss.size(); ++i) CHECK(std::isnan(r.loss[i]) == (i == 3));
    CHECK(std::isnan(r.dq[3 * 16 + 1]));
    CHECK(std::isfinite(r.dq[2 * 16 + 1]));
    CHECK(std::isnan(r.dk[1]));

    Problem self(true, rows, rows, 16, 301);
    self.move_row(3, kNan);
    const Result all = run_kernel(self);
    for (size_t i = 0; i < all.loss.size(); ++i) {
      CHECK(std::isnan(all.lse[i]));
      CHECK(std::isnan(all.loss[i]) == (all.positives[i] > 0));
    }
    CHECK(std::isnan(all.dq[0]));
  }
}

TEST_CASE("SimCLR: twins equal, all others orthogonal") {
  constexpr int64_t kPairs = 37;
  for (const float temperature : {0.1f, 0.5f}) {
    Problem p(true, 2 * kPairs, 2 * kPairs, kPairs, 1);
    p.temperature = temperature;
    std::fill(p.q.begin(), p.q.end(), 0.0f);
    for (int64_t i = 0; i < 2 * kPairs; ++i) {
      p.q[static_cast<size_t>(i * kPairs + i % kPairs)] = 1.0f;
      p.query_groups[static_cast<size_t>(i)] = static_cast<int32_t>(i % kPairs);
    }
    p.k = p.q;
    p.key_groups = p.query_groups;
    const double expected = std::log1p((2 * kPairs - 2) * std::exp(-1 / static_cast<double>(temperature)));
    // A sum of 2B - 1 powers has at most 2B - 2 roundings of half an ε, whatever their order; a few more for exponents and logarithm.
    const double allowed = (kPairs + 4) * static_cast<double>(std::numeric_limits<float>::epsilon());
    for (const float loss : run_kernel(p).loss) CHECK(std::abs(loss - expected) <= allowed);
  }
}

// Written from the paper's view of a batch: rows a_i and b_i, cross-entropy of a_i against [b; a without i] with target b_i.
TEST_CASE("SupCon with unique labels is SimCLR") {
  constexpr int64_t kPairs = 21, kDepth = 12;
  Problem p(true, 2 * kPairs, 2 * kPairs, kDepth, 17);
  for (int64_t i = 0; i < 2 * kPairs; ++i) p.query_groups[static_cast<size_t>(i)] = static_cast<int32_t>(900 - 3 * (i % kPairs));
  p.key_groups = p.query_groups;
  const Result r = run_kernel(p);
  const auto score = [&](int64_t i, int64_t j) {
    return std::inner_product(p.q.begin() + i * kDepth, p.q.begin() + (i + 1) * kDepth, p.q.begin() + j * kDepth, 0.0) / p.temperature;
  };
  double expected = 0, actual = 0;
  for (int64_t side = 0; side < 2; ++side) {
    for (int64_t i = 0; i < kPairs; ++i) {
      const int64_t a = side * kPairs + i, twin = (1 - side) * kPairs + i;
      double total = 0;
      for (int64_t j = 0; j < kPairs; ++j) {
        total += std::exp(score(a, (1 - side) * kPairs + j));
        if (j != i) total += std::exp(score(a, side * kPairs + j));
      }
      expected += (std::log(total) - score(a, twin)) / static_cast<double>(2 * kPairs);
    }
  }
  for (const float loss : r.loss) actual += static_cast<double>(loss) / static_cast<double>(2 * kPairs);
  CHECK(actual == doctest::Approx(expected).epsilon(1e-6));
}

TEST_CASE("info_nce reference gradient agrees with finite differences") {
  for (const bool self : {true, false}) {
    const Problem p(self, 7, 5, 3, 21, 3);
    const std::vector<double> q = widen(p.q), k = widen(p.k), g = widen(p.dloss);
    const auto objective = [&](const std::vector<double>& x, const std::vector<double>& y) {
      const auto loss = info_nce_reference<double>(self, x, self ? x : y, p.query_groups, p.key_groups, g, 3, 0.2).loss;
      return std::inner_product(loss.begin(), loss.end(), g.begin(), 0.0);
    };
    const auto gradients = info_nce_reference<double>(self, q, k, p.query_groups, p.key_groups, g, 3, 0.2);
    for (size_t i = 0; i < q.size(); ++i) {
      const double slope = central_difference([&](const std::vector<double>& x) { return objective(x, k); }, q, i);
      CHECK(std::abs(slope - gradients.dq[i]) < 1e-7);
    }
    for (size_t i = 0; i < k.size() && !self; ++i) {
      const double slope = central_difference([&](const std::vector<double>& x) { return objective(q, x); }, k, i);
      CHECK(std::abs(slope - gradients.dk[i]) < 1e-7);
    }
  }
}

TEST_CASE("info_nce gives the same bits for any number of threads") {
#if defined(GATUN_CUDA)
  const std::vector<Problem> problems{Problem(true, 130, 130, 3, 31)};
#else
  const std::vector<Problem> problems{Problem(true, 700, 700, 24, 31), Problem(false, 300, 500, 33, 32)};
#endif
  for (const Problem& p : problems) {
    const Result one = run_kernel(p, 1);
    CHECK(same_bits(one, run_kernel(p, 2)));
    CHECK(same_bits(one, run_kernel(p, 3)));
  }
}

TEST_CASE("info_nce: outputs left out, one upstream gradient for all rows") {
  Problem p(false, 20, 30, 9, 41);
  std::fill(p.dloss.begin(), p.dloss.end(), 0.05f);
  const Result full = run_kernel(p);
  const Result fixed_keys = run_kernel(p, 2, false);
  CHECK(testing::same_bits(full.dq, fixed_keys.dq));
  for (const float x : fixed_keys.dk) CHECK(x == 7.0f);

  Device device;
  const gatun_layout q = layout(GATUN_F32, {20, 9}), k = layout(GATUN_F32, {30, 9}), line = layout(GATUN_F32, {20});
  const gatun_layout ids = layout(GATUN_I32, {20}), key_ids = layout(GATUN_I32, {30});
  Workspace workspace(device, 1 << 20);
  const Memory<float> p_q(p.q), p_k(p.k), lse(full.lse), dloss(p.dloss);
  const Memory<int32_t> query_groups(p.query_groups), key_groups(p.key_groups), positives(full.positives);
  Memory<float> loss(20, 7.0f), dq(180, 7.0f);
  const gatun_info_nce_desc desc{sizeof desc, p.temperature, q, k, ids, key_ids, line, kAbsent, kAbsent};
  run([&](gatun_error* e) {
    return gatun_info_nce_forward(device.stream(), &desc, p_q.data(), p_k.data(), query_groups.data(), key_groups.data(), loss.data(), nullptr,
                                  nullptr, workspace.data(), 1 << 20, e);
  });
  CHECK(testing::same_bits(loss.values(), full.loss));
  const gatun_info_nce_backward_desc back{sizeof back, p.temperature, q, k, ids, key_ids, line, ids, layout(GATUN_F32, {20}, {0}), q, kAbsent};
  run([&](gatun_error* e) {
    return gatun_info_nce_backward(device.stream(), &back, p_q.data(), p_k.data(), query_groups.data(), key_groups.data(), lse.data(),
                                   positives.data(), dloss.data(), dq.data(), nullptr, workspace.data(), 1 << 20, e);
  });
  CHECK(testing::same_bits(dq.values(), full.dq));
}

TEST_CASE("info_nce never holds the matrix of scores") {
  Device device;
  constexpr int64_t kMany = 16384;
  const gatun_layout q = layout(GATUN_F32, {kMany, 16}), line = layout(GATUN_F32, {kMany}), ids = layout(GATUN_I32, {kMany});
  size_t forward = 0, backward = 0;
  const gatun_info_nce_desc desc{sizeof desc, 0.1f, q, kAbsent, ids, kAbsent, line, line, ids};
  run([&](gatun_error* e) { return gatun_info_nce_forward_workspace(device.stream(), &desc, &forward, e); });
  const gatun_info_nce_backward_desc back{sizeof back, 0.1f, q, kAbsent, ids, kAbsent, line, ids, line, q, kAbsent};
  run([&](gatun_error* e) { return gatun_info_nce_backward_workspace(device.stream(), &back, &backward, e); });
  CHECK(forward < kMany * kMany * sizeof(float) / 100);
  CHECK(backward < kMany * kMany * sizeof(float) / 100);
}

TEST_CASE("info_nce refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> b(256);
  std::vector<int32_t> g(16);
  Workspace workspace(device, 1 << 20);
  const gatun_layout rows = layout(GATUN_F32, {4, 4}), line = layout(GATUN_F32, {4}), ids = layout(GATUN_I32, {4});
  const auto attempt = [&](const gatun_info_nce_desc& desc, const char* part, size_t bytes = 1 << 20) {
    refused(part, [&](gatun_error* e) {
      const bool self = desc.k.dtype == GATUN_NONE;
      return gatun_info_nce_forward(device.stream(), &desc, b.data(), self ? nullptr : b.data(), g.data(), self ? nullptr : g.data(),
                                    b.data() + 64, b.data() + 96, g.data() + 8, workspace.data(), bytes, e);
    });
  };
  constexpr uint32_t size = sizeof(gatun_info_nce_desc);
  attempt({size, 0.0f, rows, kAbsent, ids, kAbsent, line, line, ids}, "temperature is 0");
  attempt({size, kNan, rows, kAbsent, ids, kAbsent, line, line, ids}, "temperature is nan");
  attempt({size, 1.0f, line, kAbsent, ids, kAbsent, line, line, ids}, "q");
  attempt({size, 1.0f, layout(GATUN_F32, {4, 0}), kAbsent, ids, kAbsent, line, line, ids}, "at least one element");
  attempt({size, 1.0f, layout(GATUN_F32, {4, 4}, {1, 4}), kAbsent, ids, kAbsent, line, line, ids}, "q");
  attempt({size, 1.0f, rows, layout(GATUN_F32, {4, 5}), ids, ids, line, line, ids}, "k has shape (4, 5), expected (4, 4)");
  attempt({size, 1.0f, rows, kAbsent, layout(GATUN_I64, {4}), kAbsent, line, line, ids}, "query_groups is i64");
  attempt({size, 1.0f, rows, kAbsent, layout(GATUN_I32, {5}), kAbsent, line, line, ids}, "query_groups has shape (5), expected (4)");
  attempt({size, 1.0f, rows, kAbsent, ids, ids, line, line, ids}, "key_groups are given without k");
  attempt({size, 1.0f, rows, rows, ids, layout(GATUN_I32, {3}), line, line, ids}, "key_groups has shape (3), expected (4)");
  attempt({size, 1.0f, rows, kAbsent, ids, kAbsent, layout(GATUN_F32, {3}), line, ids}, "loss has shape (3), expected (4)");
  attempt({size, 1.0f, rows, kAbsent, ids, kAbsent, line, line, line}, "positives is f32");
  attempt({size, 1.0f, rows, kAbsent, ids, kAbsent, line, line, ids}, "workspace has 16 bytes", 16);

  const auto backward = [&](const gatun_info_nce_backward_desc& desc, const char* part) {
    size_t bytes = 0;
    refused(part, [&](gatun_error* e) { return gatun_info_nce_backward_workspace(device.stream(), &desc, &bytes, e); });
  };
  constexpr uint32_t back = sizeof(gatun_info_nce_backward_desc);
  backward({back, 1.0f, rows, kAbsent, ids, kAbsent, line, ids, line, rows, rows}, "dk is given without k");
  backward({back, 1.0f, rows, kAbsent, ids, kAbsent, line, ids, line, layout(GATUN_F32, {3, 4}), kAbsent}, "dq");
  backward({back, 1.0f, rows, kAbsent, ids, kAbsent, kAbsent, ids, line, rows, kAbsent}, "lse");
  backward({back, 1.0f, rows, kAbsent, ids, kAbsent, line, ids, line, layout(GATUN_F32, {4, 4}, {0, 1}), kAbsent}, "dq");
}

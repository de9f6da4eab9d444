// SPDX-License-Identifier: Apache-2.0
// The forward pass of sm_90a, which is not chosen by itself yet: asked for here, on the emulated device or on one that has it.
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_reference.h"

#include <cstdlib>
#include <limits>
#include <string>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

class Chosen {
 public:
  Chosen() : before_(std::getenv("GATUN_HOPPER") != nullptr ? std::getenv("GATUN_HOPPER") : "") { setenv("GATUN_HOPPER", "1", 1); }
  ~Chosen() { before_.empty() ? unsetenv("GATUN_HOPPER") : setenv("GATUN_HOPPER", before_.c_str(), 1); }

 private:
  std::string before_;
};

template <class S>
struct DeviceType;
template <>
struct DeviceType<Half> {
  using Type = __half;
};
template <>
struct DeviceType<Bfloat16> {
  using Type = __nv_bfloat16;
};

// q, k and v are views of one (B, N, 3, H, D) buffer where queries and keys are as many.
struct Shape {
  int64_t batch, queries, keys, heads, depth;
  bool causal = false, biased = false;
  int64_t row() const { return (queries == keys ? 3 : 1) * heads * depth; }
  int64_t part(int i) const { return queries == keys ? i * heads * depth : 0; }
};

template <class S>
bool taken(const Shape& n, const S* data) {
  using T = typename DeviceType<S>::Type;
  AttentionProblem<T> p{};
  p.batch = n.batch, p.heads = n.heads, p.queries = n.queries, p.keys = n.keys, p.depth = n.depth;
  const auto view = [&](int64_t rows) { return HeadView<const T>{reinterpret_cast<const T*>(data), rows * n.row(), n.row(), n.depth}; };
  p.q = view(n.queries);
  p.k = p.v = view(n.keys);
  return attention::hopper_takes(p);
}

template <class S>
void check_forward(const Shape& n, uint32_t seed, float key_scale = 1) {
  CAPTURE(n.batch); CAPTURE(n.queries); CAPTURE(n.keys); CAPTURE(n.heads); CAPTURE(n.depth); CAPTURE(n.causal); CAPTURE(n.biased);
  const Chosen chosen;
  const Device device(2);
  const auto count = [](int64_t values) { return static_cast<size_t>(values); };
  std::vector<float> q = rounded<S>(normal(n.batch * n.queries * n.row(), seed));
  std::vector<float> k = n.queries == n.keys ? q : rounded<S>(normal(n.batch * n.keys * n.row(), seed + 1));
  for (float& x : k) x = static_cast<float>(S(x * key_scale));
  if (n.queries == n.keys) q = k;
  const std::vector<float> v = n.queries == n.keys ? q : rounded<S>(normal(n.batch * n.keys * n.row(), seed + 2));
  const std::vector<float> bias = normal(n.biased ? n.heads * n.queries * n.keys : 0, seed + 3);
  const Memory<S> q_memory(stored<S>(q)), k_memory(stored<S>(k)), v_memory(stored<S>(v));
  const Memory<float> bias_memory(bias);
  Memory<S> out(count(n.batch * n.queries * n.heads * n.depth), S(7.0f));
  Memory<float> lse(count(n.batch * n.heads * n.queries), 7.0f);
  REQUIRE(taken(n, q_memory.data()));

  const auto operand = [&](int64_t rows) {
    return layout(kDtype<S>, {n.batch, rows, n.heads, n.depth}, {rows * n.row(), n.row(), n.depth, 1});
  };
  const float scale = 1 / std::sqrt(static_cast<float>(n.depth));
  const gatun_layout bias_layout = n.biased ? layout(GATUN_F32, {1, n.heads, n.queries, n.keys}) : gatun_layout{};
  const gatun_attention_desc desc{sizeof desc, n.causal, scale, 0, operand(n.queries), operand(n.keys), operand(n.keys), bias_layout, {}, {},
                                  layout(kDtype<S>, {n.batch, n.queries, n.heads, n.depth}), layout(GATUN_F32, {n.batch, n.heads, n.queries})};
  run([&](gatun_error* e) {
    return gatun_attention_forward(device.stream(), &desc, q_memory.data() + n.part(0), k_memory.data() + n.part(1), v_memory.data() + n.part(2),
                                   n.biased ? bias_memory.data() : nullptr, nullptr, nullptr, out.data(), lse.data(), nullptr, 0, e);
  });

  const std::vector<float> results = loaded(out.values()), statistics = lse.values();
  std::vector<double> truth, truth_lse;
  std::vector<float> naive, naive_lse, result;
  const AttentionSize size{n.queries, n.keys, n.depth, n.causal};
  const auto round = [](float x) { return static_cast<float>(S(x)); };
  for (int64_t b = 0; b < n.batch; ++b) {
    for (int64_t h = 0; h < n.heads; ++h) {
      const auto take = [&](const std::vector<float>& from, int64_t rows, int part) {
        std::vector<float> to;
        for (int64_t r = 0; r < rows; ++r) {
          const auto at = from.begin() + (b * rows + r) * n.row() + n.part(part) + h * n.depth;
          to.insert(to.end(), at, at + n.depth);
        }
        return to;
      };
      const std::vector<float> head_q = take(q, n.queries, 0), head_k = take(k, n.keys, 1), head_v = take(v, n.keys, 2);
      const std::vector<double> wide_bias(bias.begin(), bias.end());
      const int64_t bias_at = n.biased ? h * n.queries * n.keys : 0;
      std::vector<double> o(count(n.queries * n.depth)), l(count(n.queries));
      std::vector<float> naive_o(o.size()), naive_l(l.size());
      attention_reference<double>(size, static_cast<double>(scale), widen(head_q).data(), widen(head_k).data(), widen(head_v).data(),
                                  n.biased ? wide_bias.data() + bias_at : nullptr, o.data(), l.data(), Unrounded{});
      attention_reference<float>(size, scale, head_q.data(), head_k.data(), head_v.data(), n.biased ? bias.data() + bias_at : nullptr, naive_o.data(),
                                 naive_l.data(), round);
      truth.insert(truth.end(), o.begin(), o.end());
      naive.insert(naive.end(), naive_o.begin(), naive_o.end());
      truth_lse.insert(truth_lse.end(), l.begin(), l.end());
      naive_lse.insert(naive_lse.end(), naive_l.begin(), naive_l.end());
      for (int64_t r = 0; r < n.queries; ++r) {
        const auto at = results.begin() + ((b * n.queries + r) * n.heads + h) * n.depth;
        result.insert(result.end(), at, at + n.depth);
      }
    }
  }
  check_stored(stored<S>(result), truth, naive);
  check_close(statistics, truth_lse, naive_lse);
}

}  // namespace

TEST_CASE_TEMPLATE("attention of sm_90a: more items than blocks, tails of queries and keys, head dimensions that fill their tiles and do not", S,
                   Bfloat16, Half) {
  uint32_t seed = 9000;
  for (const bool causal : {false, true}) {
    check_forward<S>({.batch = 2, .queries = 197, .keys = 197, .heads = 2, .depth = 64, .causal = causal}, seed += 5);
    check_forward<S>({.batch = 1, .queries = 70, .keys = 300, .heads = 1, .depth = 128, .causal = causal}, seed += 5);
    check_forward<S>({.batch = 2, .queries = 130, .keys = 33, .heads = 1, .depth = 96, .causal = causal}, seed += 5);
    check_forward<S>({.batch = 1, .queries = 1, .keys = 257, .heads = 5, .depth = 40, .causal = causal}, seed += 5);
  }
}

TEST_CASE("attention of sm_90a with a bias, with scores of hundreds") {
  check_forward<Bfloat16>({.batch = 2, .queries = 66, .keys = 131, .heads = 2, .depth = 64, .causal = true, .biased = true}, 9100);
  check_forward<Half>({.batch = 1, .queries = 140, .keys = 140, .heads = 1, .depth = 72}, 9200, 16);
}

TEST_CASE("attention of sm_90a is left to the others where it does not suit") {
  const Chosen chosen;
  const Memory<Half> memory(64, Half(1.0f));
  CHECK(taken<Half>({.batch = 1, .queries = 2, .keys = 3, .heads = 1, .depth = 64}, memory.data()));
  CHECK(!taken<Half>({.batch = 1, .queries = 2, .keys = 3, .heads = 1, .depth = 32}, memory.data()));
  CHECK(!taken<Half>({.batch = 1, .queries = 2, .keys = 3, .heads = 1, .depth = 60}, memory.data()));
  CHECK(!taken<Half>({.batch = 1, .queries = 2, .keys = 3, .heads = 1, .depth = 64}, memory.data() + 1));
  CHECK(!taken<Half>({.batch = 1, .queries = 2, .keys = 0, .heads = 1, .depth = 64}, memory.data()));
  setenv("GATUN_HOPPER", "0", 1);
  CHECK(!taken<Half>({.batch = 1, .queries = 2, .keys = 3, .heads = 1, .depth = 64}, memory.data()));
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/gemm_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

struct Problem {
  int64_t m, n, k;
  bool transpose_a, transpose_b;

  gatun_gemm_desc desc(int32_t dtype, int32_t c_dtype, float alpha, float beta) const {
    const auto stored = [&](int64_t rows, int64_t columns, bool transposed) {
      return transposed ? layout(dtype, {rows, columns}, {1, rows}) : layout(dtype, {rows, columns});
    };
    return {sizeof(gatun_gemm_desc), alpha, beta, 0, stored(m, k, transpose_a), stored(k, n, transpose_b), layout(c_dtype, {m, n})};
  }
  ShapeText text() const { return ShapeText{m, n, k}.text + (transpose_a ? " t" : " n") + (transpose_b ? "t" : "n"); }
};

template <class T>
std::vector<T> reference(const Problem& p, float alpha, float beta, const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c) {
  const std::vector<T> left(a.begin(), a.end()), right(b.begin(), b.end());
  std::vector<T> result(c.begin(), c.end());
  gemm_reference<T>(p.transpose_a, p.transpose_b, p.m, p.n, p.k, alpha, left.data(), p.transpose_a ? p.m : p.k, right.data(),
                    p.transpose_b ? p.k : p.n, beta, result.data(), p.n);
  return result;
}

// The CPU's product is a library's, which is not at hand here; its cutting into tiles is what is tested.
gatun_sgemm product(const Device& device) { return device.cpu() ? sgemm_reference : nullptr; }

template <class T, class C>
void compare(Selftest& s, const Problem& p) {
  const float alpha = 0.75f, beta = s.chance(0.5) ? 0.0f : 1.5f;
  const auto a = testing::rounded<T>(s.normal(p.m * p.k)), b = testing::rounded<T>(s.normal(p.k * p.n)), c = testing::rounded<C>(s.normal(p.m * p.n));
  const Buffer<T> left(s.device(), testing::stored<T>(a)), right(s.device(), testing::stored<T>(b));
  Buffer<C> result(s.device(), testing::stored<C>(c));
  const auto desc = p.desc(testing::kDtype<T>, testing::kDtype<C>, alpha, beta);
  call([&](gatun_error* e) { return gatun_gemm(s.stream(), &desc, product(s.device()), left.data(), right.data(), result.data(), e); });
  s.check(std::is_same_v<T, C> ? "product" : "product, f32 result", dtype<T>(), p.text(), result.values(), reference<double>(p, alpha, beta, a, b, c),
          reference<float>(p, alpha, beta, a, b, c));
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const Problem p{s.extent(1, 400), s.extent(1, 400), s.extent(1, 500), s.chance(0.5), s.chance(0.5)};
    for_each_storage(s.device(), [&](auto element) {
      using T = decltype(element);
      compare<T, T>(s, p);
      if constexpr (!std::is_same_v<T, float>) compare<T, float>(s, p);
    });
  }
}

void bench(Bench& b) {
  if (b.device().cpu()) return;
  // ViT-B's linear layers at batch 64: forward, gradient of the input, gradient of the weights; and a square.
  const std::vector<Problem> problems = b.emulated() ? std::vector<Problem>{{40, 64, 32, false, true}}
                                                     : std::vector<Problem>{{12608, 3072, 768, false, true}, {12608, 768, 3072, false, true}, {12608, 768, 3072, false, false},
                                                                            {3072, 768, 12608, true, false}, {4096, 4096, 4096, false, true}};
  for (const Problem& p : problems) {
    for_each_storage(b.device(), [&](auto element) {
      using T = decltype(element);
      const double m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.k);
      const Cost cost{.flops = 2 * m * n * k, .bytes = sizeof(T) * (m * k + k * n + m * n), .tensor_cores = !std::is_same_v<T, float>};
      b.row("product", dtype<T>(), p.text(), cost, [&](Run& run) {
        Rotating<T> left = run.normal<T>(p.m * p.k), right = run.normal<T>(p.k * p.n), result = run.empty<T>(p.m * p.n);
        const auto desc = p.desc(testing::kDtype<T>, testing::kDtype<T>, 1, 0);
        run.time([&](int i, gatun_error* e) { return gatun_gemm(run.stream(), &desc, nullptr, left[i], right[i], result[i], e); });
      });
    });
  }
}

GATUN_TRIALS(gemm, selftest, bench);

}  // namespace
}  // namespace gatun::trial

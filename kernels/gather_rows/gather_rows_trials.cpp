// SPDX-License-Identifier: Apache-2.0
#include "kernels/gather_rows/gather_rows_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

std::vector<int32_t> random_indices(int64_t count, int64_t rows, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<int32_t> indices(static_cast<size_t>(count));
  for (int32_t& index : indices) index = static_cast<int32_t>(generator() % static_cast<uint32_t>(rows));
  return indices;
}

struct Shape {
  int64_t rows, count, columns;
  gatun_gather_rows_desc forward(int32_t dtype) const {
    return {sizeof(gatun_gather_rows_desc), 0, layout(dtype, {rows, columns}), layout(GATUN_I32, {count}), layout(dtype, {count, columns})};
  }
  gatun_gather_rows_backward_desc backward(int32_t dtype) const {
    return {sizeof(gatun_gather_rows_backward_desc), 0, layout(dtype, {count, columns}), layout(GATUN_I32, {count}), layout(dtype, {rows, columns})};
  }
  ShapeText text() const { return ShapeText{rows, columns}.text + " rows " + std::to_string(count); }
};

template <class T>
void compare(Selftest& s, const Shape& p) {
  const auto x = testing::rounded<T>(s.normal(p.rows * p.columns)), dy = testing::rounded<T>(s.normal(p.count * p.columns));
  const std::vector<int32_t> indices = random_indices(p.count, p.rows, s.seed());
  std::vector<float> y(dy.size()), naive(x.size());
  std::vector<double> truth(x.size());
  gather_rows_reference<float>(x.data(), indices.data(), y.data(), p.count, p.columns);
  gather_rows_backward_reference<double>(testing::widen(dy).data(), indices.data(), truth.data(), p.rows, p.count, p.columns);
  gather_rows_backward_reference<float>(dy.data(), indices.data(), naive.data(), p.rows, p.count, p.columns);
  const Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy));
  const Buffer<int32_t> where(s.device(), indices);
  Buffer<T> out(s.device(), dy.size()), dx(s.device(), x.size());
  const auto forward = p.forward(testing::kDtype<T>);
  call([&](gatun_error* e) { return gatun_gather_rows_forward(s.stream(), &forward, in.data(), where.data(), out.data(), e); });
  s.check_equal("forward", dtype<T>(), p.text(), out.values(), testing::stored<T>(y));
  const auto backward = p.backward(testing::kDtype<T>);
  call([&](gatun_error* e) { return gatun_gather_rows_backward(s.stream(), &backward, gradient.data(), where.data(), dx.data(), e); });
  s.check("backward", dtype<T>(), p.text(), dx.values(), truth, naive);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const bool many = s.chance(0.5);  // short rows, or few long ones
    const Shape p{s.extent(1, many ? 500 : 8), s.extent(1, many ? 1500 : 12), s.extent(1, many ? 300 : 12000)};
    for_each_storage(s.device(), [&](auto element) { compare<decltype(element)>(s, p); });
  }
}

void bench(Bench& b) {
  // Half the samples of a batch of tokens, and the vectors of a memory.
  const std::vector<Shape> shapes = b.emulated() ? std::vector<Shape>{{16, 8, 96}} : b.device().cpu() ? std::vector<Shape>{{64, 32, 197 * 192}, {4096, 4096, 128}}
                                                                                                   : std::vector<Shape>{{256, 128, 197 * 768}, {65536, 8192, 256}};
  for (const Shape& p : shapes) {
    for_each_storage(b.device(), [&](auto element) {
      using T = decltype(element);
      const double moved = static_cast<double>(p.count * p.columns) * sizeof(T), all = static_cast<double>(p.rows * p.columns) * sizeof(T);
      const std::vector<int32_t> indices = random_indices(p.count, p.rows, 1);
      b.row("forward", dtype<T>(), p.text(), {.bytes = 2 * moved}, [&](Run& run) {
        Rotating<T> x = run.normal<T>(p.rows * p.columns), y = run.empty<T>(p.count * p.columns);
        Rotating<int32_t> where = run.filled(indices);
        const auto desc = p.forward(testing::kDtype<T>);
        run.time([&](int i, gatun_error* e) { return gatun_gather_rows_forward(run.stream(), &desc, x[i], where[i], y[i], e); });
      });
      b.row("backward", dtype<T>(), p.text(), {.flops = static_cast<double>(p.count * p.columns), .bytes = moved + all}, [&](Run& run) {
        Rotating<T> dy = run.normal<T>(p.count * p.columns), dx = run.empty<T>(p.rows * p.columns);
        Rotating<int32_t> where = run.filled(indices);
        const auto desc = p.backward(testing::kDtype<T>);
        run.time([&](int i, gatun_error* e) { return gatun_gather_rows_backward(run.stream(), &desc, dy[i], where[i], dx[i], e); });
      });
    });
  }
}

GATUN_TRIALS(gather_rows, selftest, bench);

}  // namespace
}  // namespace gatun::trial

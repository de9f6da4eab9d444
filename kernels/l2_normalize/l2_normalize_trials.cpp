// SPDX-License-Identifier: Apache-2.0
#include "kernels/l2_normalize/l2_normalize_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kEpsilon = 1e-12f;

gatun_l2_normalize_desc forward_desc(int64_t rows, int64_t columns) {
  return {sizeof(gatun_l2_normalize_desc), kEpsilon, layout(GATUN_F32, {rows, columns}), layout(GATUN_F32, {rows, columns}), layout(GATUN_F32, {rows})};
}

gatun_l2_normalize_backward_desc backward_desc(int64_t rows, int64_t columns) {
  const gatun_layout matrix = layout(GATUN_F32, {rows, columns});
  return {sizeof(gatun_l2_normalize_backward_desc), kEpsilon, matrix, layout(GATUN_F32, {rows}), matrix, matrix};
}

template <class T>
struct Reference {
  std::vector<T> y, norm, dx;
  Reference(const std::vector<float>& x, const std::vector<float>& dy, int64_t rows, int64_t columns)
      : y(x.size()), norm(static_cast<size_t>(rows)), dx(x.size()) {
    const std::vector<T> in(x.begin(), x.end()), gradient(dy.begin(), dy.end());
    l2_normalize_reference<T>(in.data(), y.data(), norm.data(), rows, columns, kEpsilon);
    l2_normalize_backward_reference<T>(y.data(), norm.data(), gradient.data(), dx.data(), rows, columns, kEpsilon);
  }
};

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const int64_t rows = s.extent(1, 300), columns = s.extent(1, 2000);
    const std::vector<float> x = s.normal(rows * columns), dy = s.normal(rows * columns);
    const Reference<double> truth(x, dy, rows, columns);
    const Reference<float> naive(x, dy, rows, columns);
    Buffer<float> in(s.device(), x), gradient(s.device(), dy), y(s.device(), x.size()), norm(s.device(), static_cast<size_t>(rows)), dx(s.device(), x.size());
    const auto forward = forward_desc(rows, columns);
    call([&](gatun_error* e) { return gatun_l2_normalize_forward(s.stream(), &forward, in.data(), y.data(), norm.data(), e); });
    s.check("forward", "f32", {rows, columns}, y.values(), truth.y, naive.y);
    const auto backward = backward_desc(rows, columns);
    call([&](gatun_error* e) { return gatun_l2_normalize_backward(s.stream(), &backward, y.data(), norm.data(), gradient.data(), dx.data(), e); });
    s.check("backward", "f32", {rows, columns}, dx.values(), truth.dx, naive.dx);
  }
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; };
  const std::vector<Shape> shapes = b.emulated() ? std::vector<Shape>{{64, 128}} : std::vector<Shape>{{4096, 128}, {65536, 256}};
  for (const auto [rows, columns] : shapes) {
    const double n = static_cast<double>(rows * columns);
    b.row("forward", "f32", {rows, columns}, {.flops = 3 * n, .bytes = 8 * n}, [&, rows, columns](Run& run) {
      Rotating<float> x = run.normal<float>(rows * columns), y = run.empty<float>(rows * columns), norm = run.empty<float>(rows);
      const auto desc = forward_desc(rows, columns);
      run.time([&](int i, gatun_error* e) { return gatun_l2_normalize_forward(run.stream(), &desc, x[i], y[i], norm[i], e); });
    });
    b.row("backward", "f32", {rows, columns}, {.flops = 5 * n, .bytes = 12 * n}, [&, rows, columns](Run& run) {
      Rotating<float> y = run.normal<float>(rows * columns, 0.1f), dy = run.normal<float>(rows * columns), dx = run.empty<float>(rows * columns);
      Rotating<float> norm = run.filled(std::vector<float>(static_cast<size_t>(rows), 1.5f));
      const auto desc = backward_desc(rows, columns);
      run.time([&](int i, gatun_error* e) { return gatun_l2_normalize_backward(run.stream(), &desc, y[i], norm[i], dy[i], dx[i], e); });
    });
  }
}

GATUN_TRIALS(l2_normalize, selftest, bench);

}  // namespace
}  // namespace gatun::trial

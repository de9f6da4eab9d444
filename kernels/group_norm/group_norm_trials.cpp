// SPDX-License-Identifier: Apache-2.0
#include "kernels/group_norm/group_norm_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kEpsilon = 1e-5f;

struct Shape {
  int64_t samples, positions, channels, groups;
  int64_t elements() const { return samples * positions * channels; }
  ShapeText text() const { return ShapeText({samples, positions, channels}) + (" groups " + std::to_string(groups)).c_str(); }
};

template <class T>
struct Descriptors {
  gatun_layout image, line, statistics;
  gatun_group_norm_desc forward;
  gatun_group_norm_backward_desc backward;
  explicit Descriptors(const Shape& s)
      : image(layout(testing::kDtype<T>, {s.samples, s.positions, s.channels})), line(layout(GATUN_F32, {s.channels})),
        statistics(layout(GATUN_F32, {s.samples, s.groups})),
        forward{sizeof forward, kEpsilon, s.groups, image, line, line, image, statistics, statistics},
        backward{sizeof backward, 0, s.groups, image, line, statistics, statistics, image, image, line, line} {}
  size_t forward_bytes() const {
    size_t bytes = 0;
    call([&](gatun_error* e) { return gatun_group_norm_forward_workspace(&forward, &bytes, e); });
    return bytes;
  }
  size_t backward_bytes() const {
    size_t bytes = 0;
    call([&](gatun_error* e) { return gatun_group_norm_backward_workspace(&backward, &bytes, e); });
    return bytes;
  }
};

template <class T>
void selftest_of(Selftest& s) {
  using testing::widen;
  Shape shape{s.extent(1, 20), s.extent(2, 400), 0, s.extent(1, 40)};
  shape.channels = shape.groups * s.extent(1, 12);
  const std::vector<float> x = testing::rounded<T>(s.normal(shape.elements())), dy = testing::rounded<T>(s.normal(shape.elements()));
  const std::vector<float> gamma = s.normal(shape.channels), beta = s.normal(shape.channels);
  const auto samples = static_cast<size_t>(shape.samples), positions = static_cast<size_t>(shape.positions), groups = static_cast<size_t>(shape.groups);
  const auto truth = group_norm_reference<double>(widen(x), widen(gamma), widen(beta), widen(dy), samples, positions, groups, kEpsilon);
  const auto naive = group_norm_reference<float>(x, gamma, beta, dy, samples, positions, groups, kEpsilon);
  Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy)), y(s.device(), x.size()), dx(s.device(), x.size());
  Buffer<float> scale(s.device(), gamma), shift(s.device(), beta), mean(s.device(), truth.mean.size()), rstd(s.device(), truth.mean.size());
  Buffer<float> dgamma(s.device(), gamma.size()), dbeta(s.device(), gamma.size());
  const Descriptors<T> desc(shape);
  Buffer<char> first(s.device(), desc.forward_bytes()), second(s.device(), desc.backward_bytes());
  call([&](gatun_error* e) {
    return gatun_group_norm_forward(s.stream(), &desc.forward, in.data(), scale.data(), shift.data(), y.data(), mean.data(), rstd.data(), first.data(),
                                    first.size(), e);
  });
  s.check("forward", dtype<T>(), shape.text(), y.values(), truth.y, naive.y);
  s.check("forward rstd", dtype<T>(), shape.text(), rstd.values(), truth.rstd, naive.rstd);
  call([&](gatun_error* e) {
    return gatun_group_norm_backward(s.stream(), &desc.backward, in.data(), scale.data(), mean.data(), rstd.data(), gradient.data(), dx.data(),
                                     dgamma.data(), dbeta.data(), second.data(), second.size(), e);
  });
  s.check("backward", dtype<T>(), shape.text(), dx.values(), truth.dx, naive.dx);
  s.check("backward dgamma", dtype<T>(), shape.text(), dgamma.values(), truth.dgamma, naive.dgamma);
  s.check("backward dbeta", dtype<T>(), shape.text(), dbeta.values(), truth.dbeta, naive.dbeta);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
  }
}

template <class T>
void bench_of(Bench& b, const Shape& shape) {
  const double n = static_cast<double>(shape.elements()), size = sizeof(T);
  const Descriptors<T> desc(shape);
  b.row("forward", dtype<T>(), shape.text(), {.flops = 8 * n, .bytes = 2 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(shape.elements()), y = run.empty<T>(shape.elements());
    Rotating<float> gamma = run.normal<float>(shape.channels), beta = run.normal<float>(shape.channels);
    Rotating<float> mean = run.empty<float>(shape.samples * shape.groups), rstd = run.empty<float>(shape.samples * shape.groups);
    const size_t bytes = desc.forward_bytes();
    Rotating<char> workspace = run.empty<char>(static_cast<int64_t>(bytes));
    run.time([&](int i, gatun_error* e) {
      return gatun_group_norm_forward(run.stream(), &desc.forward, x[i], gamma[i], beta[i], y[i], mean[i], rstd[i], workspace[i], bytes, e);
    });
  });
  b.row("backward", dtype<T>(), shape.text(), {.flops = 15 * n, .bytes = 3 * size * n}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(shape.elements()), dy = run.normal<T>(shape.elements()), dx = run.empty<T>(shape.elements());
    Rotating<float> gamma = run.normal<float>(shape.channels), mean = run.normal<float>(shape.samples * shape.groups, 0.1f);
    Rotating<float> rstd = run.filled(std::vector<float>(static_cast<size_t>(shape.samples * shape.groups), 1.0f));
    Rotating<float> dgamma = run.empty<float>(shape.channels), dbeta = run.empty<float>(shape.channels);
    const size_t bytes = desc.backward_bytes();
    Rotating<char> workspace = run.empty<char>(static_cast<int64_t>(bytes));
    run.time([&](int i, gatun_error* e) {
      return gatun_group_norm_backward(run.stream(), &desc.backward, x[i], gamma[i], mean[i], rstd[i], dy[i], dx[i], dgamma[i], dbeta[i], workspace[i], bytes, e);
    });
  });
}

void bench(Bench& b) {
  const std::vector<Shape> shapes = b.emulated()      ? std::vector<Shape>{{2, 49, 64, 32}}
                                    : b.device().cpu() ? std::vector<Shape>{{32, 784, 128, 32}}
                                                       : std::vector<Shape>{{256, 3136, 64, 32}, {256, 784, 512, 32}, {256, 49, 2048, 32}};
  for (const Shape& shape : shapes) {
    for_each_storage(b.device(), [&](auto type) { bench_of<decltype(type)>(b, shape); });
  }
}

GATUN_TRIALS(group_norm, selftest, bench);

}  // namespace
}  // namespace gatun::trial

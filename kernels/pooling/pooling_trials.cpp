// SPDX-License-Identifier: Apache-2.0
#include "kernels/pooling/pooling_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

struct Problem {
  int32_t mode;
  int64_t batch, height, width, channels;
  int32_t window, stride, padding;
  bool count_include_pad;

  bool max() const { return mode == GATUN_POOLING_MAX; }
  int64_t out(int64_t size) const { return (size + 2 * padding - window) / stride + 1; }
  int64_t inputs() const { return batch * height * width * channels; }
  int64_t results() const { return batch * out(height) * out(width) * channels; }

  PoolingShape shape() const {
    const int64_t oh = out(height), ow = out(width);
    return {batch, channels,
            {height, width, height * width * channels, width * channels, channels},
            {oh, ow, oh * ow * channels, ow * channels, channels},
            {window, stride, padding, height, oh},
            {window, stride, padding, width, ow},
            count_include_pad};
  }

  gatun_pooling_desc desc(int32_t dtype) const {
    gatun_pooling_desc d{};
    d.struct_size = sizeof d;
    d.mode = mode;
    d.x = layout(dtype, {batch, height, width, channels});
    d.y = layout(dtype, {batch, out(height), out(width), channels});
    if (max()) d.argmax = layout(GATUN_I32, {batch, out(height), out(width), channels});
    d.window_height = d.window_width = window;
    d.stride_height = d.stride_width = stride;
    d.padding_top = d.padding_bottom = d.padding_left = d.padding_right = padding;
    d.count_include_pad = count_include_pad ? 1 : 0;
    return d;
  }

  ShapeText text() const {
    return ShapeText{batch, height, width, channels}.text + (max() ? " max" : count_include_pad ? " average_padded" : " average") + " window " +
           std::to_string(window) + " stride " + std::to_string(stride) + " padding " + std::to_string(padding);
  }
};

template <class T>
struct Reference {
  std::vector<T> y, dx;
  std::vector<int32_t> argmax;
  Reference(const Problem& p, const std::vector<float>& x, const std::vector<float>& dy) : y(dy.size()), dx(x.size()), argmax(p.max() ? dy.size() : 0) {
    const PoolingShape s = p.shape();
    const std::vector<T> in(x.begin(), x.end()), gradient(dy.begin(), dy.end());
    if (p.max()) {
      pooling_max_reference<T>(s, in.data(), y.data(), argmax.data());
      pooling_max_backward_reference<T>(s, gradient.data(), argmax.data(), dx.data());
    } else {
      std::vector<T> divisor(dy.size());
      pooling_divisors<T>(s, divisor.data());
      pooling_average_reference<T>(s, in.data(), divisor.data(), y.data());
      pooling_average_backward_reference<T>(s, gradient.data(), divisor.data(), dx.data());
    }
  }
};

template <class T>
void compare(Selftest& s, const Problem& p) {
  const std::vector<float> x = testing::rounded<T>(s.normal(p.inputs())), dy = testing::rounded<T>(s.normal(p.results()));
  const Reference<double> truth(p, x, dy);
  const Reference<float> naive(p, x, dy);
  Buffer<T> in(s.device(), testing::stored<T>(x)), gradient(s.device(), testing::stored<T>(dy)), y(s.device(), dy.size()), dx(s.device(), x.size());
  Buffer<int32_t> argmax(s.device(), truth.argmax.size());
  int32_t* const winners = p.max() ? argmax.data() : nullptr;
  const auto desc = p.desc(testing::kDtype<T>);
  call([&](gatun_error* e) { return gatun_pooling_forward(s.stream(), &desc, in.data(), y.data(), winners, e); });
  s.check("forward", dtype<T>(), p.text(), y.values(), truth.y, naive.y);
  if (p.max()) s.check_equal("forward, argmax", dtype<T>(), p.text(), argmax.values(), truth.argmax);
  call([&](gatun_error* e) { return gatun_pooling_backward(s.stream(), &desc, gradient.data(), winners, dx.data(), e); });
  s.check("backward", dtype<T>(), p.text(), dx.values(), truth.dx, naive.dx);
}

void selftest(Selftest& s) {
  for (int round = 0; round < 2 * s.rounds(); ++round) {
    Problem p{};
    p.mode = round % 2 == 0 ? GATUN_POOLING_MAX : GATUN_POOLING_AVERAGE;
    p.batch = s.extent(1, 4);
    p.window = static_cast<int32_t>(s.extent(1, 5));
    p.stride = static_cast<int32_t>(s.extent(1, 4));
    p.padding = static_cast<int32_t>(s.extent(1, p.window) - 1);
    p.height = p.window + s.extent(1, 21);
    p.width = p.window + s.extent(1, 21);
    p.channels = s.chance(0.5) ? 8 * s.extent(1, 40) : s.extent(1, 100);
    p.count_include_pad = !p.max() && s.chance(0.5);
    for_each_storage(s.device(), [&](auto storage) { compare<decltype(storage)>(s, p); });
  }
}

template <class T>
void time_problem(Bench& b, const Problem& p) {
  const double in = static_cast<double>(p.inputs()), out = static_cast<double>(p.results()), work = out * p.window * p.window;
  const double bytes = sizeof(T) * (in + out) + (p.max() ? 4 * out : 0);
  const size_t winners = p.max() ? static_cast<size_t>(p.results()) : 0;
  const auto desc = p.desc(testing::kDtype<T>);
  b.row("forward", dtype<T>(), p.text(), {.flops = work, .bytes = bytes}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(p.inputs()), y = run.empty<T>(p.results());
    Rotating<int32_t> argmax = run.empty<int32_t>(static_cast<int64_t>(winners));
    run.time([&](int i, gatun_error* e) { return gatun_pooling_forward(run.stream(), &desc, x[i], y[i], winners > 0 ? argmax[i] : nullptr, e); });
  });
  b.row("backward", dtype<T>(), p.text(), {.flops = work, .bytes = bytes}, [&](Run& run) {
    Rotating<T> dy = run.normal<T>(p.results()), dx = run.empty<T>(p.inputs());
    // Winners as random values would have them: the index is of the window's first pixel, or of one beside it.
    std::vector<int32_t> indices(winners);
    const int64_t oh = p.out(p.height), ow = p.out(p.width);
    for (size_t i = 0; i < winners; ++i) {
      const int64_t pixel = static_cast<int64_t>(i) / p.channels, row = pixel / ow % oh * p.stride, column = pixel % ow * p.stride;
      indices[i] = static_cast<int32_t>(std::min(row, p.height - 1) * p.width + std::min(column + static_cast<int64_t>(i * 2654435761u >> 31 & 1), p.width - 1));
    }
    Rotating<int32_t> argmax = run.filled(indices);
    run.time([&](int i, gatun_error* e) { return gatun_pooling_backward(run.stream(), &desc, dy[i], winners > 0 ? argmax[i] : nullptr, dx[i], e); });
  });
}

// ResNet-50's maximum behind the stem, and its mean at the end.
void bench(Bench& b) {
  const int64_t batch = b.emulated() ? 1 : b.device().cpu() ? 16 : 256, size = b.emulated() ? 7 : 112;
  const Problem max{GATUN_POOLING_MAX, batch, size, size, 64, 3, 2, 1, false}, mean{GATUN_POOLING_AVERAGE, batch, 7, 7, b.emulated() ? 64 : 2048, 7, 1, 0, false};
  for (const Problem& p : {max, mean}) {
    for_each_storage(b.device(), [&](auto storage) {
      if (!std::is_same_v<decltype(storage), testing::Half>) time_problem<decltype(storage)>(b, p);
    });
  }
}

GATUN_TRIALS(pooling, selftest, bench);

}  // namespace
}  // namespace gatun::trial

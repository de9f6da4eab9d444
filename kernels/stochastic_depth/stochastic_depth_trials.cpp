// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/random/random.h"
#include "kernels/stochastic_depth/stochastic_depth_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr gatun_layout kNone{};

// A subset with indices, or all samples with a mask; LayerScale or none.
struct Problem {
  int64_t samples, count, positions, channels;
  bool subset, scaled;

  float scale() const { return subset ? static_cast<float>(samples) / static_cast<float>(count) : 1.0f; }
  int64_t columns() const { return positions * channels; }
  gatun_layout all(int32_t dtype) const { return layout(dtype, {samples, positions, channels}); }
  gatun_layout some(int32_t dtype) const { return layout(dtype, {count, positions, channels}); }
  gatun_layout indices() const { return subset ? layout(GATUN_I32, {count}) : kNone; }
  gatun_layout mask() const { return subset ? kNone : layout(GATUN_F32, {count}); }
  gatun_layout gamma() const { return scaled ? layout(GATUN_F32, {channels}) : kNone; }
  gatun_stochastic_depth_desc forward(int32_t dtype) const {
    return {sizeof(gatun_stochastic_depth_desc), scale(), all(dtype), some(dtype), indices(), mask(), gamma(), all(dtype)};
  }
  gatun_stochastic_depth_backward_desc backward(int32_t dtype) const {
    return {sizeof(gatun_stochastic_depth_backward_desc), scale(), all(dtype), some(dtype), indices(), mask(), gamma(), some(dtype), layout(GATUN_F32, {channels})};
  }
  ShapeText text() const {
    return ShapeText{samples, positions, channels}.text + (subset ? " subset " + std::to_string(count) : " mask") + (scaled ? " gamma" : "");
  }
};

std::vector<int32_t> expected_subset(const gatun_random_key& key, int64_t samples, int64_t count) {
  const RandomSource source = random_source(key);
  std::vector<std::pair<uint64_t, int32_t>> order;
  for (int64_t row = 0; row < samples; ++row) order.emplace_back(random_order(source, static_cast<uint64_t>(row)), static_cast<int32_t>(row));
  std::sort(order.begin(), order.end());
  std::vector<int32_t> subset;
  for (int64_t i = 0; i < count; ++i) subset.push_back(order[static_cast<size_t>(i)].second);
  return subset;
}

std::vector<float> expected_mask(const gatun_random_key& key, int64_t count, float rate) {
  const RandomSource source = random_source(key);
  std::vector<float> mask(static_cast<size_t>(count));
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = random_bernoulli(source, i, 0, rate) ? 0.0f : 1.0f / (1.0f - rate);
  return mask;
}

void check_decisions(Selftest& s, const gatun_random_key& key, int64_t samples, int64_t count, float rate) {
  const Buffer<gatun_random_key> key_memory(s.device(), std::vector<gatun_random_key>{key});
  Buffer<float> mask(s.device(), static_cast<size_t>(samples));
  const gatun_stochastic_depth_mask_desc mask_desc{sizeof mask_desc, rate, 0, kNone, layout(GATUN_F32, {samples})};
  call([&](gatun_error* e) { return gatun_stochastic_depth_mask(s.stream(), &mask_desc, key_memory.data(), nullptr, mask.data(), e); });
  s.check_equal("mask", "f32", {samples}, mask.values(), expected_mask(key, samples, rate));
  Buffer<int32_t> subset(s.device(), static_cast<size_t>(count));
  const gatun_stochastic_depth_subset_desc desc{sizeof desc, 0, samples, 0, kNone, layout(GATUN_I32, {count})};
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_stochastic_depth_subset_workspace(&desc, &bytes, e); });
  Buffer<char> workspace(s.device(), bytes);
  call([&](gatun_error* e) { return gatun_stochastic_depth_subset(s.stream(), &desc, key_memory.data(), nullptr, subset.data(), workspace.data(), bytes, e); });
  s.check_equal("subset", "i32", ShapeText{samples}.text + " of them " + std::to_string(count), subset.values(), expected_subset(key, samples, count));
}

template <class R>
struct Reference {
  std::vector<R> y, dresidual, dgamma;
  Reference(const Problem& p, const std::vector<float>& x, const std::vector<float>& residual, const std::vector<float>& dy, const std::vector<int32_t>& indices,
            const std::vector<float>& mask, const std::vector<float>& gamma)
      : y(x.size()), dresidual(residual.size()), dgamma(static_cast<size_t>(p.channels)) {
    const auto convert = [](const std::vector<float>& values) { return std::vector<R>(values.begin(), values.end()); };
    const std::vector<R> in = convert(x), added = convert(residual), gradient = convert(dy), factor = convert(mask), scale = convert(gamma);
    const int32_t* rows = p.subset ? indices.data() : nullptr;
    const R *m = p.subset ? nullptr : factor.data(), *g = p.scaled ? scale.data() : nullptr;
    stochastic_depth_reference<R>(in.data(), added.data(), rows, m, g, static_cast<R>(p.scale()), y.data(), p.samples, p.count, p.positions, p.channels);
    stochastic_depth_backward_reference<R>(gradient.data(), added.data(), rows, m, g, static_cast<R>(p.scale()), dresidual.data(), dgamma.data(), p.count,
                                           p.positions, p.channels);
  }
};

template <class T>
void compare(Selftest& s, const Problem& p, const gatun_random_key& key) {
  const auto x = testing::rounded<T>(s.normal(p.samples * p.columns())), residual = testing::rounded<T>(s.normal(p.count * p.columns()));
  const auto dy = testing::rounded<T>(s.normal(p.samples * p.columns()));
  const auto gamma = s.normal(p.channels), mask = expected_mask(key, p.count, 0.3f);
  const auto indices = expected_subset(key, p.samples, p.count);
  const Reference<double> truth(p, x, residual, dy, indices, mask, gamma);
  const Reference<float> naive(p, x, residual, dy, indices, mask, gamma);
  const Buffer<T> in(s.device(), testing::stored<T>(x)), added(s.device(), testing::stored<T>(residual)), gradient(s.device(), testing::stored<T>(dy));
  const Buffer<int32_t> index_memory(s.device(), indices);
  const Buffer<float> mask_memory(s.device(), mask), gamma_memory(s.device(), gamma);
  const void *rows = p.subset ? index_memory.data() : nullptr, *m = p.subset ? nullptr : mask_memory.data(), *g = p.scaled ? gamma_memory.data() : nullptr;
  Buffer<T> y(s.device(), x.size()), dresidual(s.device(), residual.size());
  Buffer<float> dgamma(s.device(), gamma.size());
  const auto forward = p.forward(testing::kDtype<T>);
  call([&](gatun_error* e) { return gatun_stochastic_depth_forward(s.stream(), &forward, in.data(), added.data(), rows, m, g, y.data(), e); });
  s.check("forward", dtype<T>(), p.text(), y.values(), truth.y, naive.y);
  const auto backward = p.backward(testing::kDtype<T>);
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_stochastic_depth_backward_workspace(&backward, &bytes, e); });
  Buffer<char> workspace(s.device(), bytes);
  call([&](gatun_error* e) {
    return gatun_stochastic_depth_backward(s.stream(), &backward, gradient.data(), added.data(), rows, m, g, dresidual.data(), dgamma.data(), workspace.data(), bytes, e);
  });
  s.check("backward, dresidual", dtype<T>(), p.text(), dresidual.values(), truth.dresidual, naive.dresidual);
  s.check("backward, dgamma", dtype<T>(), p.text(), dgamma.values(), truth.dgamma, naive.dgamma);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const gatun_random_key key{s.seed(), s.seed(), 1, 0};
    const int64_t samples = s.extent(1, 60), count = std::max<int64_t>(samples * 2 / 3, 1);
    check_decisions(s, key, s.extent(1, 5000), 1, 0.4f);
    check_decisions(s, key, samples, count, 0.1f);
    const bool subset = round % 2 == 0;
    const Problem p{samples, subset ? count : samples, s.extent(1, 30), s.extent(1, 400), subset, s.chance(0.7)};
    for_each_storage(s.device(), [&](auto element) { compare<decltype(element)>(s, p, key); });
  }
}

// What a block pays for its residual: the full one is a masked addition; a subset gathers its samples, and adds to them in place.
template <class T>
void time(Bench& b, const Problem& p) {
  constexpr int32_t type = testing::kDtype<T>;
  const gatun_random_key key{1, 2, 3, 0};
  const std::vector<int32_t> indices = expected_subset(key, p.samples, p.count);
  const std::vector<float> mask(static_cast<size_t>(p.count), 1.0f);
  const double moved = static_cast<double>(p.count * p.columns()) * sizeof(T);
  b.row("forward, in place", dtype<T>(), p.text(), {.flops = 2.0 * static_cast<double>(p.count * p.columns()), .bytes = 3 * moved}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(p.samples * p.columns()), residual = run.normal<T>(p.count * p.columns());
    Rotating<int32_t> rows = run.filled(indices);
    Rotating<float> factor = run.filled(mask), gamma = run.normal<float>(p.channels);
    const auto desc = p.forward(type);
    run.time([&](int i, gatun_error* e) {
      return gatun_stochastic_depth_forward(run.stream(), &desc, x[i], residual[i], p.subset ? rows[i] : nullptr, p.subset ? nullptr : factor[i],
                                            p.scaled ? gamma[i] : nullptr, x[i], e);
    });
  });
  b.row("backward", dtype<T>(), p.text(), {.flops = 5.0 * static_cast<double>(p.count * p.columns()), .bytes = 3 * moved}, [&](Run& run) {
    Rotating<T> dy = run.normal<T>(p.samples * p.columns()), residual = run.normal<T>(p.count * p.columns()), dresidual = run.empty<T>(p.count * p.columns());
    Rotating<int32_t> rows = run.filled(indices);
    Rotating<float> factor = run.filled(mask), gamma = run.normal<float>(p.channels), dgamma = run.empty<float>(p.channels);
    const auto desc = p.backward(type);
    size_t bytes = 0;
    call([&](gatun_error* e) { return gatun_stochastic_depth_backward_workspace(&desc, &bytes, e); });
    Rotating<char> workspace = run.filled(std::vector<char>(bytes));
    run.time([&](int i, gatun_error* e) {
      return gatun_stochastic_depth_backward(run.stream(), &desc, dy[i], residual[i], p.subset ? rows[i] : nullptr, p.subset ? nullptr : factor[i],
                                             p.scaled ? gamma[i] : nullptr, dresidual[i], dgamma[i], workspace[i], bytes, e);
    });
  });
}

void bench(Bench& b) {
  const int64_t samples = b.emulated() ? 8 : b.device().cpu() ? 32 : 256, positions = b.emulated() ? 5 : 197, channels = b.emulated() ? 48 : b.device().cpu() ? 192 : 768;
  for (const Problem& p : {Problem{samples, samples, positions, channels, false, true}, Problem{samples, samples * 3 / 5, positions, channels, true, true}}) {
    for_each_storage(b.device(), [&](auto element) { time<decltype(element)>(b, p); });
  }
  b.row("subset", "i32", ShapeText{samples}.text + " of them " + std::to_string(samples * 3 / 5), {.bytes = static_cast<double>(samples) * 4}, [&](Run& run) {
    Rotating<gatun_random_key> key = run.filled(std::vector<gatun_random_key>{{1, 2, 3, 0}});
    Rotating<int32_t> subset = run.empty<int32_t>(samples * 3 / 5);
    const gatun_stochastic_depth_subset_desc desc{sizeof desc, 0, samples, 0, kNone, layout(GATUN_I32, {samples * 3 / 5})};
    size_t bytes = 0;
    call([&](gatun_error* e) { return gatun_stochastic_depth_subset_workspace(&desc, &bytes, e); });
    Rotating<char> workspace = run.filled(std::vector<char>(bytes));
    run.time([&](int i, gatun_error* e) { return gatun_stochastic_depth_subset(run.stream(), &desc, key[i], nullptr, subset[i], workspace[i], bytes, e); });
  });
}

GATUN_TRIALS(stochastic_depth, selftest, bench);

}  // namespace
}  // namespace gatun::trial

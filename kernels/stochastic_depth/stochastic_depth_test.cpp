// SPDX-License-Identifier: Apache-2.0
#include "kernels/stochastic_depth/stochastic_depth_reference.h"

#include <array>
#include <set>

#include "kernels/random/random.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr gatun_random_key kKey{11, 5, 2, 0};
const gatun_layout kNone{};

std::vector<float> sample_mask(const gatun_random_key& key, int64_t count, float rate, int64_t first = 0) {
  Device device;
  std::vector<float> mask(static_cast<size_t>(count));
  const gatun_stochastic_depth_mask_desc desc{sizeof desc, rate, first, kNone, layout(GATUN_F32, {count})};
  run([&](gatun_error* e) { return gatun_stochastic_depth_mask(device.stream(), &desc, &key, nullptr, mask.data(), e); });
  return mask;
}

std::vector<int32_t> sample_subset(const gatun_random_key& key, int64_t samples, int64_t count, const std::vector<int64_t>& ids = {}) {
  Device device;
  std::vector<int32_t> indices(static_cast<size_t>(count));
  const gatun_stochastic_depth_subset_desc desc{sizeof desc, 0, samples, 0, ids.empty() ? kNone : layout(GATUN_I64, {samples}),
                                                layout(GATUN_I32, {count})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_stochastic_depth_subset_workspace(&desc, &bytes, e); });
  void* workspace = nullptr;
  run([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &workspace, e); });
  run([&](gatun_error* e) {
    return gatun_stochastic_depth_subset(device.stream(), &desc, &key, ids.empty() ? nullptr : ids.data(), indices.data(), workspace, bytes, e);
  });
  gatun_memory_free(device.context(), workspace, nullptr);
  return indices;
}

struct Problem {
  int64_t samples, count, positions, channels;
  float scale;
  std::vector<float> x, residual, dy, mask, gamma;
  std::vector<int32_t> indices;
};

struct Result {
  std::vector<float> y, dresidual, dgamma;
};

Result run_kernel(int threads, const Problem& p, bool in_place = false, int64_t padding = 0) {
  Device device(threads);
  const int64_t columns = p.positions * p.channels, stride = columns + padding;
  const auto strided = [&](const std::vector<float>& packed, int64_t rows) {
    std::vector<float> buffer(static_cast<size_t>(rows * stride), 7.0f);
    for (int64_t r = 0; r < rows; ++r) std::copy_n(packed.begin() + r * columns, columns, buffer.begin() + r * stride);
    return buffer;
  };
  const auto packed = [&](const std::vector<float>& buffer, int64_t rows) {
    std::vector<float> values;
    for (int64_t r = 0; r < rows; ++r) {
      values.insert(values.end(), buffer.begin() + r * stride, buffer.begin() + r * stride + columns);
      for (int64_t c = columns; c < stride; ++c) CHECK(buffer[static_cast<size_t>(r * stride + c)] == 7.0f);
    }
    return values;
  };
  std::vector<float> x = strided(p.x, p.samples), residual = strided(p.residual, p.count), dy = strided(p.dy, p.samples);
  std::vector<float> y(x.size(), 7.0f), dresidual(residual.size(), 7.0f), dgamma(static_cast<size_t>(p.channels), 7.0f);
  const gatun_layout all = layout(GATUN_F32, {p.samples, p.positions, p.channels}, {stride, p.channels, 1});
  const gatun_layout some = layout(GATUN_F32, {p.count, p.positions, p.channels}, {stride, p.channels, 1});
  const gatun_layout indices = p.indices.empty() ? kNone : layout(GATUN_I32, {p.count});
  const gatun_layout mask = p.mask.empty() ? kNone : layout(GATUN_F32, {p.count});
  const gatun_layout gamma = p.gamma.empty() ? kNone : layout(GATUN_F32, {p.channels});
  const auto pointer = [](const auto& values) -> const void* { return values.empty() ? nullptr : values.data(); };
  const gatun_stochastic_depth_desc desc{sizeof desc, p.scale, all, some, indices, mask, gamma, all};
  float* out = in_place ? x.data() : y.data();
  run([&](gatun_error* e) {
    return gatun_stochastic_depth_forward(device.stream(), &desc, x.data(), residual.data(), pointer(p.indices), pointer(p.mask), pointer(p.gamma), out, e);
  });
  const gatun_stochastic_depth_backward_desc back{sizeof back, p.scale, all, some, indices, mask, gamma, some, layout(GATUN_F32, {p.channels})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_stochastic_depth_backward_workspace(&back, &bytes, e); });
  void* workspace = nullptr;
  run([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &workspace, e); });
  run([&](gatun_error* e) {
    return gatun_stochastic_depth_backward(device.stream(), &back, dy.data(), residual.data(), pointer(p.indices), pointer(p.mask),
                                           pointer(p.gamma), dresidual.data(), dgamma.data(), workspace, bytes, e);
  });
  gatun_memory_free(device.context(), workspace, nullptr);
  return {packed(in_place ? x : y, p.samples), packed(dresidual, p.count), dgamma};
}

template <class T>
struct Expected {
  std::vector<T> y, dresidual, dgamma;
};

template <class T>
Expected<T> reference(const Problem& p) {
  const auto convert = [](const std::vector<float>& values) { return std::vector<T>(values.begin(), values.end()); };
  const std::vector<T> x = convert(p.x), residual = convert(p.residual), dy = convert(p.dy), mask = convert(p.mask), gamma = convert(p.gamma);
  const auto pointer = [](const auto& values) { return values.empty() ? nullptr : values.data(); };
  Expected<T> out{std::vector<T>(x.size()), std::vector<T>(residual.size()), std::vector<T>(static_cast<size_t>(p.channels))};
  stochastic_depth_reference<T>(x.data(), residual.data(), pointer(p.indices), pointer(mask), pointer(gamma), static_cast<T>(p.scale),
                                out.y.data(), p.samples, p.count, p.positions, p.channels);
  stochastic_depth_backward_reference<T>(dy.data(), residual.data(), pointer(p.indices), pointer(mask), pointer(gamma), static_cast<T>(p.scale),
                                         out.dresidual.data(), out.dgamma.data(), p.count, p.positions, p.channels);
  return out;
}

Problem problem(int64_t samples, int64_t count, int64_t positions, int64_t channels, bool indexed, bool masked, bool scaled, uint32_t seed) {
  const int64_t columns = positions * channels;
  Problem p{samples, count, positions, channels, static_cast<float>(samples) / static_cast<float>(count), normal(samples * columns, seed),
            normal(count * columns, seed + 1), normal(samples * columns, seed + 2), {}, {}, {}};
  if (indexed) p.indices = sample_subset(kKey, samples, count);
  if (masked) p.mask = sample_mask(kKey, count, 0.4f);
  if (scaled) p.gamma = normal(channels, seed + 3);
  return p;
}

}  // namespace

TEST_CASE("stochastic_depth matches the double reference: subsets, masks, LayerScale, strides, in place, any thread count") {
  uint32_t seed = 100;
  for (const auto& [samples, count, positions, channels] :
       std::vector<std::array<int64_t, 4>>{{1, 1, 1, 1}, {7, 5, 3, 17}, {8, 7, 5, 32}, {150, 90, 2, 33}, {5, 2, 50, 7}}) {
    for (const bool indexed : {false, true}) {
      for (const bool masked : {false, true}) {
        for (const bool scaled : {false, true}) {
          CAPTURE(samples);
          CAPTURE(indexed);
          CAPTURE(masked);
          CAPTURE(scaled);
          const Problem p = problem(samples, indexed ? count : samples, positions, channels, indexed, masked, scaled, seed += 4);
          const Expected<double> truth = reference<double>(p);
          const Expected<float> naive = reference<float>(p);
          const Result result = run_kernel(2, p, false, masked ? 3 : 0);
          check_close(result.y, truth.y, naive.y);
          check_close(result.dresidual, truth.dresidual, naive.dresidual);
          check_close(result.dgamma, truth.dgamma, naive.dgamma);
          CHECK(same_bits(run_kernel(2, p, true).y, result.y));
          for (const int threads : {1, 3}) {
            const Result other = run_kernel(threads, p);
            CHECK(same_bits(other.y, result.y));
            CHECK(same_bits(other.dresidual, result.dresidual));
            CHECK(same_bits(other.dgamma, result.dgamma));
          }
        }
      }
    }
  }
}

TEST_CASE("stochastic_depth reference gradients agree with finite differences") {
  Problem p = problem(4, 3, 2, 3, true, true, true, 900);
  p.mask = {0.5f, 0.0f, 2.0f};
  const Expected<double> truth = reference<double>(p);
  const std::vector<double> dy = widen(p.dy), mask = widen(p.mask);
  const auto objective = [&](const std::vector<double>& residual, const std::vector<double>& gamma) {
    const std::vector<double> x = widen(p.x);
    std::vector<double> y(x.size());
    stochastic_depth_reference<double>(x.data(), residual.data(), p.indices.data(), mask.data(), gamma.data(), p.scale, y.data(), 4, 3, 2, 3);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const std::vector<double> residual = widen(p.residual), gamma = widen(p.gamma);
  for (size_t i = 0; i < residual.size(); ++i) {
    CHECK(central_difference([&](const auto& r) { return objective(r, gamma); }, residual, i) == doctest::Approx(truth.dresidual[i]).epsilon(1e-7));
  }
  for (size_t i = 0; i < gamma.size(); ++i) {
    CHECK(central_difference([&](const auto& g) { return objective(residual, g); }, gamma, i) == doctest::Approx(truth.dgamma[i]).epsilon(1e-7));
  }
}

TEST_CASE("stochastic_depth masks keep at their rate, by global sample id") {
  constexpr int64_t n = 20000;
  const float rate = 0.2f;
  const std::vector<float> mask = sample_mask(kKey, n, rate);
  int64_t dropped = 0;
  for (const float value : mask) {
    CHECK((value == 0.0f || value == 1.0f / (1.0f - rate)));
    dropped += value == 0.0f;
  }
  CHECK(std::abs(static_cast<double>(dropped) - n * 0.2) < 5 * std::sqrt(n * 0.16));
  // The same samples in another place of another batch have the same fate.
  const std::vector<float> later = sample_mask(kKey, 100, rate, 500);
  CHECK(std::equal(later.begin(), later.end(), mask.begin() + 500));
  gatun_random_key other = kKey;
  other.stream += 1;
  CHECK_FALSE(same_bits(mask, sample_mask(other, n, rate)));
  for (const float value : sample_mask(kKey, 100, 0.0f)) CHECK(value == 1.0f);
}

TEST_CASE("stochastic_depth subsets hold exactly n different samples, each equally often, by global sample id") {
  std::vector<int> kept(10);
  constexpr int kTrials = 2000;
  for (int i = 0; i < kTrials; ++i) {
    gatun_random_key key = kKey;
    key.step = static_cast<uint64_t>(i);
    const std::vector<int32_t> subset = sample_subset(key, 10, 4);
    CHECK(std::set<int32_t>(subset.begin(), subset.end()).size() == 4);
    for (const int32_t row : subset) ++kept[static_cast<size_t>(row)];
  }
  for (const int count : kept) CHECK(std::abs(count - kTrials * 0.4) < 5 * std::sqrt(kTrials * 0.24));
  // Reversing the batch picks the same samples.
  const std::vector<int64_t> ids{40, 41, 42, 43, 44, 45, 46}, reversed(ids.rbegin(), ids.rend());
  const std::vector<int32_t> forward = sample_subset(kKey, 7, 3, ids), backward = sample_subset(kKey, 7, 3, reversed);
  for (size_t i = 0; i < 3; ++i) CHECK(forward[i] == 6 - backward[i]);
}

TEST_CASE("stochastic_depth: a residual with mask 0 is not read, repeated indices add up in order") {
  Problem p = problem(3, 3, 2, 5, false, false, false, 950);
  p.mask = {0.0f, 1.0f, 0.0f};
  for (size_t i = 0; i < 10; ++i) p.residual[i] = std::numeric_limits<float>::quiet_NaN();
  const Result result = run_kernel(2, p);
  for (size_t i = 0; i < 10; ++i) {
    CHECK(result.y[i] == p.x[i]);
    CHECK(result.dresidual[i] == 0.0f);
  }
  for (const float value : result.dgamma) CHECK(std::isfinite(value));
  Problem repeated = problem(4, 3, 1, 6, false, false, false, 960);
  repeated.indices = {2, 2, 0};
  check_close(run_kernel(2, repeated).y, reference<double>(repeated).y, reference<float>(repeated).y);
}

TEST_CASE("stochastic_depth refuses bad arguments with a message that names them") {
  Device device;
  std::vector<float> x(64), residual(64), y(64);
  std::vector<int32_t> indices{0, 5};
  const gatun_layout all = layout(GATUN_F32, {4, 2, 3}), some = layout(GATUN_F32, {2, 2, 3}), two = layout(GATUN_I32, {2});
  const auto attempt = [&](gatun_stochastic_depth_desc desc, const char* part) {
    refused(part, [&](gatun_error* e) {
      return gatun_stochastic_depth_forward(device.stream(), &desc, x.data(), residual.data(), indices.data(), nullptr, nullptr, y.data(), e);
    });
  };
  const uint32_t size = sizeof(gatun_stochastic_depth_desc);
  attempt({size, 1, all, some, two, kNone, kNone, all}, "indices[1] is 5, x has 4 rows");
  attempt({size, 1, all, some, kNone, kNone, kNone, all}, "residual has shape (2, 2, 3), expected (4, 2, 3)");
  attempt({size, 1, all, layout(GATUN_F32, {2, 2, 4}), two, kNone, kNone, all}, "its rows must have the shape of those of x");
  attempt({size, 1, all, some, two, kNone, layout(GATUN_F32, {4}), all}, "gamma has shape (4), expected (3)");
  attempt({size, 1, all, some, two, layout(GATUN_F32, {4}), kNone, all}, "mask has shape (4), expected (2)");
  attempt({size, std::numeric_limits<float>::infinity(), all, some, two, kNone, kNone, all}, "scale is inf");
  // A residual that nobody needs must still have a layout that can be read.
  gatun_layout wild = some;
  wild.rank = 1 << 20;
  const gatun_stochastic_depth_backward_desc back{sizeof back, 1, all, wild, two, kNone, kNone, some, kNone};
  refused("residual has rank 1048576", [&](gatun_error* e) {
    return gatun_stochastic_depth_backward(device.stream(), &back, x.data(), nullptr, indices.data(), nullptr, nullptr, y.data(), nullptr, nullptr, 0, e);
  });
  const gatun_stochastic_depth_mask_desc certain{sizeof certain, 1.0f, 0, kNone, layout(GATUN_F32, {4})};
  refused("rate is 1, it must be in [0, 1)", [&](gatun_error* e) { return gatun_stochastic_depth_mask(device.stream(), &certain, &kKey, nullptr, y.data(), e); });
  const gatun_stochastic_depth_subset_desc larger{sizeof larger, 0, 1, 0, kNone, two};
  size_t bytes;
  refused("indices has 2 entries, more than samples = 1", [&](gatun_error* e) { return gatun_stochastic_depth_subset_workspace(&larger, &bytes, e); });
}

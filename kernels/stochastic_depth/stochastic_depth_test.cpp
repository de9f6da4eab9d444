// SPDX-License-Identifier: Apache-2.0
#include "kernels/stochastic_depth/stochastic_depth_reference.h"

#include <array>
#include <set>

#include "kernels/random/random.h"
#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr gatun_random_key kKey{11, 5, 2, 0};
const gatun_layout kNone{};

Memory<gatun_random_key> stored_key(const gatun_random_key& key) { return Memory<gatun_random_key>(std::vector<gatun_random_key>{key}); }

std::vector<float> sample_mask(const gatun_random_key& key, int64_t count, float rate, int64_t first = 0) {
  Device device;
  const Memory<gatun_random_key> key_memory = stored_key(key);
  Memory<float> mask(static_cast<size_t>(count), 7.0f);
  const gatun_stochastic_depth_mask_desc desc{sizeof desc, rate, first, kNone, layout(GATUN_F32, {count})};
  run([&](gatun_error* e) { return gatun_stochastic_depth_mask(device.stream(), &desc, key_memory.data(), nullptr, mask.data(), e); });
  return mask.values();
}

std::vector<int32_t> sample_subset(const gatun_random_key& key, int64_t samples, int64_t count, const std::vector<int64_t>& ids = {}) {
  Device device;
  const Memory<gatun_random_key> key_memory = stored_key(key);
  const Memory<int64_t> id_memory(ids);
  Memory<int32_t> indices(static_cast<size_t>(count), -1);
  const gatun_stochastic_depth_subset_desc desc{sizeof desc, 0, samples, 0, ids.empty() ? kNone : layout(GATUN_I64, {samples}),
                                                layout(GATUN_I32, {count})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_stochastic_depth_subset_workspace(&desc, &bytes, e); });
  void* workspace = nullptr;
  require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &workspace, e); });
  run([&](gatun_error* e) {
    return gatun_stochastic_depth_subset(device.stream(), &desc, key_memory.data(), ids.empty() ? nullptr : id_memory.data(), indices.data(),
                                         workspace, bytes, e);
  });
  std::vector<int32_t> result = indices.values();
  gatun_memory_free(device.context(), workspace, nullptr);
  return result;
}

struct Problem {
  int64_t samples, count, positions, channels;
  float scale;
  std::vector<float> x, residual, dy, mask, gamma;
  std::vector<int32_t> indices;
};

template <class T>
struct StoredResult {
  std::vector<T> y, dresidual;
  std::vector<float> dgamma;
};

// The operands of p must be numbers that T can store.
template <class T = float>
StoredResult<T> run_kernel(int threads, const Problem& p, bool in_place = false, int64_t padding = 0, bool backward = true) {
  Device device(threads);
  const int64_t columns = p.positions * p.channels, stride = columns + padding;
  const auto strided = [&](const std::vector<float>& packed, int64_t rows) {
    std::vector<T> buffer(static_cast<size_t>(rows * stride), T(7.0f));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) buffer[static_cast<size_t>(r * stride + c)] = T(packed[static_cast<size_t>(r * columns + c)]);
    }
    return buffer;
  };
  const auto packed = [&](const std::vector<T>& buffer, int64_t rows) {
    std::vector<T> values;
    for (int64_t r = 0; r < rows; ++r) {
      values.insert(values.end(), buffer.begin() + r * stride, buffer.begin() + r * stride + columns);
      for (int64_t c = columns; c < stride; ++c) CHECK(static_cast<float>(buffer[static_cast<size_t>(r * stride + c)]) == 7.0f);
    }
    return values;
  };
  Memory<T> x(strided(p.x, p.samples));
  const Memory<T> residual(strided(p.residual, p.count)), dy(strided(p.dy, p.samples));
  const Memory<int32_t> index_memory(p.indices);
  const Memory<float> mask_memory(p.mask), gamma_memory(p.gamma);
  Memory<T> y(static_cast<size_t>(p.samples * stride), T(7.0f)), dresidual(static_cast<size_t>(p.count * stride), T(7.0f));
  Memory<float> dgamma(static_cast<size_t>(p.channels), 7.0f);
  const gatun_layout all = layout(kDtype<T>, {p.samples, p.positions, p.channels}, {stride, p.channels, 1});
  const gatun_layout some = layout(kDtype<T>, {p.count, p.positions, p.channels}, {stride, p.channels, 1});
  const gatun_layout indices = p.indices.empty() ? kNone : layout(GATUN_I32, {p.count});
  const gatun_layout mask = p.mask.empty() ? kNone : layout(GATUN_F32, {p.count});
  const gatun_layout gamma = p.gamma.empty() ? kNone : layout(GATUN_F32, {p.channels});
  const auto pointer = [](const auto& values, const auto& memory) -> const void* { return values.empty() ? nullptr : memory.data(); };
  const void *index_data = pointer(p.indices, index_memory), *mask_data = pointer(p.mask, mask_memory), *gamma_data = pointer(p.gamma, gamma_memory);
  const gatun_stochastic_depth_desc desc{sizeof desc, p.scale, all, some, indices, mask, gamma, all};
  Memory<T>& out = in_place ? x : y;
  run([&](gatun_error* e) {
    return gatun_stochastic_depth_forward(device.stream(), &desc, x.data(), residual.data(), index_data, mask_data, gamma_data, out.data(), e);
  });
  if (!backward) return {packed(out.values(), p.samples), {}, {}};
  const gatun_stochastic_depth_backward_desc back{sizeof back, p.scale, all, some, indices, mask, gamma, some, layout(GATUN_F32, {p.channels})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_stochastic_depth_backward_workspace(&back, &bytes, e); });
  void* workspace = nullptr;
  require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &workspace, e); });
  run([&](gatun_error* e) {
    return gatun_stochastic_depth_backward(device.stream(), &back, dy.data(), residual.data(), index_data, mask_data, gamma_data, dresidual.data(),
                                           dgamma.data(), workspace, bytes, e);
  });
  StoredResult<T> result{packed(out.values(), p.samples), packed(dresidual.values(), p.count), dgamma.values()};
  gatun_memory_free(device.context(), workspace, nullptr);
  return result;
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

template <class T = float>
Problem problem(int64_t samples, int64_t count, int64_t positions, int64_t channels, bool indexed, bool masked, bool scaled, uint32_t seed) {
  const int64_t columns = positions * channels;
  Problem p{samples, count, positions, channels, static_cast<float>(samples) / static_cast<float>(count), rounded<T>(normal(samples * columns, seed)),
            rounded<T>(normal(count * columns, seed + 1)), rounded<T>(normal(samples * columns, seed + 2)), {}, {}, {}};
  if (indexed) p.indices = sample_subset(kKey, samples, count);
  if (masked) p.mask = sample_mask(kKey, count, 0.4f);
  if (scaled) p.gamma = normal(channels, seed + 3);
  return p;
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return same_bits(loaded(a), loaded(b));
}

#if defined(GATUN_CUDA)
// Short rows and long ones, in whole accesses and not, more lines than a part has; one dimension at a time beyond a block.
const std::vector<std::array<int64_t, 4>> kShapes{{1, 1, 1, 1}, {7, 5, 3, 17}, {8, 7, 5, 32}, {150, 90, 2, 33}, {5, 3, 8, 72}, {4, 3, 2, 264}, {4, 3, 9, 29}};
const std::vector<int> kOtherThreads{1};
#else
const std::vector<std::array<int64_t, 4>> kShapes{{1, 1, 1, 1}, {7, 5, 3, 17}, {8, 7, 5, 32}, {150, 90, 2, 33}, {5, 2, 50, 7}};
const std::vector<int> kOtherThreads{1, 3};
#endif

}  // namespace

TEST_CASE_TEMPLATE("stochastic_depth matches the double reference: subsets, masks, LayerScale, strides, in place, any thread count", T, GATUN_STORAGES) {
  uint32_t seed = 100;
  for (const auto& [samples, count, positions, channels] : kShapes) {
    for (const bool indexed : {false, true}) {
      for (const bool masked : {false, true}) {
        for (const bool scaled : {false, true}) {
          // Of the half types, each operand with and without the others at least once.
          if (kDtype<T> != GATUN_F32 && (indexed + masked + scaled) % 2 == 0) continue;
          CAPTURE(samples);
          CAPTURE(channels);
          CAPTURE(indexed);
          CAPTURE(masked);
          CAPTURE(scaled);
          const Problem p = problem<T>(samples, indexed ? count : samples, positions, channels, indexed, masked, scaled, seed += 4);
          const Expected<double> truth = reference<double>(p);
          const Expected<float> naive = reference<float>(p);
          const auto result = run_kernel<T>(2, p, false, masked ? 3 : 0);
          check_stored(result.y, truth.y, naive.y);
          check_stored(result.dresidual, truth.dresidual, naive.dresidual);
          check_close(result.dgamma, truth.dgamma, naive.dgamma);
          CHECK(same(run_kernel<T>(2, p, true, 0, false).y, result.y));
          for (const int threads : kOtherThreads) {
            if (kDtype<T> != GATUN_F32) break;
            const auto other = run_kernel<T>(threads, p, false, masked ? 3 : 0);
            CHECK(same(other.y, result.y));
            CHECK(same(other.dresidual, result.dresidual));
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
#if defined(GATUN_CUDA)
  constexpr int kTrials = 20;
#else
  constexpr int kTrials = 2000;
#endif
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
  const auto result = run_kernel(2, p);
  for (size_t i = 0; i < 10; ++i) {
    CHECK(result.y[i] == p.x[i]);
    CHECK(result.dresidual[i] == 0.0f);
  }
  for (const float value : result.dgamma) CHECK(std::isfinite(value));
  Problem repeated = problem(4, 3, 1, 6, false, false, false, 960);
  repeated.indices = {2, 2, 0};
  check_close(run_kernel(2, repeated).y, reference<double>(repeated).y, reference<float>(repeated).y);
  // Long rows, more of them than are looked through at once; in place the first of those with one destination adds for all.
  Problem many = problem(2, 1030, 1, 258, false, true, true, 970);
  for (int32_t i = 0; i < 1030; ++i) many.indices.push_back(i < 1027 ? 1 : i % 2);
  for (size_t i = 0; i < 1020; ++i) many.mask[i] = 0.0f;
  const auto apart = run_kernel(2, many, false, 0, false);
  check_close(apart.y, reference<double>(many).y, reference<float>(many).y);
  CHECK(same_bits(run_kernel(2, many, true, 0, false).y, apart.y));
}

// The decisions, computed here from the numbers themselves.
TEST_CASE("stochastic_depth decides by the bits of the key and the sample's id") {
  const RandomSource source = random_source(kKey);
  const std::vector<float> mask = sample_mask(kKey, 1000, 0.3f, 17);
  for (uint64_t i = 0; i < 1000; ++i) CHECK(mask[i] == (random_bernoulli(source, 17 + i, 0, 0.3f) ? 0.0f : 1.0f / (1.0f - 0.3f)));
  std::vector<int64_t> ids;
  std::vector<std::pair<uint64_t, int32_t>> order;
  for (int32_t row = 0; row < 300; ++row) {
    ids.push_back(row % 7 == 3 ? 5 : 1000000007LL * row);  // equal ids: the order of the rows
    order.emplace_back(random_order(source, static_cast<uint64_t>(ids.back())), row);
  }
  std::sort(order.begin(), order.end());
  const std::vector<int32_t> subset = sample_subset(kKey, 300, 211, ids);
  for (size_t i = 0; i < subset.size(); ++i) CHECK(subset[i] == order[i].second);
}

#if defined(GATUN_CUDA)
TEST_CASE("stochastic_depth: an index out of range touches nothing, and what depends on it is NaN") {
  for (const int64_t channels : {6, 264}) {
    Problem p = problem(4, 3, 1, channels, false, false, true, 980);
    p.indices = {2, 4, 0};
    const auto apart = run_kernel(1, p), in_place = run_kernel(1, p, true);
    for (int64_t i = 0; i < 4 * channels; ++i) {
      CHECK(std::isnan(apart.y[static_cast<size_t>(i)]));
      if (i / channels % 2 == 0) CHECK(std::isnan(in_place.y[static_cast<size_t>(i)]));
      if (i / channels < 3) CHECK(std::isnan(apart.dresidual[static_cast<size_t>(i)]) == (i / channels == 1));
    }
    for (const float value : apart.dgamma) CHECK(std::isnan(value));
  }
}
#endif

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
#if !defined(GATUN_CUDA)
  attempt({size, 1, all, some, two, kNone, kNone, all}, "indices[1] is 5, x has 4 rows");
#endif
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

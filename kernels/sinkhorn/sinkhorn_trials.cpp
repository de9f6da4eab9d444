// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/sinkhorn/sinkhorn_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kEpsilon = 0.05f;
constexpr int kIterations = 3;

gatun_sinkhorn_desc describe(int64_t samples, int64_t prototypes) {
  const gatun_layout matrix = layout(GATUN_F32, {samples, prototypes});
  return {sizeof(gatun_sinkhorn_desc), kEpsilon, kIterations, 0, matrix, matrix};
}

template <class T>
gatun_sinkhorn_streaming_desc describe_streaming(int64_t samples, int64_t prototypes, int64_t depth) {
  return {sizeof(gatun_sinkhorn_streaming_desc), kEpsilon, kIterations, 0, layout(testing::kDtype<T>, {samples, depth}),
          layout(testing::kDtype<T>, {prototypes, depth}), layout(GATUN_F32, {samples}), layout(GATUN_F32, {prototypes}),
          layout(GATUN_F32, {samples, prototypes})};
}

template <class Desc>
size_t workspace_bytes(gatun_status (*query)(const Desc*, size_t*, gatun_error*), const Desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return query(&desc, &bytes, e); });
  return bytes;
}

// As cosines are spread.
std::vector<float> cosines(std::vector<float> values) {
  for (float& value : values) value = std::clamp(0.3f * value, -1.0f, 1.0f);
  return values;
}

template <class T>
std::vector<T> reference(const std::vector<T>& scores, int64_t samples, int64_t prototypes) {
  std::vector<T> codes(scores.size());
  sinkhorn_reference<T>(scores.data(), codes.data(), samples, prototypes, static_cast<T>(kEpsilon), kIterations);
  return codes;
}

template <class T>
std::vector<T> products(const std::vector<float>& z, const std::vector<float>& c, int64_t depth) {
  std::vector<T> scores;
  const size_t length = static_cast<size_t>(depth);
  for (size_t b = 0; b < z.size(); b += length) {
    for (size_t k = 0; k < c.size(); k += length) {
      T sum = 0;
      for (size_t i = 0; i < length; ++i) sum += static_cast<T>(z[b + i]) * static_cast<T>(c[k + i]);
      scores.push_back(sum);
    }
  }
  return scores;
}

template <class T>
void selftest_streaming(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const int64_t samples = s.extent(1, 600), prototypes = s.extent(1, 600), depth = s.extent(1, 200);
    const float length = 1 / std::sqrt(static_cast<float>(depth));
    const std::vector<T> z = testing::stored<T>(s.normal(samples * depth, length)), c = testing::stored<T>(s.normal(prototypes * depth, length));
    const std::vector<float> features = testing::loaded(z), directions = testing::loaded(c);
    const auto desc = describe_streaming<T>(samples, prototypes, depth);
    const Buffer<T> z_buffer(s.device(), z), c_buffer(s.device(), c);
    Buffer<float> f(s.device(), static_cast<size_t>(samples)), g(s.device(), static_cast<size_t>(prototypes));
    Buffer<float> codes(s.device(), static_cast<size_t>(samples * prototypes));
    const size_t bytes = workspace_bytes(gatun_sinkhorn_streaming_workspace, desc);
    Buffer<char> workspace(s.device(), bytes);
    call([&](gatun_error* e) {
      return gatun_sinkhorn_streaming(s.stream(), &desc, z_buffer.data(), c_buffer.data(), f.data(), g.data(), workspace.data(), bytes, e);
    });
    call([&](gatun_error* e) {
      return gatun_sinkhorn_streaming_codes(s.stream(), &desc, z_buffer.data(), c_buffer.data(), f.data(), g.data(), codes.data(), workspace.data(), bytes, e);
    });
    const std::vector<double> scores = products<double>(features, directions, depth), truth = reference(scores, samples, prototypes);
    const std::vector<float> naive = reference(products<float>(features, directions, depth), samples, prototypes);
    // A code is the exponential of score / epsilon and two potentials as large: what these lose by rounding, the code loses relatively.
    const double exponent = 4 * std::numeric_limits<float>::epsilon() * (1 + testing::magnitude(scores) / kEpsilon);
    s.add("streaming", dtype<T>(), {samples, prototypes, depth}, testing::distance(codes.values(), truth),
          testing::bound(truth, naive) + exponent * testing::magnitude(truth));
  }
}

void selftest(Selftest& s) {
  for (int round = 0; round < 2 * s.rounds(); ++round) {
    // Half of the shapes long: in rows that no warp holds, and more than a small device keeps on chip.
    const int64_t samples = s.extent(1, round % 2 == 0 ? 3000 : 100), prototypes = s.extent(1, round % 2 == 0 ? 100 : 20000);
    const std::vector<float> scores = cosines(s.normal(samples * prototypes));
    const gatun_sinkhorn_desc desc = describe(samples, prototypes);
    const Buffer<float> in(s.device(), scores);
    Buffer<float> codes(s.device(), scores.size());
    const size_t bytes = workspace_bytes(gatun_sinkhorn_workspace, desc);
    Buffer<char> workspace(s.device(), bytes);
    call([&](gatun_error* e) { return gatun_sinkhorn(s.stream(), &desc, in.data(), codes.data(), workspace.data(), bytes, e); });
    s.check("codes", "f32", {samples, prototypes}, codes.values(), reference(std::vector<double>(scores.begin(), scores.end()), samples, prototypes),
            reference(scores, samples, prototypes));
  }
  for_each_storage(s.device(), [&](auto type) { selftest_streaming<decltype(type)>(s); });
}

template <class T>
void bench_streaming(Bench& b, int64_t samples, int64_t prototypes, int64_t depth) {
  const double pairs = static_cast<double>(samples) * static_cast<double>(prototypes);
  const Cost cost{.flops = 2.0 * kIterations * pairs * (2 * static_cast<double>(depth) + 4),
                  .bytes = static_cast<double>((samples + prototypes) * depth) * sizeof(T),
                  .tensor_cores = sizeof(T) == 2};
  b.row("streaming", dtype<T>(), {samples, prototypes, depth}, cost, [=](Run& run) {
    const float length = 1 / std::sqrt(static_cast<float>(depth));
    Rotating<T> z = run.normal<T>(samples * depth, length), c = run.normal<T>(prototypes * depth, length);
    Rotating<float> f = run.empty<float>(samples), g = run.empty<float>(prototypes);
    const auto desc = describe_streaming<T>(samples, prototypes, depth);
    const size_t bytes = workspace_bytes(gatun_sinkhorn_streaming_workspace, desc);
    Buffer<char> workspace(run.device(), bytes);
    run.time([&](int i, gatun_error* e) {
      return gatun_sinkhorn_streaming(run.stream(), &desc, z[i], c[i], f[i], g[i], workspace.data(), bytes, e);
    });
  });
}

void bench(Bench& b) {
  struct Shape { int64_t samples, prototypes; };
  std::vector<Shape> shapes{{64, 128}};
  if (!b.emulated()) shapes = {{256, 100}, {1024, 3000}, {4096, 3000}};
  if (!b.emulated() && !b.device().cpu()) shapes.insert(shapes.end(), {{2048, 3000}, {16384, 4096}, {32768, 16384}});
  for (const auto [samples, prototypes] : shapes) {
    const double n = static_cast<double>(samples * prototypes);
    // Where the device cannot hold the scores they are read once in each iteration and once for the codes.
    b.row("codes", "f32", {samples, prototypes}, {.flops = (kIterations + 1) * 4 * n, .bytes = (kIterations + 2) * 4 * n}, [=](Run& run) {
      Rotating<float> scores = run.filled(cosines(testing::normal(samples * prototypes, 1))), codes = run.empty<float>(samples * prototypes);
      const gatun_sinkhorn_desc desc = describe(samples, prototypes);
      const size_t bytes = workspace_bytes(gatun_sinkhorn_workspace, desc);
      Buffer<char> workspace(run.device(), bytes);
      run.time([&](int i, gatun_error* e) { return gatun_sinkhorn(run.stream(), &desc, scores[i], codes[i], workspace.data(), bytes, e); });
    });
  }
  for_each_storage(b.device(), [&](auto type) {
    using T = decltype(type);
    if (b.emulated()) return bench_streaming<T>(b, 40, 50, 16);
    bench_streaming<T>(b, 4096, 3000, 128);
    if (!b.device().cpu()) bench_streaming<T>(b, 65536, 65536, 256);
  });
}

GATUN_TRIALS(sinkhorn, selftest, bench);

}  // namespace
}  // namespace gatun::trial

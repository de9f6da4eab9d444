// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear_cross_entropy/linear_cross_entropy_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

gatun_linear_cross_entropy_desc describe(int64_t rows, int64_t count, int64_t depth, int64_t target_rows, float temperature) {
  gatun_linear_cross_entropy_desc desc{};
  desc.struct_size = sizeof desc;
  desc.temperature = temperature;
  desc.factor = 1.0f / static_cast<float>(rows);
  desc.z = desc.dz = layout(GATUN_F32, {rows, depth});
  desc.prototypes = desc.dprototypes = layout(GATUN_F32, {count, depth});
  desc.targets = layout(GATUN_F32, {target_rows, count});
  desc.loss = layout(GATUN_F32, {rows});
  return desc;
}

size_t workspace_bytes(gatun_stream* stream, const gatun_linear_cross_entropy_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_linear_cross_entropy_workspace(stream, &desc, &bytes, e); });
  return bytes;
}

void selftest(Selftest& s) {
  if (!s.device().cpu()) return;
  for (int round = 0; round < s.rounds(); ++round) {
    const int64_t views = s.extent(1, 3), rows = views * s.extent(1, 100), count = s.extent(1, 2000), depth = s.extent(1, 100);
    const float temperature = s.chance(0.5) ? 1.0f : 0.1f, length = 1 / std::sqrt(static_cast<float>(depth));
    const std::vector<float> z = s.normal(rows * depth, length), prototypes = s.normal(count * depth);
    std::vector<float> targets = s.normal(rows / views * count);
    for (float& t : targets) t = std::abs(t) / static_cast<float>(count);
    const auto desc = describe(rows, count, depth, rows / views, temperature);
    const auto reference = [&]<class T>(T) {
      const auto wide = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
      return linear_cross_entropy_reference<T>(wide(z), wide(prototypes), wide(targets), static_cast<size_t>(depth), static_cast<T>(temperature),
                                               static_cast<T>(desc.factor));
    };
    const auto truth = reference(double{});
    const auto naive = reference(float{});
    const Buffer<float> z_buffer(s.device(), z), prototypes_buffer(s.device(), prototypes), targets_buffer(s.device(), targets);
    Buffer<float> loss(s.device(), static_cast<size_t>(rows)), dz(s.device(), z.size()), dprototypes(s.device(), prototypes.size());
    const size_t bytes = workspace_bytes(s.stream(), desc);
    Buffer<char> workspace(s.device(), bytes);
    call([&](gatun_error* e) {
      return gatun_linear_cross_entropy(s.stream(), &desc, z_buffer.data(), prototypes_buffer.data(), targets_buffer.data(), nullptr, loss.data(), dz.data(),
                                        dprototypes.data(), workspace.data(), bytes, e);
    });
    const ShapeText shape{rows, count, depth};
    s.check("loss", "f32", shape, loss.values(), truth.loss, naive.loss);
    s.check("dz", "f32", shape, dz.values(), truth.dz, naive.dz);
    s.check("dprototypes", "f32", shape, dprototypes.values(), truth.dprototypes, naive.dprototypes);
  }
}

void bench(Bench& b) {
  if (!b.device().cpu()) return;
  constexpr int64_t kCount = 3000, kDepth = 128;
  for (const int64_t rows : {int64_t{256}, int64_t{1024}}) {
    const double flops = 6.0 * static_cast<double>(rows * kCount * kDepth);
    b.row("both", "f32", {rows, kCount, kDepth}, {.flops = flops, .bytes = 4.0 * static_cast<double>(rows * kCount)}, [=](Run& run) {
      const float length = 1 / std::sqrt(static_cast<float>(kDepth));
      Rotating<float> z = run.normal<float>(rows * kDepth, length), prototypes = run.normal<float>(kCount * kDepth, length);
      Rotating<float> targets = run.filled(std::vector<float>(static_cast<size_t>(rows * kCount), 1.0f / kCount));
      Rotating<float> loss = run.empty<float>(rows), dz = run.empty<float>(rows * kDepth), dprototypes = run.empty<float>(kCount * kDepth);
      const auto desc = describe(rows, kCount, kDepth, rows, 0.1f);
      const size_t bytes = workspace_bytes(run.stream(), desc);
      Buffer<char> workspace(run.device(), bytes);
      run.time([&](int i, gatun_error* e) {
        return gatun_linear_cross_entropy(run.stream(), &desc, z[i], prototypes[i], targets[i], nullptr, loss[i], dz[i], dprototypes[i], workspace.data(),
                                          bytes, e);
      });
    });
  }
}

GATUN_TRIALS(linear_cross_entropy, selftest, bench);

}  // namespace
}  // namespace gatun::trial

// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "kernels/random/random.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

gatun_random_key key_of(uint32_t seed) { return {0x9e3779b97f4a7c15ull * (seed + 1), seed, seed % 97, 0}; }

gatun_random_uniform_desc uniform_desc(int64_t rows, int64_t columns, int64_t first = 0) {
  return {sizeof(gatun_random_uniform_desc), -2, 3, 0, first, {}, layout(GATUN_F32, {rows, columns})};
}

gatun_random_normal_desc normal_desc(int64_t rows, int64_t columns, int64_t first = 0) {
  return {sizeof(gatun_random_normal_desc), 0.5f, 2, 0, first, {}, layout(GATUN_F32, {rows, columns})};
}

gatun_random_permutation_desc permutation_desc(int64_t count) {
  return {sizeof(gatun_random_permutation_desc), 0, count, layout(GATUN_I32, {count})};
}

size_t workspace_bytes(const gatun_random_permutation_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_random_permutation_workspace(&desc, &bytes, e); });
  return bytes;
}

// Every number is the header's, to the bit.
void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const int64_t rows = s.extent(1, 60), columns = s.extent(1, 4000), first = s.extent(0, 1 << 20), count = s.extent(1, 30000);
    const gatun_random_key key = key_of(s.seed());
    const RandomSource source = random_source(key);
    std::vector<float> uniform, normal;
    for (int64_t r = 0; r < rows; ++r) {
      const uint64_t id = static_cast<uint64_t>(first + r);
      for (uint64_t c = 0; c < static_cast<uint64_t>(columns); ++c) {
        uniform.push_back(random_uniform(source, id, c, -2, 3));
        normal.push_back(random_fma(random_normal(source, id, c), 2, 0.5f));
      }
    }
    std::vector<int32_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return random_order(source, static_cast<uint64_t>(a)) < random_order(source, static_cast<uint64_t>(b));
    });
    const Buffer<gatun_random_key> keys(s.device(), std::vector<gatun_random_key>{key});
    Buffer<float> out(s.device(), uniform.size());
    const auto uniforms = uniform_desc(rows, columns, first);
    call([&](gatun_error* e) { return gatun_random_uniform(s.stream(), &uniforms, keys.data(), nullptr, out.data(), e); });
    s.check_equal("uniform", "f32", {rows, columns}, out.values(), uniform);
    const auto normals = normal_desc(rows, columns, first);
    call([&](gatun_error* e) { return gatun_random_normal(s.stream(), &normals, keys.data(), nullptr, out.data(), e); });
    s.check_equal("normal", "f32", {rows, columns}, out.values(), normal);
    const auto permutation = permutation_desc(count);
    Buffer<uint8_t> workspace(s.device(), workspace_bytes(permutation));
    Buffer<int32_t> permuted(s.device(), order.size());
    call([&](gatun_error* e) {
      return gatun_random_permutation(s.stream(), &permutation, keys.data(), permuted.data(), workspace.data(), workspace.size(), e);
    });
    s.check_equal("permutation", "i32", {count}, permuted.values(), order);
  }
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; };
  // Noise of a batch of images, and one long tensor of initial weights.
  const std::vector<Shape> shapes = b.emulated() ? std::vector<Shape>{{4, 768}} : std::vector<Shape>{{256, 3072}, {1, 1 << 24}};
  for (const auto [rows, columns] : shapes) {
    const double n = static_cast<double>(rows * columns);
    b.row("uniform", "f32", {rows, columns}, {.flops = 2 * n, .bytes = 4 * n}, [&, rows, columns](Run& run) {
      Rotating<float> out = run.empty<float>(rows * columns);
      Rotating<gatun_random_key> key = run.filled(std::vector<gatun_random_key>{key_of(1)});
      const auto desc = uniform_desc(rows, columns);
      run.time([&](int i, gatun_error* e) { return gatun_random_uniform(run.stream(), &desc, key[i], nullptr, out[i], e); });
    });
    b.row("normal", "f32", {rows, columns}, {.flops = 30 * n, .bytes = 4 * n}, [&, rows, columns](Run& run) {
      Rotating<float> out = run.empty<float>(rows * columns);
      Rotating<gatun_random_key> key = run.filled(std::vector<gatun_random_key>{key_of(1)});
      const auto desc = normal_desc(rows, columns);
      run.time([&](int i, gatun_error* e) { return gatun_random_normal(run.stream(), &desc, key[i], nullptr, out[i], e); });
    });
  }
  // The samples of a batch, the images of ImageNet.
  const std::vector<int64_t> counts = b.emulated() ? std::vector<int64_t>{300} : std::vector<int64_t>{1024, 1281167};
  for (const int64_t count : counts) {
    // Keys are written and read once at the least, the numbers written.
    b.row("permutation", "i32", {count}, {.bytes = 20.0 * static_cast<double>(count)}, [&, count](Run& run) {
      const auto desc = permutation_desc(count);
      Rotating<int32_t> out = run.empty<int32_t>(count);
      Rotating<uint8_t> workspace = run.empty<uint8_t>(static_cast<int64_t>(workspace_bytes(desc)));
      Rotating<gatun_random_key> key = run.filled(std::vector<gatun_random_key>{key_of(1)});
      run.time([&](int i, gatun_error* e) {
        return gatun_random_permutation(run.stream(), &desc, key[i], out[i], workspace[i], workspace_bytes(desc), e);
      });
    });
  }
}

GATUN_TRIALS(random, selftest, bench);

}  // namespace
}  // namespace gatun::trial

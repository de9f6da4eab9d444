// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "kernels/kmeans/kmeans_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

gatun_kmeans_assign_desc assign_desc(int64_t n, int64_t k, int64_t depth, bool spherical) {
  return {sizeof(gatun_kmeans_assign_desc), spherical, layout(GATUN_F32, {n, depth}), layout(GATUN_F32, {k, depth}), layout(GATUN_I32, {n}), layout(GATUN_F32, {n})};
}

gatun_kmeans_sums_desc sums_desc(int64_t n, int64_t k, int64_t depth) {
  return {sizeof(gatun_kmeans_sums_desc), 0, layout(GATUN_F32, {n, depth}), layout(GATUN_I32, {n}), layout(GATUN_F32, {k, depth}), layout(GATUN_I64, {k})};
}

template <class Desc>
size_t workspace_bytes(gatun_status (*query)(const Desc*, size_t*, gatun_error*), const Desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return query(&desc, &bytes, e); });
  return bytes;
}

void selftest(Selftest& s) {
  for (int round = 0; round < 2 * s.rounds(); ++round) {
    const bool spherical = round % 2 == 1;
    const int64_t n = s.extent(1, 2000), k = s.extent(1, 300), depth = s.extent(1, 300);
    const size_t rows_count = static_cast<size_t>(n), sums_count = static_cast<size_t>(k * depth);
    const std::vector<float> rows = s.normal(n * depth), centroids = s.normal(k * depth);
    const std::vector<double> wide_rows = testing::widen(rows), wide_centroids = testing::widen(centroids);
    std::vector<int32_t> best(rows_count), naive_best(rows_count);
    std::vector<double> truth(rows_count), sums_truth(sums_count);
    std::vector<float> naive(rows_count), sums_naive(sums_count);
    std::vector<int64_t> counts_truth(static_cast<size_t>(k));
    kmeans_assign_reference<double>(wide_rows.data(), wide_centroids.data(), best.data(), truth.data(), n, k, depth, spherical);
    kmeans_assign_reference<float>(rows.data(), centroids.data(), naive_best.data(), naive.data(), n, k, depth, spherical);

    const Buffer<float> in(s.device(), rows), means(s.device(), centroids);
    Buffer<int32_t> assignment(s.device(), rows_count);
    Buffer<float> score(s.device(), rows_count), sums(s.device(), sums_count);
    Buffer<int64_t> counts(s.device(), static_cast<size_t>(k));
    const auto assign = assign_desc(n, k, depth, spherical);
    const size_t assign_bytes = workspace_bytes(gatun_kmeans_assign_workspace, assign);
    Buffer<char> assign_workspace(s.device(), assign_bytes);
    call([&](gatun_error* e) {
      return gatun_kmeans_assign(s.stream(), &assign, in.data(), means.data(), assignment.data(), score.data(), assign_workspace.data(), assign_bytes, e);
    });
    const char* name = spherical ? "assign, spherical" : "assign";
    s.check(name, "f32", {n, k, depth}, score.values(), truth, naive);
    // Where rounding decides between two centroids either will do, but the one chosen must be as good.
    const std::vector<int32_t> chosen = assignment.values();
    std::vector<double> own(rows_count);
    for (size_t i = 0; i < rows_count; ++i) {
      own[i] = chosen[i] < 0 || chosen[i] >= k ? std::numeric_limits<double>::quiet_NaN()
                                               : kmeans_score_reference<double>(wide_rows.data() + static_cast<int64_t>(i) * depth,
                                                                                wide_centroids.data() + chosen[i] * depth, depth, spherical);
    }
    s.add(std::string(name) + ", choice", "f32", ShapeText({n, k, depth}).text, testing::distance(own, truth), 2 * testing::bound(truth, naive));

    kmeans_sums_reference<double>(wide_rows.data(), chosen.data(), sums_truth.data(), counts_truth.data(), n, k, depth);
    kmeans_sums_reference<float>(rows.data(), chosen.data(), sums_naive.data(), counts_truth.data(), n, k, depth);
    const auto add = sums_desc(n, k, depth);
    const size_t sums_bytes = workspace_bytes(gatun_kmeans_sums_workspace, add);
    Buffer<char> sums_workspace(s.device(), sums_bytes);
    call([&](gatun_error* e) {
      return gatun_kmeans_sums(s.stream(), &add, in.data(), assignment.data(), sums.data(), counts.data(), sums_workspace.data(), sums_bytes, e);
    });
    s.check("sums", "f32", {n, k, depth}, sums.values(), sums_truth, sums_naive);
    s.check_equal("counts", "i64", {n, k}, counts.values(), counts_truth);
  }
}

void bench(Bench& b) {
  struct Shape { int64_t n, k, depth; };
  std::vector<Shape> shapes{{130, 20, 16}};
  if (!b.emulated()) shapes = {{16384, 1000, 128}};
  if (!b.emulated() && !b.device().cpu()) shapes.push_back({262144, 3000, 128});
  for (const auto [n, k, depth] : shapes) {
    const double pairs = static_cast<double>(n) * static_cast<double>(k), elements = static_cast<double>(n * depth);
    for (const bool spherical : {false, true}) {
      const Cost cost{.flops = pairs * static_cast<double>(depth) * (spherical ? 2 : 3), .bytes = 4 * (elements + static_cast<double>(k * depth)) + 8.0 * static_cast<double>(n)};
      b.row(spherical ? "assign, spherical" : "assign", "f32", {n, k, depth}, cost, [=](Run& run) {
        Rotating<float> rows = run.normal<float>(n * depth), centroids = run.normal<float>(k * depth), score = run.empty<float>(n);
        Rotating<int32_t> assignment = run.empty<int32_t>(n);
        const auto desc = assign_desc(n, k, depth, spherical);
        const size_t bytes = workspace_bytes(gatun_kmeans_assign_workspace, desc);
        Buffer<char> workspace(run.device(), bytes);
        run.time([&](int i, gatun_error* e) {
          return gatun_kmeans_assign(run.stream(), &desc, rows[i], centroids[i], assignment[i], score[i], workspace.data(), bytes, e);
        });
      });
    }
    b.row("sums", "f32", {n, k, depth}, {.flops = elements, .bytes = 4 * elements + 4.0 * static_cast<double>(n)}, [=](Run& run) {
      std::vector<int32_t> index(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) index[static_cast<size_t>(i)] = static_cast<int32_t>(i * 7919 % k);
      Rotating<float> rows = run.normal<float>(n * depth), sums = run.empty<float>(k * depth);
      Rotating<int32_t> assignment = run.filled(index);
      Rotating<int64_t> counts = run.empty<int64_t>(k);
      const auto desc = sums_desc(n, k, depth);
      const size_t bytes = workspace_bytes(gatun_kmeans_sums_workspace, desc);
      Buffer<char> workspace(run.device(), bytes);
      run.time([&](int i, gatun_error* e) {
        return gatun_kmeans_sums(run.stream(), &desc, rows[i], assignment[i], sums[i], counts[i], workspace.data(), bytes, e);
      });
    });
  }
}

GATUN_TRIALS(kmeans, selftest, bench);

}  // namespace
}  // namespace gatun::trial

// SPDX-License-Identifier: Apache-2.0
#include "kernels/kmeans/kmeans_reference.h"

#include <array>

#include "kernels/testing/memory.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

class Workspace {
 public:
  Workspace(Device& device, size_t bytes) : bytes(bytes), device_(device) {
    require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &memory, e); });
  }
  ~Workspace() { gatun_memory_free(device_.context(), memory, nullptr); }
  void* memory = nullptr;
  const size_t bytes;

 private:
  Device& device_;
};

struct Assigned {
  std::vector<int32_t> assignment;
  std::vector<float> score;
};

Assigned assign(int threads, const std::vector<float>& rows, const std::vector<float>& centroids, int64_t n, int64_t k, int64_t dimension,
                bool spherical, int64_t padding = 0) {
  Device device(threads);
  const int64_t stride = dimension + padding;
  std::vector<float> buffer(static_cast<size_t>(n * stride), 1e9f);
  for (int64_t r = 0; r < n; ++r) std::copy_n(rows.begin() + r * dimension, dimension, buffer.begin() + r * stride);
  const Memory<float> in(buffer), means(centroids);
  Memory<int32_t> assignment(static_cast<size_t>(n), 7);
  Memory<float> score(static_cast<size_t>(n), 7.0f);
  const gatun_kmeans_assign_desc desc{sizeof desc, spherical, layout(GATUN_F32, {n, dimension}, {stride, 1}), layout(GATUN_F32, {k, dimension}),
                                      layout(GATUN_I32, {n}), layout(GATUN_F32, {n})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_kmeans_assign_workspace(&desc, &bytes, e); });
  Workspace workspace(device, bytes);
  run([&](gatun_error* e) {
    return gatun_kmeans_assign(device.stream(), &desc, in.data(), means.data(), assignment.data(), score.data(), workspace.memory, bytes, e);
  });
  return {assignment.values(), score.values()};
}

struct Sums {
  std::vector<float> sums;
  std::vector<int64_t> counts;
};

Sums sum(int threads, const std::vector<float>& rows, const std::vector<int32_t>& assignment, int64_t k, int64_t dimension) {
  Device device(threads);
  const int64_t n = static_cast<int64_t>(assignment.size());
  const Memory<float> in(rows);
  const Memory<int32_t> index(assignment);
  Memory<float> sums(static_cast<size_t>(k * dimension), 7.0f);
  Memory<int64_t> counts(static_cast<size_t>(k), 7);
  const gatun_kmeans_sums_desc desc{sizeof desc, 0, layout(GATUN_F32, {n, dimension}), layout(GATUN_I32, {n}), layout(GATUN_F32, {k, dimension}),
                                    layout(GATUN_I64, {k})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_kmeans_sums_workspace(&desc, &bytes, e); });
  Workspace workspace(device, bytes);
  run([&](gatun_error* e) {
    return gatun_kmeans_sums(device.stream(), &desc, in.data(), index.data(), sums.data(), counts.data(), workspace.memory, bytes, e);
  });
  return {sums.values(), counts.values()};
}

void update(Sums& sums, std::vector<float>& centroids, int64_t k, int64_t dimension, bool spherical, int32_t empty) {
  Device device;
  const gatun_layout matrix = layout(GATUN_F32, {k, dimension});
  const gatun_kmeans_update_desc desc{sizeof desc, spherical, empty, 0, matrix, layout(GATUN_I64, {k}), matrix};
  const Memory<float> in(sums.sums);
  Memory<int64_t> counts(sums.counts);
  Memory<float> means(centroids);
  run([&](gatun_error* e) { return gatun_kmeans_update(device.stream(), &desc, in.data(), counts.data(), means.data(), e); });
  sums.counts = counts.values();
  centroids = means.values();
}

std::vector<float> unit_rows(int64_t n, int64_t dimension, uint32_t seed) {
  std::vector<float> rows = normal(n * dimension, seed);
  for (int64_t r = 0; r < n; ++r) {
    double squares = 0;
    for (int64_t c = 0; c < dimension; ++c) squares += static_cast<double>(rows[static_cast<size_t>(r * dimension + c)]) * static_cast<double>(rows[static_cast<size_t>(r * dimension + c)]);
    for (int64_t c = 0; c < dimension; ++c) rows[static_cast<size_t>(r * dimension + c)] /= static_cast<float>(std::sqrt(squares));
  }
  return rows;
}

}  // namespace

TEST_CASE("kmeans_assign matches the double reference on odd shapes, strides and thread counts") {
  uint32_t seed = 1;
  for (const auto& [n, k, dimension] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {3, 2, 5}, {65, 47, 16}, {64, 48, 33}, {130, 49, 7}, {7, 300, 64}, {0, 3, 4}}) {
    for (const bool spherical : {false, true}) {
      CAPTURE(n);
      CAPTURE(k);
      CAPTURE(spherical);
      const std::vector<float> rows = normal(n * dimension, ++seed), centroids = normal(k * dimension, ++seed);
      std::vector<int32_t> best(static_cast<size_t>(n)), naive_best(best);
      std::vector<double> truth(best.size());
      std::vector<float> naive(best.size());
      kmeans_assign_reference<double>(widen(rows).data(), widen(centroids).data(), best.data(), truth.data(), n, k, dimension, spherical);
      kmeans_assign_reference<float>(rows.data(), centroids.data(), naive_best.data(), naive.data(), n, k, dimension, spherical);
      const Assigned result = assign(2, rows, centroids, n, k, dimension, spherical, 3);
      check_close(result.score, truth, naive);
      for (size_t i = 0; i < result.assignment.size(); ++i) {
        REQUIRE(result.assignment[i] >= 0);
        REQUIRE(result.assignment[i] < k);
        // Where rounding decides between two centroids either will do, but the one chosen must be as good.
        const double own = kmeans_score_reference<double>(widen(rows).data() + i * static_cast<size_t>(dimension),
                                                          widen(centroids).data() + result.assignment[i] * dimension, dimension, spherical);
        CHECK(std::abs(own - truth[i]) <= 2 * bound(truth, naive));
      }
      for (const int threads : {1, 3}) {
        const Assigned other = assign(threads, rows, centroids, n, k, dimension, spherical);
        CHECK(other.assignment == result.assignment);
        CHECK(same_bits(other.score, result.score));
      }
    }
  }
}

TEST_CASE("kmeans_assign: ties go to the lowest index, wherever the equal centroids stand") {
  const int64_t n = 70, k = 200, dimension = 19;
  const std::vector<float> rows = normal(n * dimension, 40), few = normal(3 * dimension, 41);
  std::vector<float> centroids;
  for (int64_t j = 0; j < k; ++j) centroids.insert(centroids.end(), few.begin() + j % 3 * dimension, few.begin() + (j % 3 + 1) * dimension);
  for (const bool spherical : {false, true}) {
    const Assigned three = assign(2, rows, few, n, 3, dimension, spherical), all = assign(2, rows, centroids, n, k, dimension, spherical);
    CHECK(all.assignment == three.assignment);
    CHECK(same_bits(all.score, three.score));
  }
}

TEST_CASE("kmeans_assign: far from the origin distances keep their digits; rows with a NaN belong nowhere") {
  // Expanded into products, these distances of about 1 would drown in squares of 1e8.
  std::vector<float> rows{10000, 10000, 10001, 10000}, centroids{10000, 10000.5f, 10001, 10000.5f};
  const Assigned far = assign(2, rows, centroids, 2, 2, 2, false);
  CHECK(far.assignment == std::vector<int32_t>{0, 1});
  CHECK(far.score == std::vector<float>{0.25f, 0.25f});
  rows[1] = std::numeric_limits<float>::quiet_NaN();
  for (const bool spherical : {false, true}) {
    const Assigned nan = assign(2, rows, centroids, 2, 2, 2, spherical);
    CHECK(nan.assignment == std::vector<int32_t>{-1, 1});
    CHECK(std::isnan(nan.score[0]));
  }
}

TEST_CASE("kmeans_sums matches the double reference; rows without a centroid are left out") {
  uint32_t seed = 60;
  for (const auto& [n, k, dimension] : std::vector<std::array<int64_t, 3>>{{1, 1, 1}, {90, 7, 33}, {1100, 40, 16}, {60, 9, 130}, {0, 2, 3}}) {
    const std::vector<float> rows = normal(n * dimension, ++seed);
    std::mt19937 generator(++seed);
    std::vector<int32_t> assignment(static_cast<size_t>(n));
    for (int32_t& value : assignment) value = static_cast<int32_t>(generator() % static_cast<uint32_t>(k + 1)) - 1;
    std::vector<double> truth(static_cast<size_t>(k * dimension));
    std::vector<float> naive(truth.size());
    std::vector<int64_t> counts(static_cast<size_t>(k));
    kmeans_sums_reference<double>(widen(rows).data(), assignment.data(), truth.data(), counts.data(), n, k, dimension);
    kmeans_sums_reference<float>(rows.data(), assignment.data(), naive.data(), counts.data(), n, k, dimension);
    const Sums result = sum(2, rows, assignment, k, dimension);
    check_close(result.sums, truth, naive);
    CHECK(result.counts == counts);
    for (const int threads : {1, 3}) CHECK(same_bits(sum(threads, rows, assignment, k, dimension).sums, result.sums));
  }
}

TEST_CASE("kmeans_update: means, empty centroids kept or split, unit length") {
  const std::vector<float> old{1, 1, 2, 2, 3, 4};
  Sums sums{{4, 8, 0, 0, 10, 0}, {4, 0, 5}};
  std::vector<float> centroids = old;
  update(sums, centroids, 3, 2, false, GATUN_KMEANS_KEEP);
  CHECK(centroids == std::vector<float>{1, 2, 2, 2, 2, 0});
  CHECK(sums.counts == std::vector<int64_t>{4, 0, 5});

  centroids = old;
  update(sums, centroids, 3, 2, false, GATUN_KMEANS_SPLIT);
  constexpr float kEpsilon = 1.0f / 1024;
  CHECK(centroids == std::vector<float>{1, 2, 2 * (1 + kEpsilon), 0, 2 * (1 - kEpsilon), 0});
  CHECK(sums.counts == std::vector<int64_t>{4, 2, 3});

  // Nothing to split: one row a cluster.
  Sums single{{4, 8, 0, 0}, {1, 0}};
  centroids = {1, 1, 2, 2};
  update(single, centroids, 2, 2, false, GATUN_KMEANS_SPLIT);
  CHECK(centroids == std::vector<float>{4, 8, 2, 2});

  Sums spherical{{6, 8, 0, 0, 0, 0}, {2, 0, 1}};
  centroids = {1, 0, 0, 1, 1, 0};
  update(spherical, centroids, 3, 2, true, GATUN_KMEANS_KEEP);
  CHECK(centroids[0] == doctest::Approx(0.6));
  CHECK(centroids[1] == doctest::Approx(0.8));
  CHECK(centroids[2] == 0.0f);
  CHECK(centroids[3] == 1.0f);
  CHECK(centroids[4] == 0.0f);
  CHECK(centroids[5] == 0.0f);
}

TEST_CASE("kmeans: the objective never rises, and separate clusters are found") {
  const int64_t n = 600, k = 6, dimension = 10;
  for (const bool spherical : {false, true}) {
    const std::vector<float> middles = unit_rows(k, dimension, 80);
    std::vector<float> rows = normal(n * dimension, 81, 0.03f);
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < dimension; ++c) rows[static_cast<size_t>(r * dimension + c)] += middles[static_cast<size_t>(r % k * dimension + c)];
    }
    std::vector<float> centroids(rows.begin(), rows.begin() + k * dimension);
    double last = std::numeric_limits<double>::infinity();
    std::vector<int32_t> assignment;
    for (int iteration = 0; iteration < 10; ++iteration) {
      const Assigned assigned = assign(2, rows, centroids, n, k, dimension, spherical);
      double objective = 0;
      for (const float value : assigned.score) objective += spherical ? -static_cast<double>(value) : static_cast<double>(value);
      CHECK(objective <= last + 1e-5 * std::abs(objective));
      last = objective;
      assignment = assigned.assignment;
      Sums sums = sum(2, rows, assignment, k, dimension);
      update(sums, centroids, k, dimension, spherical, GATUN_KMEANS_KEEP);
    }
    for (int64_t r = 0; r < n; ++r) CHECK(assignment[static_cast<size_t>(r)] == r % k);
  }
}

TEST_CASE("kmeans refuses bad arguments with a message that names them") {
  Device device;
  std::vector<float> data(64), score(8);
  std::vector<int32_t> assignment{0, 1, 3, 0};
  std::vector<int64_t> counts(3);
  const gatun_layout rows = layout(GATUN_F32, {4, 2}), centroids = layout(GATUN_F32, {3, 2}), index = layout(GATUN_I32, {4}), value = layout(GATUN_F32, {4});
  size_t bytes;
  const auto attempt = [&](gatun_kmeans_assign_desc desc, const char* part) {
    refused(part, [&](gatun_error* e) { return gatun_kmeans_assign_workspace(&desc, &bytes, e); });
  };
  const uint32_t size = sizeof(gatun_kmeans_assign_desc);
  attempt({size, 2, rows, centroids, index, value}, "spherical is 2");
  attempt({size, 0, rows, layout(GATUN_F32, {0, 2}), index, value}, "centroids has 0 rows");
  attempt({size, 0, rows, layout(GATUN_F32, {3, 3}), index, value}, "centroids has shape (3, 3), expected (3, 2)");
  attempt({size, 0, rows, centroids, layout(GATUN_I64, {4}), value}, "assignment is i64, expected i32");
  attempt({size, 0, rows, centroids, index, layout(GATUN_F32, {5})}, "score has shape (5), expected (4)");
  const gatun_kmeans_sums_desc sums_desc{sizeof sums_desc, 0, rows, index, centroids, layout(GATUN_I64, {3})};
  run([&](gatun_error* e) { return gatun_kmeans_sums_workspace(&sums_desc, &bytes, e); });
  Workspace workspace(device, bytes);
#if defined(GATUN_CUDA)
  for (const float value : sum(2, std::vector<float>(8), assignment, 3, 2).sums) CHECK(std::isnan(value));
#else
  refused("assignment[2] is 3, there are 3 centroids", [&](gatun_error* e) {
    return gatun_kmeans_sums(device.stream(), &sums_desc, data.data(), assignment.data(), data.data() + 16, counts.data(), workspace.memory, bytes, e);
  });
#endif
  const gatun_kmeans_update_desc update_desc{sizeof update_desc, 0, 2, 0, centroids, layout(GATUN_I64, {3}), centroids};
  refused("empty is 2", [&](gatun_error* e) {
    return gatun_kmeans_update(device.stream(), &update_desc, data.data(), counts.data(), data.data() + 16, e);
  });
}

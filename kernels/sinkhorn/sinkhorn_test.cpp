// SPDX-License-Identifier: Apache-2.0
#include "kernels/sinkhorn/sinkhorn_reference.h"

#include <numeric>
#include <tuple>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kEpsilon = 0.05f;

struct Workspace {
  Device& device;
  void* memory = nullptr;
  size_t bytes = 0;
  Workspace(Device& device, const gatun_sinkhorn_desc& desc) : device(device) {
    run([&](gatun_error* e) { return gatun_sinkhorn_workspace(&desc, &bytes, e); });
    allocate();
  }
  Workspace(Device& device, const gatun_sinkhorn_streaming_desc& desc) : device(device) {
    run([&](gatun_error* e) { return gatun_sinkhorn_streaming_workspace(&desc, &bytes, e); });
    allocate();
  }
  void allocate() {
    require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &memory, e); });
  }
  ~Workspace() { gatun_memory_free(device.context(), memory, nullptr); }
};

gatun_sinkhorn_desc describe(int64_t samples, int64_t prototypes, int64_t kept, int iterations = 3, float epsilon = kEpsilon, int64_t padding = 0) {
  return {sizeof(gatun_sinkhorn_desc), epsilon, iterations, 0, layout(GATUN_F32, {samples, prototypes}, {prototypes + padding, 1}),
          layout(GATUN_F32, {kept, prototypes}, {prototypes + padding, 1})};
}

std::vector<float> codes(const std::vector<float>& scores, int64_t samples, int64_t prototypes, int threads = 2, int iterations = 3,
                         float epsilon = kEpsilon, int64_t kept = -1) {
  Device device(threads);
  const gatun_sinkhorn_desc desc = describe(samples, prototypes, kept < 0 ? samples : kept, iterations, epsilon);
  Workspace workspace(device, desc);
  const Memory<float> in(scores);
  Memory<float> out(static_cast<size_t>(desc.codes.shape[0] * prototypes), 7.0f);
  run([&](gatun_error* e) { return gatun_sinkhorn(device.stream(), &desc, in.data(), out.data(), workspace.memory, workspace.bytes, e); });
  return out.values();
}

template <class T>
std::vector<T> expected(const std::vector<T>& scores, int64_t samples, int64_t prototypes, int iterations = 3, T epsilon = kEpsilon) {
  std::vector<T> out(scores.size());
  sinkhorn_reference<T>(scores.data(), out.data(), samples, prototypes, epsilon, iterations);
  return out;
}

// Cosines of random directions, as scores are.
std::vector<float> cosines(int64_t count, uint32_t seed) {
  std::vector<float> values = normal(count, seed, 0.3f);
  for (float& value : values) value = std::clamp(value, -1.0f, 1.0f);
  return values;
}

void check_sums(const std::vector<float>& q, int64_t prototypes) {
  for (size_t row = 0; row < q.size(); row += static_cast<size_t>(prototypes)) {
    double sum = 0;
    for (size_t k = row; k < row + static_cast<size_t>(prototypes); ++k) sum += static_cast<double>(q[k]);
    CHECK(std::abs(sum - 1) <= 1e-6);
  }
}

}  // namespace

TEST_CASE("sinkhorn matches the double reference on odd shapes") {
  uint32_t seed = 1;
  for (const auto& [samples, prototypes] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {1, 9}, {9, 1}, {3, 7}, {33, 16}, {65, 33}, {256, 100}, {100, 301}, {600, 19}}) {
    for (const int iterations : {1, 3, 10}) {
      CAPTURE(samples);
      CAPTURE(prototypes);
      CAPTURE(iterations);
      const std::vector<float> scores = cosines(samples * prototypes, ++seed);
      const std::vector<float> q = codes(scores, samples, prototypes, 2, iterations);
      check_close(q, expected<double>(widen(scores), samples, prototypes, iterations),
                  expected<float>(scores, samples, prototypes, iterations));
      check_sums(q, prototypes);
    }
  }
}

// Scores of one device, swept in separate calls, of which the one call is made.
std::vector<float> in_sweeps(const std::vector<float>& scores, int64_t samples, int64_t prototypes, int iterations) {
  Device device;
  const gatun_sinkhorn_desc desc = describe(samples, prototypes, samples);
  Workspace workspace(device, desc);
  const Memory<float> in(scores);
  Memory<float> range(2, 7.0f), sums(static_cast<size_t>(prototypes), 7.0f), out(scores.size(), 7.0f);
  const auto call = [&](auto&& function, auto... arguments) {
    run([&](gatun_error* e) { return function(device.stream(), &desc, in.data(), arguments..., workspace.memory, workspace.bytes, e); });
  };
  call(gatun_sinkhorn_range, range.data());
  for (int i = 0; i < iterations; ++i) call(gatun_sinkhorn_sums, range.data(), i == 0 ? nullptr : sums.data(), sums.data());
  call(gatun_sinkhorn_finish, range.data(), sums.data(), out.data());
  return out.values();
}

TEST_CASE("sinkhorn: as many prototypes as a warp, a block or nobody holds at once") {
  uint32_t seed = 30;
  for (const auto& [samples, prototypes] : std::vector<std::pair<int64_t, int64_t>>{
           {9, 99}, {40, 500}, {19, 516}, {17, 1100}, {3, 2900}, {2, 4096}, {3, 4100}, {2, 9001}, {3, 16388}}) {
    CAPTURE(samples);
    CAPTURE(prototypes);
    const std::vector<float> scores = cosines(samples * prototypes, ++seed), q = in_sweeps(scores, samples, prototypes, 2);
    check_close(q, expected<double>(widen(scores), samples, prototypes, 2), expected<float>(scores, samples, prototypes, 2));
    check_sums(q, prototypes);
  }
}

TEST_CASE("sinkhorn: more scores than fit the processors of the emulated device") {
  uint32_t seed = 130;
  for (const auto& [samples, prototypes] : std::vector<std::pair<int64_t, int64_t>>{{1700, 100}, {170, 1023}, {64, 2600}, {11, 16500}}) {
    CAPTURE(samples);
    CAPTURE(prototypes);
    const std::vector<float> scores = cosines(samples * prototypes, ++seed), q = codes(scores, samples, prototypes, 2, 2);
    check_close(q, expected<double>(widen(scores), samples, prototypes, 2), expected<float>(scores, samples, prototypes, 2));
    if (samples > 100) continue;
    const std::vector<float> last = codes(scores, samples, prototypes, 2, 2, kEpsilon, 2);
    CHECK(same_bits(last, std::vector<float>(q.end() - 2 * prototypes, q.end())));
  }
  // Nor where logarithms are needed.
  std::vector<float> wide = cosines(1700 * 100, ++seed);
  wide[7] = 8;
  check_sums(codes(wide, 1700, 100, 2, 1), 100);
}

TEST_CASE("sinkhorn: strides, in place, and only the last rows of a queue") {
  const int64_t samples = 70, prototypes = 19, padding = 5, kept = 30, stride = prototypes + padding;
  const std::vector<float> scores = cosines(samples * prototypes, 50), all = codes(scores, samples, prototypes);
  const auto last = [&](int64_t rows) { return std::vector<float>(all.end() - rows * prototypes, all.end()); };
  CHECK(same_bits(codes(scores, samples, prototypes, 2, 3, kEpsilon, kept), last(kept)));
  CHECK(codes(scores, samples, prototypes, 2, 3, kEpsilon, 0).empty());
  std::vector<float> buffer(static_cast<size_t>(samples * stride), 7.0f);
  for (int64_t r = 0; r < samples; ++r) std::copy_n(scores.begin() + r * prototypes, prototypes, buffer.begin() + r * stride);
  Device device;
  const gatun_sinkhorn_desc desc = describe(samples, prototypes, kept, 3, kEpsilon, padding);
  Workspace workspace(device, desc);
  Memory<float> memory(buffer);
  run([&](gatun_error* e) {
    return gatun_sinkhorn(device.stream(), &desc, memory.data(), memory.data() + (samples - kept) * stride, workspace.memory, workspace.bytes, e);
  });
  buffer = memory.values();
  const float* tail = buffer.data() + (samples - kept) * stride;
  std::vector<float> packed;
  for (int64_t r = 0; r < kept; ++r) {
    packed.insert(packed.end(), tail + r * stride, tail + r * stride + prototypes);
    for (int64_t c = prototypes; c < stride; ++c) CHECK(tail[r * stride + c] == 7.0f);
  }
  CHECK(same_bits(packed, last(kept)));
  for (int64_t i = 0; i < prototypes; ++i) CHECK(buffer[static_cast<size_t>(i)] == scores[static_cast<size_t>(i)]);
}

TEST_CASE("sinkhorn gives the same bits for any number of threads") {
  for (const float scale : {1.0f, 60.0f}) {
    std::vector<float> scores = cosines(300 * 41, 60);
    for (float& value : scores) value *= scale;
    const std::vector<float> one = codes(scores, 300, 41, 1);
    for (const int threads : {2, 3}) CHECK(same_bits(one, codes(scores, 300, 41, threads)));
  }
}

TEST_CASE("sinkhorn: an offset changes nothing, equal scores give 1/K, a permutation of samples and prototypes permutes the codes") {
  const int64_t samples = 50, prototypes = 24;
  // Multiples of 1/64: adding 8 is exact, so that the offset must cancel exactly.
  std::vector<float> scores = cosines(samples * prototypes, 70);
  for (float& value : scores) value = std::round(value * 64) / 64;
  std::vector<float> moved = scores;
  for (float& value : moved) value += 8;
  const std::vector<float> q = codes(scores, samples, prototypes);
  CHECK(same_bits(q, codes(moved, samples, prototypes)));

  for (const float value : codes(std::vector<float>(64 * 32, 0.37f), 64, 32)) CHECK(value == 1.0f / 32);

  std::vector<size_t> rows(samples), columns(prototypes);
  std::iota(rows.begin(), rows.end(), 0);
  std::iota(columns.begin(), columns.end(), 0);
  std::mt19937 generator(3);
  std::shuffle(rows.begin(), rows.end(), generator);
  std::shuffle(columns.begin(), columns.end(), generator);
  std::vector<float> permuted(scores.size()), q_permuted(scores.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < columns.size(); ++c) {
      permuted[r * columns.size() + c] = scores[rows[r] * columns.size() + columns[c]];
      q_permuted[r * columns.size() + c] = q[rows[r] * columns.size() + columns[c]];
    }
  }
  // The order of summation changes, hence the rounding.
  CHECK(distance(codes(permuted, samples, prototypes), q_permuted) <= 2 * bound(widen(q_permuted), expected<float>(permuted, samples, prototypes)));
}

TEST_CASE("sinkhorn is finite and right for any finite scores") {
  const int64_t samples = 20, prototypes = 12;
  // Wide, but within what f64 can take by the plain form: the logarithmic form must agree with it.
  std::vector<float> scores = normal(samples * prototypes, 80, 3.0f);
  std::vector<double> truth = expected<double>(widen(scores), samples, prototypes);
  std::vector<float> rounded(truth.begin(), truth.end());
  CHECK((*std::max_element(scores.begin(), scores.end()) - *std::min_element(scores.begin(), scores.end())) / kEpsilon > 70);
  check_close(codes(scores, samples, prototypes), truth, rounded);

  // Just inside and just outside of the f32 form's spread: both agree with the truth.
  for (const float spread : {69.9f, 70.1f}) {
    std::vector<float> two = cosines(samples * prototypes, 81);
    two[5] = -1;
    two[17] = -1 + spread * kEpsilon;
    check_close(codes(two, samples, prototypes), expected<double>(widen(two), samples, prototypes), expected<float>(two, samples, prototypes));
  }

  for (const float scale : {1e3f, 1e20f, 3e38f}) {
    for (const float epsilon : {1e-30f, kEpsilon, 1e10f}) {
      std::vector<float> extreme = cosines(samples * prototypes, 82);
      for (float& value : extreme) value *= scale;
      extreme[3] = scale;
      extreme[40] = -scale;
      const std::vector<float> q = codes(extreme, samples, prototypes, 2, 3, epsilon);
      for (const float value : q) CHECK(value >= 0);
      check_sums(q, prototypes);
    }
  }
  // A prototype that is hopeless for every sample still gets its share: prototypes are balanced, however far their scores are.
  std::vector<float> hopeless(samples * prototypes, 0.0f);
  for (size_t b = 0; b < samples; ++b) hopeless[b * prototypes + 4] = -1e4f;
  for (const float value : codes(hopeless, samples, prototypes)) CHECK(value == doctest::Approx(1.0 / 12));
}

TEST_CASE("sinkhorn: a score that is not finite makes every code NaN") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {size_t{0}, size_t{34 * 19 - 1}}) {
      std::vector<float> scores = cosines(34 * 19, 90);
      scores[at] = bad;
      for (const float value : codes(scores, 34, 19)) CHECK(std::isnan(value));
    }
  }
  CHECK(codes({}, 0, 5).empty());
}

TEST_CASE("sinkhorn in parts whose sums are joined is the one call") {
  const int64_t samples = 64, prototypes = 21, half = 32;
  const std::vector<float> scores = cosines(samples * prototypes, 95), whole = codes(scores, samples, prototypes);
  Device device;
  const gatun_sinkhorn_desc desc = describe(half, prototypes, half);
  Workspace workspace(device, desc);
  const Memory<float> memory(scores);
  const float* part[2] = {memory.data(), memory.data() + half * prototypes};
  const auto call = [&](auto&& function, auto... arguments) {
    run([&](gatun_error* e) { return function(device.stream(), &desc, arguments..., workspace.memory, workspace.bytes, e); });
  };
  float ranges[2][2];
  for (int i = 0; i < 2; ++i) {
    Memory<float> range(2, 7.0f);
    call(gatun_sinkhorn_range, part[i], range.data());
    std::copy_n(range.values().begin(), 2, ranges[i]);
    const auto [low, high] = std::minmax_element(scores.begin() + i * half * prototypes, scores.begin() + (i + 1) * half * prototypes);
    CHECK(ranges[i][0] == *low);
    CHECK(ranges[i][1] == *high);
  }
  const Memory<float> range(std::vector<float>{std::min(ranges[0][0], ranges[1][0]), std::max(ranges[0][1], ranges[1][1])});
  std::vector<float> joined;
  const auto sweep = [&](int i, bool first) {
    const Memory<float> previous(joined);
    Memory<float> sums(prototypes, 7.0f);
    call(gatun_sinkhorn_sums, part[i], range.data(), first ? nullptr : previous.data(), sums.data());
    return sums.values();
  };
  for (int iteration = 0; iteration < 3; ++iteration) {
    const std::vector<float> sums[2] = {sweep(0, iteration == 0), sweep(1, iteration == 0)};
    joined.resize(prototypes);
    for (size_t k = 0; k < joined.size(); ++k) joined[k] = sums[0][k] + sums[1][k];
  }
  std::vector<float> q;
  for (int i = 0; i < 2; ++i) {
    const Memory<float> sums(joined);
    Memory<float> out(static_cast<size_t>(half * prototypes), 7.0f);
    call(gatun_sinkhorn_finish, part[i], range.data(), sums.data(), out.data());
    const std::vector<float> values = out.values();
    q.insert(q.end(), values.begin(), values.end());
  }
  const std::vector<double> truth = expected<double>(widen(scores), samples, prototypes);
  check_close(q, truth, expected<float>(scores, samples, prototypes));
  CHECK(distance(q, whole) <= bound(truth, expected<float>(scores, samples, prototypes)));

  // The border can refuse what it can read; a device's memory it cannot, and nothing comes out that could be taken for a result.
  const Memory<float> wide(std::vector<float>{-10, 10});
  Memory<float> sums(joined);
#if defined(GATUN_CUDA)
  Memory<float> out(static_cast<size_t>(half * prototypes), 7.0f);
  call(gatun_sinkhorn_finish, part[0], wide.data(), sums.data(), out.data());
  for (const float value : out.values()) CHECK(std::isnan(value));
  for (const bool first : {true, false}) {
    const Memory<float> previous(joined);
    call(gatun_sinkhorn_sums, part[0], wide.data(), first ? nullptr : previous.data(), sums.data());
    for (const float value : sums.values()) CHECK(std::isnan(value));
  }
#else
  refused("the scores spread over 400 epsilon", [&](gatun_error* e) {
    return gatun_sinkhorn_sums(device.stream(), &desc, part[0], wide.data(), nullptr, sums.data(), workspace.memory, workspace.bytes, e);
  });
#endif
}

namespace {

// Features and prototypes of about unit length.
struct Directions {
  int64_t samples, prototypes, depth, gap = 0;
  float epsilon = kEpsilon;
  int iterations = 3;
  std::vector<float> z, c;
  Directions(int64_t samples, int64_t prototypes, int64_t depth, uint32_t seed) : samples(samples), prototypes(prototypes), depth(depth) {
    const float length = 1 / std::sqrt(static_cast<float>(depth));
    z = normal(samples * depth, seed, length);
    c = normal(prototypes * depth, seed + 1000, length);
  }
  template <class T>
  std::vector<T> scores() const {
    std::vector<T> out;
    for (int64_t b = 0; b < samples; ++b) {
      for (int64_t k = 0; k < prototypes; ++k) {
        T sum = 0;
        for (int64_t i = 0; i < depth; ++i) sum += static_cast<T>(z[static_cast<size_t>(b * depth + i)]) * static_cast<T>(c[static_cast<size_t>(k * depth + i)]);
        out.push_back(sum);
      }
    }
    return out;
  }
};

struct Streamed {
  std::vector<float> samples, prototypes, codes;
};

// The codes of the last `kept` samples.
template <class T>
Streamed stream(const Directions& d, int64_t kept, int threads = 2) {
  Device device(threads);
  const int64_t stride = d.depth + d.gap, code_stride = d.prototypes + d.gap;
  const auto spread = [&](const std::vector<float>& rows) {
    std::vector<float> out(rows.size() / static_cast<size_t>(d.depth) * static_cast<size_t>(stride), 1e4f);
    for (size_t i = 0; i < rows.size(); ++i) out[i / static_cast<size_t>(d.depth) * static_cast<size_t>(stride) + i % static_cast<size_t>(d.depth)] = rows[i];
    return stored<T>(out);
  };
  const Memory<T> z(spread(d.z)), c(spread(d.c));
  Memory<float> samples(static_cast<size_t>(d.samples), 7.0f), prototypes(static_cast<size_t>(d.prototypes), 7.0f);
  Memory<float> out(static_cast<size_t>(kept * code_stride), 7.0f);
  const auto describe_rows = [&](int64_t rows) {
    return gatun_sinkhorn_streaming_desc{sizeof(gatun_sinkhorn_streaming_desc), d.epsilon, d.iterations, 0,
                                         layout(kDtype<T>, {rows, d.depth}, {stride, 1}), layout(kDtype<T>, {d.prototypes, d.depth}, {stride, 1}),
                                         layout(GATUN_F32, {rows}), layout(GATUN_F32, {d.prototypes}),
                                         layout(GATUN_F32, {rows, d.prototypes}, {code_stride, 1})};
  };
  const gatun_sinkhorn_streaming_desc desc = describe_rows(d.samples), some = describe_rows(kept);
  Workspace workspace(device, desc), other(device, some);
  run([&](gatun_error* e) {
    return gatun_sinkhorn_streaming(device.stream(), &desc, z.data(), c.data(), samples.data(), prototypes.data(), workspace.memory,
                                    workspace.bytes, e);
  });
  run([&](gatun_error* e) {
    return gatun_sinkhorn_streaming_codes(device.stream(), &some, z.data() + (d.samples - kept) * stride, c.data(),
                                          samples.data() + d.samples - kept, prototypes.data(), out.data(), other.memory, other.bytes, e);
  });
  Streamed result{samples.values(), prototypes.values(), {}};
  const std::vector<float> values = out.values();
  for (size_t i = 0; i < values.size(); ++i) {
    if (static_cast<int64_t>(i) % code_stride < d.prototypes) result.codes.push_back(values[i]);
    else CHECK(values[i] == 7.0f);
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("sinkhorn_streaming matches the double reference", T, GATUN_STORAGES) {
  uint32_t seed = 200;
  for (const auto& [samples, prototypes, depth] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {1, 1, 1}, {5, 9, 3}, {33, 140, 24}, {140, 7, 35}, {3, 2200, 4}, {2200, 5, 4}}) {
    if (kDtype<T> != GATUN_F32 && samples + prototypes > 2000) continue;
    CAPTURE(samples);
    CAPTURE(prototypes);
    CAPTURE(depth);
    Directions d(samples, prototypes, depth, ++seed);
    d.z = rounded<T>(d.z);
    d.c = rounded<T>(d.c);
    d.gap = depth % 8 == 0 ? 8 : 3;
    d.iterations = samples > 1000 || prototypes > 1000 ? 1 : 3;
    const std::vector<double> truth = expected<double>(d.template scores<double>(), samples, prototypes, d.iterations);
    const std::vector<float> naive = expected<float>(d.template scores<float>(), samples, prototypes, d.iterations);
    const Streamed all = stream<T>(d, samples);
    check_close(all.codes, truth, naive);
    for (int64_t b = 0; b < samples; ++b) {
      CHECK(std::accumulate(all.codes.begin() + b * prototypes, all.codes.begin() + (b + 1) * prototypes, 0.0) == doctest::Approx(1).epsilon(1e-5));
    }
    const int64_t kept = std::min<int64_t>(samples, 3);
    CHECK(same_bits(stream<T>(d, kept, 3).codes, std::vector<float>(all.codes.end() - kept * prototypes, all.codes.end())));
  }
}

TEST_CASE("sinkhorn_streaming: scores far apart, NaN, nothing") {
  Directions d(20, 12, 6, 300);
  for (float& x : d.z) x *= 4;
  // Wider than f32 can take by powers of the scores. What is rounded is of the size of the largest score / epsilon.
  const std::vector<double> scores = d.scores<double>();
  const double most = magnitude(scores) / static_cast<double>(kEpsilon);
  CHECK(most > 60);
  CHECK(distance(stream<float>(d, 20).codes, expected<double>(scores, 20, 12)) <= 8 * most * 0x1p-24);
  for (float& x : d.z) x *= 100;
  for (const float value : stream<float>(d, 20).codes) CHECK(value >= 0);
  d.z[7] = std::numeric_limits<float>::quiet_NaN();
  for (const float value : stream<float>(d, 20).codes) CHECK(std::isnan(value));
  CHECK(stream<float>(Directions(0, 5, 3, 301), 0).codes.empty());
  CHECK(stream<float>(Directions(4, 5, 3, 302), 0).codes.empty());
}

TEST_CASE("sinkhorn_streaming refuses bad descriptors with a message that names the operand") {
  const gatun_layout rows = layout(GATUN_F32, {4, 3}), four = layout(GATUN_F32, {4}), five = layout(GATUN_F32, {5});
  const gatun_layout prototypes = layout(GATUN_F32, {5, 3});
  constexpr uint32_t size = sizeof(gatun_sinkhorn_streaming_desc);
  const auto attempt = [&](const gatun_sinkhorn_streaming_desc& desc, const char* part) {
    size_t bytes = 0;
    refused(part, [&](gatun_error* e) { return gatun_sinkhorn_streaming_workspace(&desc, &bytes, e); });
  };
  attempt({size - 8, 0.1f, 3, 0, rows, prototypes, four, five, {}}, "struct_size");
  attempt({size, 0.0f, 3, 0, rows, prototypes, four, five, {}}, "epsilon is 0");
  attempt({size, 0.1f, 0, 0, rows, prototypes, four, five, {}}, "iterations is 0");
  attempt({size, 0.1f, 3, 0, layout(GATUN_F32, {4, 0}), prototypes, four, five, {}}, "at least one element");
  attempt({size, 0.1f, 3, 0, rows, layout(GATUN_F32, {5, 4}), four, five, {}}, "prototypes has shape (5, 4), expected (5, 3)");
  attempt({size, 0.1f, 3, 0, rows, prototypes, five, five, {}}, "sample_potentials has shape (5), expected (4)");
  attempt({size, 0.1f, 3, 0, rows, prototypes, four, four, {}}, "prototype_potentials has shape (4), expected (5)");
  Device device;
  const gatun_sinkhorn_streaming_desc desc{size, 0.1f, 3, 0, rows, prototypes, four, five, layout(GATUN_F32, {4, 4})};
  Workspace workspace(device, desc);
  std::vector<float> b(64);
  refused("codes has shape (4, 4), expected (4, 5)", [&](gatun_error* e) {
    return gatun_sinkhorn_streaming_codes(device.stream(), &desc, b.data(), b.data(), b.data(), b.data(), b.data(), workspace.memory, workspace.bytes, e);
  });
}

TEST_CASE("sinkhorn refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(64);
  gatun_sinkhorn_desc desc = describe(4, 4, 4);
  Workspace workspace(device, desc);
  const auto attempt = [&](gatun_sinkhorn_desc bad, const char* part, size_t bytes) {
    refused(part, [&](gatun_error* e) { return gatun_sinkhorn(device.stream(), &bad, buffer.data(), buffer.data() + 16, workspace.memory, bytes, e); });
  };
  attempt(describe(4, 4, 4, 0), "iterations is 0", workspace.bytes);
  attempt(describe(4, 4, 4, 3, 0.0f), "epsilon is 0", workspace.bytes);
  attempt(describe(4, 4, 4, 3, std::numeric_limits<float>::quiet_NaN()), "epsilon is nan", workspace.bytes);
  attempt(describe(3, 4, 4), "codes has 4 rows, more than the 3 of scores", workspace.bytes);
  attempt(desc, "the workspace has 16 bytes", 16);
  gatun_sinkhorn_desc later = desc;
  later.reserved = 7;
  attempt(later, "reserved is 7, it must be 0", workspace.bytes);
  desc.codes = layout(GATUN_F32, {4, 5});
  attempt(desc, "codes has shape (4, 5), expected (4, 4)", workspace.bytes);
  desc.scores = layout(GATUN_I32, {4, 4});
  attempt(desc, "scores is i32, expected f32", workspace.bytes);
}

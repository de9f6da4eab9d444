// SPDX-License-Identifier: Apache-2.0
#include "kernels/random/random.h"

#include <array>
#include <map>
#include <numeric>
#include <set>

#include "kernels/random/random_reference.h"
#include "kernels/testing/memory.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr gatun_random_key kKey{0x0123456789abcdefull, 42, 7, 0};

// FNV-1a over the bytes: golden values pin the bits, on every instruction set and every later version.
template <class T>
uint64_t fingerprint(const std::vector<T>& values) {
  uint64_t hash = 1469598103934665603ull;
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 1099511628211ull;
  return hash;
}

std::vector<float> uniform(int threads, const gatun_random_key& key, int64_t rows, int64_t columns, float low = 0, float high = 1, int64_t first = 0) {
  Device device(threads);
  const Memory<gatun_random_key> keys({key});
  Memory<float> out(static_cast<size_t>(rows * columns), 7.0f);
  const gatun_random_uniform_desc desc{sizeof desc, low, high, 0, first, {}, layout(GATUN_F32, {rows, columns})};
  run([&](gatun_error* e) { return gatun_random_uniform(device.stream(), &desc, keys.data(), nullptr, out.data(), e); });
  return out.values();
}

std::vector<float> normal_numbers(int threads, const gatun_random_key& key, int64_t rows, int64_t columns, float mean = 0, float deviation = 1) {
  Device device(threads);
  const Memory<gatun_random_key> keys({key});
  Memory<float> out(static_cast<size_t>(rows * columns), 7.0f);
  const gatun_random_normal_desc desc{sizeof desc, mean, deviation, 0, 0, {}, layout(GATUN_F32, {rows, columns})};
  run([&](gatun_error* e) { return gatun_random_normal(device.stream(), &desc, keys.data(), nullptr, out.data(), e); });
  return out.values();
}

std::vector<int32_t> permutation(const gatun_random_key& key, int64_t count, int64_t wanted) {
  Device device;
  const Memory<gatun_random_key> keys({key});
  Memory<int32_t> out(static_cast<size_t>(wanted), -1);
  const gatun_random_permutation_desc desc{sizeof desc, 0, count, layout(GATUN_I32, {wanted})};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_random_permutation_workspace(&desc, &bytes, e); });
  void* workspace = nullptr;
  require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &workspace, e); });
  run([&](gatun_error* e) { return gatun_random_permutation(device.stream(), &desc, keys.data(), out.data(), workspace, bytes, e); });
  const std::vector<int32_t> order = out.values();
  gatun_memory_free(device.context(), workspace, nullptr);
  return order;
}

}  // namespace

#if !defined(GATUN_CUDA)  // the header on the host
TEST_CASE("random: Philox4x32-10 gives the published known answers") {
  const auto check = [](std::array<uint32_t, 6> in, std::array<uint32_t, 4> expected) {
    const RandomWords words = philox(in[0], in[1], in[2], in[3], in[4], in[5]);
    for (size_t i = 0; i < 4; ++i) CHECK(words.word[i] == expected[i]);
  };
  check({0, 0, 0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check({~0u, ~0u, ~0u, ~0u, ~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: every bit of the key, the id and the index changes the draw") {
  std::set<uint64_t> seen;
  size_t drawn = 0;
  const auto draw = [&](gatun_random_key key, uint64_t id, uint64_t index) {
    const RandomSource source = random_source(key);
    // Two words: 64 bits do not collide by chance among a few hundred draws.
    seen.insert(static_cast<uint64_t>(random_bits(source, id, index)) << 32 | random_bits(source, id, index + (1ull << 40)));
    ++drawn;
  };
  draw(kKey, 5, 9);
  for (int bit = 0; bit < 64; ++bit) {
    gatun_random_key key = kKey;
    key.seed ^= 1ull << bit;
    draw(key, 5, 9);
    key = kKey;
    key.step ^= 1ull << bit;
    draw(key, 5, 9);
    draw(kKey, 5 ^ 1ull << bit, 9);
    if (bit < 32) {
      key = kKey;
      key.stream ^= 1u << bit;
      draw(key, 5, 9);
    }
    if (bit < 40) draw(kKey, 5, 9 ^ 1ull << bit);
  }
  CHECK(seen.size() == drawn);
}
#endif

TEST_CASE("random: bulk operations give the header's numbers to the bit, for any thread count and shape") {
  const RandomSource source = random_source(kKey);
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 7}, {5, 256}, {2, 1001}, {2, 20000}}) {
    const std::vector<float> u = uniform(1, kKey, rows, columns, -3, 5, 11), z = normal_numbers(1, kKey, rows, columns, 2, 0.5f);
    std::vector<float> u_expected, z_expected;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        u_expected.push_back(random_uniform(source, static_cast<uint64_t>(r + 11), static_cast<uint64_t>(c), -3, 5));
        z_expected.push_back(random_fma(random_normal(source, static_cast<uint64_t>(r), static_cast<uint64_t>(c)), 0.5f, 2));
      }
    }
    CHECK(same_bits(u, u_expected));
    CHECK(same_bits(z, z_expected));
    for (const int threads : {2, 3}) {
      CHECK(same_bits(u, uniform(threads, kKey, rows, columns, -3, 5, 11)));
      CHECK(same_bits(z, normal_numbers(threads, kKey, rows, columns, 2, 0.5f)));
    }
  }
}

TEST_CASE("random: the bits are pinned, the same on every instruction set") {
  CHECK(fingerprint(uniform(2, kKey, 10, 1000)) == 13568273183370777942ull);
  CHECK(fingerprint(normal_numbers(2, kKey, 10, 1000)) == 18034275362840358344ull);
  CHECK(fingerprint(permutation(kKey, 1000, 1000)) == 10568948848188795103ull);
}

TEST_CASE("random: row ids come from the operand, bits are raw, padding is untouched") {
  Device device;
  const std::vector<int64_t> ids{5, -1, 5};
  const Memory<int64_t> ids_memory(ids);
  const Memory<gatun_random_key> keys({kKey});
  Memory<int32_t> out_memory(3 * 9, 7);
  const gatun_random_bits_desc desc{sizeof desc, 0, 100, layout(GATUN_I64, {3}), layout(GATUN_I32, {3, 6}, {9, 1})};
  run([&](gatun_error* e) { return gatun_random_bits(device.stream(), &desc, keys.data(), ids_memory.data(), out_memory.data(), e); });
  const std::vector<int32_t> out = out_memory.values();
  const RandomSource source = random_source(kKey);
  for (size_t r = 0; r < 3; ++r) {
    for (size_t c = 0; c < 6; ++c) CHECK(static_cast<uint32_t>(out[r * 9 + c]) == random_bits(source, static_cast<uint64_t>(ids[r]), c));
    for (size_t c = 6; c < 9; ++c) CHECK(out[r * 9 + c] == 7);
  }
}

#if !defined(GATUN_CUDA)  // bits that have been compared need no statistics of their own
TEST_CASE("random: conversions are within a few units in the last place of double precision") {
  double log_error = 0, exp_error = 0, angle_error = 0;
  for (uint32_t i = 1; i < 200000; ++i) {
    const float u = static_cast<float>(i) * 5e-6f;
    log_error = std::max(log_error, std::abs(random_log(u) / std::log(static_cast<double>(u)) - 1));
    const float x = static_cast<float>(i) * 8.7e-4f - 87.0f;
    exp_error = std::max(exp_error, std::abs(random_exp(x) / std::exp(static_cast<double>(x)) - 1));
    const uint32_t bits = i * 0x9E3779B9u;
    float c, s;
    random_angle_of(bits, &c, &s);
    const double angle = static_cast<double>(bits) * 0x1p-32 * 6.283185307179586;
    angle_error = std::max({angle_error, std::abs(c - std::cos(angle)), std::abs(s - std::sin(angle))});
  }
  constexpr double kUlp = 0x1p-23;
  CHECK(log_error < 2 * kUlp);
  CHECK(exp_error < 2 * kUlp);
  CHECK(angle_error < 2 * kUlp);
  CHECK(random_log(1.0f) == 0.0f);
  CHECK(random_exp(0.0f) == 1.0f);

  const RandomSource source = random_source(kKey);
  std::vector<float> result, naive;
  std::vector<double> truth;
  for (uint64_t i = 0; i < 2000; ++i) {
    const RandomWords words = random_block(source, i, 0);
    float pair[2];
    double exact[2];
    random_normal_of(words.word[0], words.word[1], &pair[0], &pair[1]);
    random_normal_reference<double>(words.word[0], words.word[1], &exact[0], &exact[1]);
    float plain[2];
    random_normal_reference<float>(words.word[0], words.word[1], &plain[0], &plain[1]);
    for (int k = 0; k < 2; ++k) {
      result.push_back(pair[k]);
      truth.push_back(exact[k]);
      naive.push_back(plain[k]);
    }
  }
  check_close(result, truth, naive);
  float first, second;
  random_normal_of(0, 0, &first, &second);
  CHECK(first > 6.6f);
  CHECK(first < 6.67f);
  random_normal_of(~0u, ~0u, &first, &second);
  CHECK(std::isfinite(first));
  CHECK(random_uniform_of(~0u) == 1 - 0x1p-24f);
}

TEST_CASE("random: distributions have their moments and frequencies") {
  constexpr int64_t n = 400000;
  const std::vector<float> u = uniform(2, kKey, 4, n / 4), z = normal_numbers(2, kKey, 4, n / 4);
  double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z3 = 0, z4 = 0, neighbours = 0;
  int64_t beyond2 = 0;
  for (size_t i = 0; i < n; ++i) {
    REQUIRE(u[i] >= 0);
    REQUIRE(u[i] < 1);
    const double a = u[i], b = z[i];
    u1 += a;
    u2 += a * a;
    z1 += b;
    z2 += b * b;
    z3 += b * b * b;
    z4 += b * b * b * b;
    if (i > 0) neighbours += b * z[i - 1];
    beyond2 += std::abs(b) > 2;
  }
  // Five standard errors of each mean.
  const double root = std::sqrt(static_cast<double>(n));
  CHECK(std::abs(u1 / n - 0.5) < 5 * std::sqrt(1 / 12.0) / root);
  CHECK(std::abs(u2 / n - 1 / 3.0) < 5 * std::sqrt(4 / 45.0) / root);
  CHECK(std::abs(z1 / n) < 5 / root);
  CHECK(std::abs(z2 / n - 1) < 5 * std::sqrt(2.0) / root);
  CHECK(std::abs(z3 / n) < 5 * std::sqrt(15.0) / root);
  CHECK(std::abs(z4 / n - 3) < 5 * std::sqrt(96.0) / root);
  CHECK(std::abs(neighbours / n) < 5 / root);
  const double tail = 0.0455002638963584;
  CHECK(std::abs(static_cast<double>(beyond2) / n - tail) < 5 * std::sqrt(tail * (1 - tail)) / root);

  const RandomSource source = random_source(kKey);
  // n = 3 * 2^30 rejects a quarter of all draws: a biased method would give thirds of 1/2, 1/4, 1/4.
  std::array<int64_t, 3> thirds{};
  std::array<int64_t, 7> sevenths{};
  int64_t heads = 0;
  for (uint64_t i = 0; i < 70000; ++i) {
    ++thirds[random_below(source, i, 0, 3u << 30) >> 30];
    ++sevenths[random_below(source, i, 1, 7)];
    heads += random_bernoulli(source, i, 2, 0.3f);
  }
  for (const int64_t count : thirds) CHECK(std::abs(static_cast<double>(count) - 70000 / 3.0) < 5 * std::sqrt(70000 * 2 / 9.0));
  for (const int64_t count : sevenths) CHECK(std::abs(static_cast<double>(count) - 10000) < 5 * std::sqrt(70000 * 6 / 49.0));
  CHECK(std::abs(static_cast<double>(heads) - 21000) < 5 * std::sqrt(70000 * 0.21));
  CHECK(random_below(source, 1, 1, 1) == 0);
  CHECK_FALSE(random_bernoulli_of(0, 0.0f));
  CHECK(random_bernoulli_of(~0u, 1.0f));
}
#endif

TEST_CASE("random_permutation is a permutation of its key, its prefix agrees, all orders are equally likely") {
  for (const int64_t count : {0, 1, 2, 17, 1000, 9000}) {
    std::vector<int32_t> order = permutation(kKey, count, count);
    const std::vector<int32_t> prefix = permutation(kKey, count, count / 2);
    CHECK(std::equal(prefix.begin(), prefix.end(), order.begin()));
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < count; ++i) CHECK(order[static_cast<size_t>(i)] == i);
  }
  gatun_random_key other = kKey;
  other.step += 1;
  CHECK(permutation(kKey, 1000, 1000) != permutation(other, 1000, 1000));
#if !defined(GATUN_CUDA)
  std::map<std::vector<int32_t>, int> orders;
  constexpr int kTrials = 6000;
  for (int i = 0; i < kTrials; ++i) {
    gatun_random_key key = kKey;
    key.step = static_cast<uint64_t>(i);
    ++orders[permutation(key, 3, 3)];
  }
  CHECK(orders.size() == 6);
  for (const auto& [order, count] : orders) CHECK(std::abs(count - kTrials / 6.0) < 5 * std::sqrt(kTrials * 5 / 36.0));
#endif
}

TEST_CASE("random_permutation is the order of the header's keys, for few numbers and for many") {
  const RandomSource source = random_source(kKey);
  for (const int64_t count : {1, 511, 513, 1025, 4097, 9000, 70000}) {  // with a last tile, beyond what is compared all with all
    std::vector<int32_t> expected(static_cast<size_t>(count));
    std::iota(expected.begin(), expected.end(), 0);
    std::sort(expected.begin(), expected.end(), [&](int32_t a, int32_t b) {
      return random_order(source, static_cast<uint64_t>(a)) < random_order(source, static_cast<uint64_t>(b));
    });
    CAPTURE(count);
    CHECK(permutation(kKey, count, count) == expected);
    expected.resize(static_cast<size_t>((count + 2) / 3));
    CHECK(permutation(kKey, count, (count + 2) / 3) == expected);
  }
}

TEST_CASE("random operations refuse bad arguments with a message that names them") {
  Device device;
  std::vector<float> out(16);
  std::vector<int64_t> ids(4);
  const gatun_layout matrix = layout(GATUN_F32, {4, 4});
  const auto attempt = [&](gatun_random_uniform_desc desc, const char* part, const gatun_random_key* key, const void* id_pointer) {
    refused(part, [&](gatun_error* e) { return gatun_random_uniform(device.stream(), &desc, key, id_pointer, out.data(), e); });
  };
  const uint32_t size = sizeof(gatun_random_uniform_desc);
  attempt({size, 0, 1, 0, 0, {}, matrix}, "key is NULL", nullptr, nullptr);
  attempt({size, 1, 0, 0, 0, {}, matrix}, "low is 1 and high is 0", &kKey, nullptr);
  attempt({size, 0, std::numeric_limits<float>::infinity(), 0, 0, {}, matrix}, "finite range", &kKey, nullptr);
  attempt({size, 0, 1, 0, 0, layout(GATUN_I64, {3}), matrix}, "ids has shape (3), expected (4)", &kKey, ids.data());
  attempt({size, 0, 1, 0, 0, layout(GATUN_I32, {4}), matrix}, "ids is i32, expected i64", &kKey, ids.data());
  attempt({size, 0, 1, 0, 0, {}, matrix}, "ids has a pointer but no layout", &kKey, ids.data());
  attempt({size, 0, 1, 0, 0, {}, layout(GATUN_I32, {4, 4})}, "out is i32, expected f32", &kKey, nullptr);
  const gatun_random_normal_desc normal_desc{sizeof normal_desc, 0, -1, 0, 0, {}, matrix};
  refused("deviation is -1", [&](gatun_error* e) { return gatun_random_normal(device.stream(), &normal_desc, &kKey, nullptr, out.data(), e); });
  const gatun_random_permutation_desc longer{sizeof longer, 0, 3, layout(GATUN_I32, {4})};
  refused("out has 4 entries, more than count = 3",
          [&](gatun_error* e) { return gatun_random_permutation(device.stream(), &longer, &kKey, out.data(), nullptr, 0, e); });
  const gatun_random_permutation_desc good{sizeof good, 0, 4, layout(GATUN_I32, {4})};
  refused("the workspace has 8 bytes", [&](gatun_error* e) { return gatun_random_permutation(device.stream(), &good, &kKey, out.data(), out.data(), 8, e); });
}

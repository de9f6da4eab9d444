// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/intrinsics.h"

#include <bit>

#include "kernels/testing/device_buffer.h"
#include "kernels/testing/checks.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

std::vector<int> integers(size_t count) {
  std::mt19937 generator(11);
  std::vector<int> values(count);
  for (int& value : values) value = static_cast<int>(generator() % 2001) - 1000;
  return values;
}

// The nearest number with `bits` bits of mantissa and exponents from `lowest`, ties to even, computed in double.
float nearest(float x, int bits, int lowest, float largest) {
  if (!std::isfinite(x) || x == 0.0f) return x;
  const int exponent = std::max(std::ilogb(x), lowest) - bits;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(static_cast<double>(x), -exponent)), exponent);
  if (std::abs(rounded) > largest) return std::copysign(std::numeric_limits<float>::infinity(), x);
  return static_cast<float>(rounded);
}

}  // namespace

TEST_CASE("intrinsics: warp operations give each lane what CUDA says") {
  const std::vector<int> x = integers(32);
  const DeviceBuffer<int> device_x(x);
  DeviceBuffer<int> out(32 * intrinsics::kWarpResults);
  check(intrinsics::warp_operations(device_x.data(), out.data(), nullptr));
  const std::vector<int> results = out.download();
  unsigned ballot = 0, all_and = ~0u, all_or = 0, all_xor = 0;
  int sum = 0, least = x[0], most = x[0], first_sum = 0, rest_most = x[12];
  for (size_t l = 0; l < 32; ++l) {
    ballot |= static_cast<unsigned>(x[l] > 0) << l;
    all_and &= static_cast<unsigned>(x[l]);
    all_or |= static_cast<unsigned>(x[l]);
    all_xor ^= static_cast<unsigned>(x[l]);
    sum += x[l];
    least = std::min(least, x[l]);
    most = std::max(most, x[l]);
    if (l < 12) first_sum += x[l];
    else rest_most = std::max(rest_most, x[l]);
  }
  for (size_t l = 0; l < 32; ++l) {
    const std::vector<int> expected = {
        x[5], x[l / 8 * 8 + (l + 3) % 8], x[l ^ 9], x[l ^ 4], x[l >= 3 ? l - 3 : l], x[l % 16 >= 3 ? l - 3 : l], x[l < 29 ? l + 3 : l],
        x[l % 16 < 13 ? l + 3 : l], static_cast<int>(ballot), 1, 0, sum, least, most, static_cast<int>(all_and), static_cast<int>(all_or),
        static_cast<int>(all_xor), l < 12 ? first_sum : rest_most, x[31],
        std::popcount(static_cast<unsigned>(x[l])) * 1000 + std::countl_zero(static_cast<unsigned>(x[l])) * 10 + __builtin_ffs(x[l])};
    REQUIRE(expected.size() == intrinsics::kWarpResults);
    for (size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(l);
      CAPTURE(i);
      CHECK(results[l * intrinsics::kWarpResults + i] == expected[i]);
    }
  }
}

TEST_CASE("intrinsics: votes of a block with a partial warp") {
  for (const int positive : {0, 40, 80}) {
    std::vector<int> x(80, -1);
    std::fill_n(x.begin(), positive, 1);
    const DeviceBuffer<int> device_x(x);
    DeviceBuffer<int> out(80 * 3);
    check(intrinsics::block_votes(device_x.data(), out.data(), 80, nullptr));
    const std::vector<int> results = out.download();
    for (size_t i = 0; i < 80; ++i) {
      CHECK(results[i * 3] == positive);
      CHECK((results[i * 3 + 1] != 0) == (positive == 80));
      CHECK((results[i * 3 + 2] != 0) == (positive > 0));
    }
  }
}

TEST_CASE("intrinsics: atomics of many blocks, and a lock") {
  const std::vector<int> x = integers(150);
  const DeviceBuffer<int> device_x(x);
  DeviceBuffer<int> out(std::vector<int>{0, 1 << 30, -(1 << 30), 0});
  check(intrinsics::atomics(device_x.data(), out.data(), 150, nullptr));
  int sum = 0, all_xor = 0;
  for (const int value : x) sum += value, all_xor ^= value;
  CHECK(out.download() == std::vector<int>{sum, *std::min_element(x.begin(), x.end()), *std::max_element(x.begin(), x.end()), all_xor});
  DeviceBuffer<int> lock(std::vector<int>{0});
  DeviceBuffer<float> total(std::vector<float>{0.0f});
  check(intrinsics::locked(lock.data(), total.data(), 48, nullptr));
  CHECK(total.download()[0] == 96.0f);
}

TEST_CASE("intrinsics: named barriers order a producer and a consumer") {
  const std::vector<float> x = normal(7 * 32, 3);
  const DeviceBuffer<float> device_x(x);
  DeviceBuffer<float> device_y(x.size());
  check(intrinsics::pipeline(device_x.data(), device_y.data(), 7, nullptr));
  const std::vector<float> y = device_y.download();
  for (size_t i = 0; i < x.size(); ++i) CHECK(y[i] == 2 * x[i / 32 * 32 + 31 - i % 32]);
}

TEST_CASE("intrinsics: half and bfloat16 round to nearest even") {
  std::vector<float> x = {0.0f, -0.0f, 65504.0f, 65519.9f, 65520.0f, -1e9f, 0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1.004p0f, 0x1.00cp0f, 3.4e38f, std::numeric_limits<float>::infinity()};
  std::mt19937 generator(5);
  for (int i = 0; i < 4000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(generator()));
    if (std::isfinite(value)) x.push_back(value);
    x.push_back(std::ldexp(1.0f + static_cast<float>(generator() % 4096) / 4096, static_cast<int>(generator() % 50) - 30));
  }
  const DeviceBuffer<float> device_x(x);
  DeviceBuffer<float> device_y(2 * x.size());
  check(intrinsics::convert(device_x.data(), device_y.data(), static_cast<int>(x.size()), nullptr));
  const std::vector<float> y = device_y.download();
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    REQUIRE(std::bit_cast<uint32_t>(y[2 * i]) == std::bit_cast<uint32_t>(nearest(x[i], 10, -14, 65504.0f)));
    REQUIRE(std::bit_cast<uint32_t>(y[2 * i + 1]) == std::bit_cast<uint32_t>(nearest(x[i], 7, -126, 0x1.fep127f)));
  }
}

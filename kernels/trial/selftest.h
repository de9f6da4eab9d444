// SPDX-License-Identifier: Apache-2.0
// An operation against its double reference on random shapes.
//
//   static void selftest(Selftest& s) {
//     for (int round = 0; round < s.rounds(); ++round) {
//       const int64_t rows = s.extent(1, 200), columns = s.extent(1, 900);
//       const std::vector<float> x = s.normal(rows * columns);           // what the device and both references get
//       Buffer<float> y(s.device(), rows * columns);
//       call(...);
//       s.check("forward", "f32", {rows, columns}, y.values(), truth, naive);
//     }
//   }
#pragma once

#include <algorithm>
#include <limits>
#include <random>

#include "kernels/trial/trial.h"

namespace gatun::trial {

class Selftest {
 public:
  struct Row {
    std::string operation, direction, dtype, shape;
    double error, bound;
    bool passed() const { return error <= bound; }
  };

  Selftest(const Device& device, std::string operation, uint32_t seed, bool quick, void (*report)(const Row&))
      : device_(device), operation_(std::move(operation)), random_(seed), quick_(quick), report_(report) {}

  const Device& device() const { return device_; }
  gatun_stream* stream() const { return device_.stream(); }
  // How many random shapes of each kind to try.
  int rounds() const { return quick_ ? 2 : 8; }
  // An extent between the two, small ones as likely as large ones. On the emulated device `high` is cut to a quarter, but not below 40.
  int64_t extent(int64_t low, int64_t high);
  bool chance(double probability) { return std::bernoulli_distribution(probability)(random_); }
  uint32_t seed() { return random_(); }
  std::vector<float> normal(int64_t count, float scale = 1) {
    std::vector<float> values = testing::normal(count, random_(), scale);
    largest_ = std::max(largest_, testing::magnitude(values));
    return values;
  }

  // A row of the table: the largest error of the result against the truth, beside the derived bound (kernels/testing/numbers.h and storage.h)
  // and a few roundings of the largest operand: of few results, or small differences of large numbers, the yardstick may happen to have none.
  template <class T>
  void check(const std::string& direction, const std::string& dtype, const ShapeText& shape, const std::vector<T>& result,
             const std::vector<double>& truth, const std::vector<float>& naive) {
    add(direction, dtype, shape, testing::distance(testing::loaded(result), truth), testing::stored_bound<T>(truth, naive) + 4 * std::numeric_limits<float>::epsilon() * largest_);
  }
  // For what must be equal to the bit, such as random decisions: the number of differences beside 0.
  template <class T>
  void check_equal(const std::string& direction, const std::string& dtype, const ShapeText& shape, const std::vector<T>& result,
                   const std::vector<T>& expected) {
    int64_t differences = result.size() == expected.size() ? 0 : 1;
    for (size_t i = 0; i < expected.size() && i < result.size(); ++i) differences += std::memcmp(&result[i], &expected[i], sizeof(T)) != 0;
    add(direction, dtype, shape, static_cast<double>(differences), 0);
  }
  // With a bound derived by the operation itself.
  void add(const std::string& direction, const std::string& dtype, const ShapeText& shape, double error, double bound) {
    report_({operation_, direction, dtype, shape.text, error, bound});
  }

 private:
  const Device& device_;
  std::string operation_;
  std::mt19937 random_;
  bool quick_;
  void (*report_)(const Row&);
  double largest_ = 0;  // of what normal() drew
};

}  // namespace gatun::trial

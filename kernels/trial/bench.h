// SPDX-License-Identifier: Apache-2.0
// An operation's time on given shapes, with the work that cannot be avoided.
//
//   static void bench(Bench& b) {
//     for (const auto& [rows, columns] : shapes) {
//       b.row("forward", "f32", {rows, columns}, {.flops = 3.0 * rows * columns, .bytes = 8.0 * rows * columns}, [&](Run& run) {
//         Rotating<float> x = run.normal<float>(rows * columns), y = run.empty<float>(rows * columns);
//         run.time([&](int i, gatun_error* e) { return gatun_x_forward(run.stream(), &desc, x[i], y[i], e); });
//       });
//     }
//   }
#pragma once

#include <functional>

#include "kernels/trial/trial.h"

namespace gatun::trial {

// The floor: operations counted as the mathematics asks, bytes that must be read and written once.
struct Cost {
  double flops = 0;
  double bytes = 0;
  bool tensor_cores = false;  // the flops are compared with the ceiling of the matrix units
};

// As many copies of an operand as it takes for all of a call's operands together to exceed the last cache.
template <class T>
class Rotating {
 public:
  T* operator[](int i) { return copies_[static_cast<size_t>(i) % copies_.size()].data(); }
  std::vector<Buffer<T>> copies_;
};

class Run {
 public:
  Run(const Device& device, int rotations, double seconds) : device_(device), rotations_(rotations), budget_(seconds) {}
  const Device& device() const { return device_; }
  gatun_stream* stream() const { return device_.stream(); }
  // Normal numbers; random, since zeros cost less energy and so less time.
  template <class T>
  Rotating<T> normal(int64_t count, float scale = 1) {
    const std::vector<float> pattern = testing::normal(std::min<int64_t>(count, 1 << 20), 1, scale);
    std::vector<T> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(pattern[i % pattern.size()]);
    return filled(values);
  }
  template <class T>
  Rotating<T> filled(const std::vector<T>& values) {
    Rotating<T> result;
    for (int i = 0; i < rotations_; ++i) result.copies_.emplace_back(device_, values);
    return result;
  }
  template <class T>
  Rotating<T> empty(int64_t count) {
    Rotating<T> result;
    for (int i = 0; i < rotations_; ++i) result.copies_.emplace_back(device_, static_cast<size_t>(count));
    return result;
  }
  // Times call(i, error), i counting up; the median of batches that events of the stream enclose.
  void time(const std::function<gatun_status(int, gatun_error*)>& call);
  double seconds() const { return seconds_; }

 private:
  const Device& device_;
  int rotations_;
  double budget_;
  double seconds_ = 0;
};

class Bench {
 public:
  struct Row {
    std::string operation, direction, dtype, shape;
    Cost cost;
    double seconds;  // 0: only listed
  };

  Bench(const Device& device, std::string operation, double seconds, bool list, void (*report)(const Row&))
      : device_(device), operation_(std::move(operation)), seconds_(seconds), list_(list), report_(report) {}

  const Device& device() const { return device_; }
  // On the emulated device a time says nothing about a GPU; benches give it one small shape, to see that they run.
  bool emulated() const { return device_.emulated(); }
  void row(const std::string& direction, const std::string& dtype, const ShapeText& shape, const Cost& cost, const std::function<void(Run&)>& body);

 private:
  const Device& device_;
  std::string operation_;
  double seconds_;
  bool list_;
  void (*report_)(const Row&);
};

// Floating-point operations and bytes a second that the device reaches at this moment.
struct Ceilings {
  double flops = 0;         // f32 multiply-adds
  double tensor_flops = 0;  // of the matrix units; 0 where there are none
  double bytes = 0;         // of a copy larger than the caches, read and written
};
Ceilings measure_ceilings(const Device& device);

}  // namespace gatun::trial

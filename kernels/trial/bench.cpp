// SPDX-License-Identifier: Apache-2.0
#include "kernels/trial/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace gatun::trial {

namespace {

class Event {
 public:
  explicit Event(const Device& device) {
    call([&](gatun_error* e) { return gatun_event_create(device.context(), &event_, e); });
  }
  ~Event() { gatun_event_destroy(event_, nullptr); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(gatun_stream* stream) {
    call([&](gatun_error* e) { return gatun_event_record(stream, event_, e); });
  }
  double since(const Event& start) {
    double seconds = 0;
    call([&](gatun_error* e) { return gatun_event_elapsed(start.event_, event_, &seconds, e); });
    return seconds;
  }

 private:
  gatun_event* event_ = nullptr;
};

constexpr double kBatch = 1e-3;  // seconds that a timed batch lasts at least, so that launches overlap with work
constexpr int kBatches = 9;      // timed at least

}  // namespace

void Run::time(const std::function<gatun_status(int, gatun_error*)>& function) {
  Event start(device_), end(device_);
  int index = 0;
  const auto batch = [&](int64_t calls) {
    start.record(stream());
    for (int64_t i = 0; i < calls; ++i, ++index) {
      call([&](gatun_error* e) { return function(index, e); });
    }
    end.record(stream());
    return end.since(start);
  };
  batch(1);  // first touch, lazy loading
  int64_t calls = 1;
  double last = batch(calls);
  while (last < kBatch && calls < (1 << 20)) {
    calls = std::max(calls + 1, static_cast<int64_t>(calls * std::min(8.0, 1.2 * kBatch / std::max(last, 1e-9))));
    last = batch(calls);
  }
  std::vector<double> times;
  for (double spent = 0; static_cast<int>(times.size()) < kBatches || spent < budget_; spent += times.back() * calls) {
    times.push_back(batch(calls) / static_cast<double>(calls));
    if (spent > 4 * budget_ && times.size() >= 3) break;
  }
  std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2), times.end());
  seconds_ = times[times.size() / 2];
}

void Bench::row(const std::string& direction, const std::string& dtype, const ShapeText& shape, const Cost& cost,
                const std::function<void(Run&)>& body) {
  double seconds = 0;
  if (!list_) {
    // Three times the cache, so that nothing of a call is left there when its turn comes again.
    const double rotations = std::ceil(3.0 * static_cast<double>(device_.cache_bytes()) / std::max(cost.bytes, 1.0));
    Run run(device_, static_cast<int>(std::clamp(rotations, 1.0, emulated() ? 2.0 : 256.0)), seconds_);
    body(run);
    seconds = run.seconds();
  }
  report_({operation_, direction, dtype, shape.text, cost, seconds});
}

Ceilings measure_ceilings(const Device& device) {
  Ceilings result;
  const double seconds = device.emulated() ? 0.01 : 0.1;
  const auto rate = [&](int64_t iterations, auto&& function) {
    Buffer<int64_t> flops(device, 1);
    Buffer<float> last(device, 1);
    Run run(device, 1, seconds);
    run.time([&](int, gatun_error* e) { return function(iterations, flops.data(), last.data(), e); });
    return static_cast<double>(flops.values()[0]) / run.seconds();
  };
  const int64_t iterations = device.emulated() ? 2 : 4096;
  result.flops = rate(iterations, [&](int64_t count, int64_t* flops, float* last, gatun_error* e) {
    const gatun_ceiling_fma_desc desc{sizeof desc, 0, count, layout(GATUN_I64, {1}), layout(GATUN_F32, {1})};
    return gatun_ceiling_fma(device.stream(), &desc, flops, last, e);
  });
  if (!device.cpu()) {
    result.tensor_flops = rate(iterations, [&](int64_t count, int64_t* flops, float* last, gatun_error* e) {
      const gatun_ceiling_mma_desc desc{sizeof desc, GATUN_BF16, count, layout(GATUN_I64, {1}), layout(GATUN_F32, {1})};
      return gatun_ceiling_mma(device.stream(), &desc, flops, last, e);
    });
  }
  const int64_t count = device.emulated() ? 1 << 14 : std::max<int64_t>(device.cache_bytes(), 32 << 20);
  Run run(device, 1, seconds);
  Rotating<float> x = run.normal<float>(count), y = run.empty<float>(count);
  const gatun_ceiling_copy_desc desc{sizeof desc, 0, layout(GATUN_F32, {count}), layout(GATUN_F32, {count})};
  run.time([&](int i, gatun_error* e) { return gatun_ceiling_copy(run.stream(), &desc, x[i], y[i], e); });
  result.bytes = 8.0 * static_cast<double>(count) / run.seconds();
  return result;
}

}  // namespace gatun::trial

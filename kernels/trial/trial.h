// SPDX-License-Identifier: Apache-2.0
// What trials of an operation share: the library's device, memory on it, and the list of operations. A trial knows a library by its C
// interface only, so that one program serves every device. An operation has a file X_trials.cpp:
//
//   static void selftest(Selftest& s) { ... random shapes against the double reference: selftest.h }
//   static void bench(Bench& b) { ... shapes with their floating-point operations and bytes: bench.h }
//   GATUN_TRIALS(X, selftest, bench);
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "gatun.h"
#include "kernels/testing/layout.h"
#include "kernels/testing/numbers.h"
#include "kernels/testing/storage.h"

namespace gatun::trial {

using testing::layout;  // layout(GATUN_F32, {2, 3}[, strides])

// A call that failed, with the operation's own words.
struct CallFailed : std::runtime_error {
  CallFailed(gatun_status status, const std::string& message) : std::runtime_error(message), status(status) {}
  const gatun_status status;
};

// call([&](gatun_error* e) { return gatun_x_forward(..., e); })
template <class F>
void call(F&& function) {
  gatun_error error{};
  const gatun_status status = function(&error);
  if (status != GATUN_OK) throw CallFailed(status, std::string(error.operation) + ": " + error.message);
}

// The device of the library that this program is linked to.
class Device {
 public:
  explicit Device(int threads = 0);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  gatun_context* context() const { return context_; }
  gatun_stream* stream() const { return stream_; }
  void synchronize() const;
  const std::string& info() const { return info_; }  // JSON
  bool cpu() const { return kind_ == "cpu"; }
  bool emulated() const { return kind_ == "emulated"; }
  const std::string& kind() const { return kind_; }
  // Bytes of its last cache: operands of benchmarks rotate beyond it.
  int64_t cache_bytes() const { return cache_bytes_; }

 private:
  gatun_context* context_ = nullptr;
  gatun_stream* stream_ = nullptr;
  std::string info_, kind_;
  int64_t cache_bytes_ = 0;
};

// Memory of the device.
template <class T>
class Buffer {
 public:
  Buffer(const Device& device, size_t count) : device_(&device), count_(count) {
    call([&](gatun_error* e) { return gatun_memory_allocate(device.context(), count * sizeof(T), &data_, e); });
  }
  Buffer(const Device& device, const std::vector<T>& values) : Buffer(device, values.size()) { upload(values); }
  Buffer(Buffer&& other) noexcept : device_(other.device_), data_(other.data_), count_(other.count_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() { gatun_memory_free(device_->context(), data_, nullptr); }
  void upload(const std::vector<T>& values) {
    call([&](gatun_error* e) { return gatun_memory_copy(device_->stream(), data_, values.data(), count_ * sizeof(T), e); });
    device_->synchronize();
  }
  std::vector<T> values() const {
    std::vector<T> result(count_);
    call([&](gatun_error* e) { return gatun_memory_copy(device_->stream(), result.data(), data_, count_ * sizeof(T), e); });
    device_->synchronize();
    return result;
  }
  T* data() { return static_cast<T*>(data_); }
  const T* data() const { return static_cast<const T*>(data_); }
  size_t size() const { return count_; }

 private:
  const Device* device_;
  void* data_ = nullptr;
  size_t count_;
};

// Calls f(T()) for each type that activations are stored in on this device: float, and on CUDA testing::Bfloat16 and testing::Half.
template <class F>
void for_each_storage(const Device& device, F&& f) {
  f(float());
  if (!device.cpu()) {
    f(testing::Bfloat16());
    f(testing::Half());
  }
}

template <class T>
const char* dtype() {
  return testing::kDtype<T> == GATUN_BF16 ? "bf16" : testing::kDtype<T> == GATUN_F16 ? "f16" : "f32";
}

// A shape as tables show it: {64, 197, 192} is "(64, 197, 192)"; what the extents do not say is written as text: "(64, 3, 197, 64) causal".
struct ShapeText {
  ShapeText(std::initializer_list<int64_t> shape);
  ShapeText(const char* text) : text(text) {}
  ShapeText(std::string text) : text(std::move(text)) {}
  std::string text;
};
inline std::string operator+(const ShapeText& shape, const char* more) { return shape.text + more; }

class Selftest;
class Bench;

struct Operation {
  std::string name;
  void (*selftest)(Selftest&);
  void (*bench)(Bench&);
};
std::vector<Operation>& operations();

struct RegisterTrials {
  RegisterTrials(const char* name, void (*selftest)(Selftest&), void (*bench)(Bench&)) { operations().push_back({name, selftest, bench}); }
};
#define GATUN_TRIALS(NAME, SELFTEST, BENCH) static const ::gatun::trial::RegisterTrials gatun_trials_##NAME(#NAME, SELFTEST, BENCH)

}  // namespace gatun::trial

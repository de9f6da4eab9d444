// SPDX-License-Identifier: Apache-2.0
// Operands of a test where the device under test can reach them: host memory, or with GATUN_CUDA memory of the CUDA device (or of the
// emulated one). The same test cases run on all of them.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#if defined(GATUN_CUDA)
#include "kernels/testing/testing.h"
#endif

namespace gatun::testing {

#if defined(GATUN_CUDA)
// Exactly as many bytes as it says: what lies beyond is a red zone.
template <class T>
class Memory {
 public:
  explicit Memory(const std::vector<T>& values) : count_(values.size()) {
    require_ok([&](gatun_error* e) { return gatun_memory_allocate(device().context(), bytes(), &data_, e); });
    require_ok([&](gatun_error* e) { return gatun_memory_copy(device().stream(), data_, values.data(), bytes(), e); });
    require_ok([&](gatun_error* e) { return gatun_stream_synchronize(device().stream(), e); });
  }
  Memory(size_t count, T value) : Memory(std::vector<T>(count, value)) {}
  ~Memory() { gatun_memory_free(device().context(), data_, nullptr); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  T* data() { return static_cast<T*>(data_); }
  const T* data() const { return static_cast<const T*>(data_); }
  std::vector<T> values() const {
    std::vector<T> result(count_);
    require_ok([&](gatun_error* e) { return gatun_context_synchronize(device().context(), e); });
    require_ok([&](gatun_error* e) { return gatun_memory_copy(device().stream(), result.data(), data_, bytes(), e); });
    require_ok([&](gatun_error* e) { return gatun_stream_synchronize(device().stream(), e); });
    return result;
  }

 private:
  static const Device& device() {
    static const Device shared;
    return shared;
  }
  size_t bytes() const { return count_ * sizeof(T); }
  void* data_ = nullptr;
  size_t count_;
};
#else
// Large blocks begin with a cache line, as the library's own do: kernels write past the caches only then. Small ones lie as malloc has them, so that
// operands without alignment are tested too.
template <class T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <class U>
  Allocator(const Allocator<U>&) {}
  static constexpr std::align_val_t alignment(size_t count) { return std::align_val_t(count * sizeof(T) >= size_t{1} << 20 ? 64 : alignof(std::max_align_t)); }
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), alignment(count))); }
  void deallocate(T* data, size_t count) { ::operator delete(data, alignment(count)); }
  friend bool operator==(const Allocator&, const Allocator&) { return true; }
  friend bool operator!=(const Allocator&, const Allocator&) { return false; }
};

template <class T>
class Memory {
 public:
  explicit Memory(const std::vector<T>& values) : values_(values.begin(), values.end()) {}
  Memory(size_t count, T value) : values_(count, value) {}
  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  std::vector<T> values() const { return {values_.begin(), values_.end()}; }

 private:
  std::vector<T, Allocator<T>> values_;
};
#endif

}  // namespace gatun::testing

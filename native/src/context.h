// SPDX-License-Identifier: Apache-2.0
// What contexts of all devices have: an account of the memory they gave out.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "check.h"
#include "gatun/memory.h"

namespace gatun {

// Who freed what was never allocated would end the process, and a limit needs sizes: both are known here.
class Account {
 public:
  // `limit` 0: none
  explicit Account(uint64_t limit) : limit_(limit) {}

  // Room for `bytes` is taken before the device is asked; `fit` returns the memory or throws what the device says, and is given how to begin:
  // "cannot allocate 5 bytes: 3 are allocated".
  template <class Fit>
  void* allocate(size_t bytes, Fit&& fit) {
    {
      const std::lock_guard<std::mutex> guard(lock_);
      if (limit_ != 0 && bytes > limit_ - allocated_) {
        throw Error(GATUN_OUT_OF_MEMORY, refusal(bytes, allocated_) + ", the limit is " + std::to_string(limit_));
      }
      allocated_ += bytes;
    }
    void* memory = nullptr;
    try {
      memory = fit([&] { return refusal(bytes, allocated() - bytes); });
    } catch (...) {
      const std::lock_guard<std::mutex> guard(lock_);
      allocated_ -= bytes;
      throw;
    }
    const std::lock_guard<std::mutex> guard(lock_);
    sizes_[memory] = bytes;
    return memory;
  }

  // `free` gives the memory back, or throws and it stays. NULL is nothing.
  template <class Free>
  void release(void* memory, const char* function, Free&& free) {
    if (memory == nullptr) return;
    size_t bytes = 0;
    {
      const std::lock_guard<std::mutex> guard(lock_);
      const auto found = sizes_.find(memory);
      if (found == sizes_.end()) invalid("the memory is not of %s of this context, or was freed already", function);
      bytes = found->second;
      sizes_.erase(found);  // first: the address may be given out again as soon as it is free
    }
    try {
      free();
    } catch (...) {
      const std::lock_guard<std::mutex> guard(lock_);
      sizes_[memory] = bytes;
      throw;
    }
    const std::lock_guard<std::mutex> guard(lock_);
    allocated_ -= bytes;
  }

  uint64_t allocated() {
    const std::lock_guard<std::mutex> guard(lock_);
    return allocated_;
  }
  uint64_t limit() const { return limit_; }

 private:
  static std::string refusal(size_t bytes, uint64_t allocated) {
    return "cannot allocate " + std::to_string(bytes) + " bytes: " + std::to_string(allocated) + " are allocated";
  }

  std::mutex lock_;
  std::unordered_map<void*, size_t> sizes_;
  uint64_t allocated_ = 0;
  const uint64_t limit_;
};

}  // namespace gatun

struct gatun_context {
#if defined(GATUN_CUDA)
  gatun_context(int ordinal, uint64_t limit) : device(ordinal), memory(limit), host(0) {}
  const int device;
  uint32_t flags = 0;
  std::atomic<int> streams{0};  // that were created
#else
  gatun_context(int count, uint64_t limit) : threads(count), memory(limit), host(0) {}
  const int threads;
#endif
  gatun::Account memory;
  gatun::Account host;
};

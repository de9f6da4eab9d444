// SPDX-License-Identifier: Apache-2.0
// A workspace of exactly the bytes that an operation asked for, full of NaN: what it reads without having written shows.
#pragma once

#include <cstdlib>
#include <cstring>

#include "kernels/testing/memory.h"

namespace gatun::testing {

#if defined(GATUN_CUDA)
class Workspace {
 public:
  explicit Workspace(size_t bytes) : memory_(bytes, 0xff) {}
  void* data() { return memory_.data(); }

 private:
  Memory<unsigned char> memory_;
};
#else
class Workspace {
 public:
  explicit Workspace(size_t bytes) {
    REQUIRE(posix_memalign(&data_, 64, bytes) == 0);
    std::memset(data_, 0xff, bytes);
  }
  ~Workspace() { std::free(data_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() { return data_; }

 private:
  void* data_ = nullptr;
};
#endif

}  // namespace gatun::testing

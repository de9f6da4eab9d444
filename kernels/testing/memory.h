// SPDX-License-Identifier: Apache-2.0
// Operands of a test where the device under test can reach them: host memory, or with GATUN_CUDA the memory of the CUDA device (or of
// the emulated one). The same test cases run on all of them.
#pragma once

#include <vector>

#if defined(GATUN_CUDA)
#include "kernels/testing/device_buffer.h"
#endif

namespace gatun::testing {

#if defined(GATUN_CUDA)
template <class T>
class Memory : public DeviceBuffer<T> {
 public:
  explicit Memory(const std::vector<T>& values) : DeviceBuffer<T>(values) {}
  Memory(size_t count, T value) : DeviceBuffer<T>(std::vector<T>(count, value)) {}
  std::vector<T> values() const { return this->download(); }
};
#else
template <class T>
class Memory {
 public:
  explicit Memory(const std::vector<T>& values) : values_(values) {}
  Memory(size_t count, T value) : values_(count, value) {}
  T* data() { return values_.data(); }
  const T* data() const { return values_.data(); }
  std::vector<T> values() const { return values_; }

 private:
  std::vector<T> values_;
};
#endif

}  // namespace gatun::testing

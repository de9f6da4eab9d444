// SPDX-License-Identifier: Apache-2.0
// Memory of the CUDA device, or of the emulated one, in tests.
#pragma once

#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "kernels/emulation/cuda.h"

namespace gatun::testing {

inline void check(cudaError_t error) { REQUIRE_MESSAGE(error == cudaSuccess, std::string(cudaGetErrorString(error))); }

// Exactly as many bytes as it says: what lies beyond is a red zone.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t count) : count_(count) { check(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T))); }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    check(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  T* data() { return data_; }
  const T* data() const { return data_; }
  std::vector<T> download() const {
    check(cudaDeviceSynchronize());
    std::vector<T> values(count_);
    check(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

}  // namespace gatun::testing

// SPDX-License-Identifier: Apache-2.0
// What the stand-ins for NVIDIA's libraries share: elements of the types that they name alike, and access to a device's memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace library_double {

// cudaDataType's numbers.
enum Type { kF32 = 0, kF16 = 2, kBf16 = 14 };

inline float half(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const float magnitude = exponent == 0 ? static_cast<float>(fraction) * 0x1p-24F
                                        : static_cast<float>(1024 + fraction) * 0x1p-25F * static_cast<float>(1U << exponent);
  return bits >> 15 != 0 ? -magnitude : magnitude;
}

inline float load(int type, const void* data, size_t index) {
  if (type == kF32) return static_cast<const float*>(data)[index];
  const uint16_t bits = static_cast<const uint16_t*>(data)[index];
  if (type == kF16) return half(bits);
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

// To f32 and bf16 only: nothing is offered with a result in f16.
inline void store(int type, void* data, size_t index, float value) {
  if (type == kF32) {
    static_cast<float*>(data)[index] = value;
    return;
  }
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  static_cast<uint16_t*>(data)[index] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// The emulated device closes its memory to the host between kernels; what a library is given it may touch.
inline void open(const void* data, size_t bytes) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) / page * page;
  mprotect(reinterpret_cast<void*>(begin), reinterpret_cast<uintptr_t>(data) + bytes - begin, PROT_READ | PROT_WRITE);
}

}  // namespace library_double

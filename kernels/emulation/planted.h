// SPDX-License-Identifier: Apache-2.0
// Kernels with one bug each. The line that a report must name ends in `// planted: <name>`.
#pragma once

#include <vector>

#include "kernels/emulation/cuda.h"

namespace gatun::planted {

struct Plant {
  const char* name;
  const char* report;  // what the report calls it
  const char* builds;  // that must catch it under every schedule: p(lain) a(ddress and undefined) r(ace)
  void (*run)();
  const char* mark = nullptr;  // of the line, where it is not the name; "" where the report has none
};
std::vector<Plant> synchronisation_plants();
std::vector<Plant> memory_plants();
std::vector<Plant> grid_plants();
std::vector<Plant> hopper_plants();
cudaError_t clean_bytes();      // no bug: bytes of one word that belong to different threads
cudaError_t too_many_blocks();  // in a cooperative launch

// Device memory for one run; the programs are short, nothing is freed.
inline float* memory(size_t count) {
  void* result = nullptr;
  if (cudaMalloc(&result, count * sizeof(float)) != cudaSuccess) return nullptr;
  return cudaMemset(result, 0, count * sizeof(float)) == cudaSuccess ? static_cast<float*>(result) : nullptr;
}

}  // namespace gatun::planted

// SPDX-License-Identifier: Apache-2.0
// Tensor-core instructions on the host: which lane holds which element is exact (PTX ISA, "Matrix fragments for mma"), the order of
// additions is not: products are added one by one in float.
#pragma once

#include "kernels/emulation/device.h"

namespace gatun::emulation {


struct MmaArgument {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

void mma_m16n8k16_bf16(uint32_t mask, void* const* arguments);
void mma_m16n8k16_half(uint32_t mask, void* const* arguments);
void mma_m16n8k8_tf32(uint32_t mask, void* const* arguments);
// `count` matrices of 8 rows of 16 bytes; lane 8*i+r holds the address of row r of matrix i.
void load_matrices(const void* row, uint32_t* result, int count, bool transposed, const Site& site);

}  // namespace gatun::emulation

// SPDX-License-Identifier: Apache-2.0
// sm_90a's asynchronous instructions on the host: barriers in shared memory, bulk tensor copies, products of a warpgroup.
#pragma once

#include "kernels/emulation/host.h"
#include "kernels/emulation/runtime.h"

namespace gatun::emulation {

void mbarrier_init(uint64_t* barrier, unsigned count, const Site& site);
void mbarrier_init_fence();
void mbarrier_arrive(uint64_t* barrier, unsigned bytes, const Site& site);
void mbarrier_wait(uint64_t* barrier, unsigned parity, const Site& site);
void proxy_fence();

struct TensorMap {
  const unsigned char* base;
  unsigned rank;
  uint64_t size[5], stride[5];  // strides in bytes
  uint32_t box[5];
};
// Refuses what the driver refuses.
cudaError_t make_tensor_map(TensorMap& map, const void* base, unsigned rank, const uint64_t* size, const uint64_t* stride_bytes, const uint32_t* box);
void copy_tile(void* shared, const TensorMap& map, uint64_t* barrier, unsigned rank, const int* at, const Site& site);

// Dynamic shared memory has the addresses from 0 on in descriptors.
uint32_t shared_offset(const void* address);
struct Product {
  bool bf16;
  int n;
  bool transpose_a, transpose_b, accumulate, a_in_memory;
  uint64_t a, b;
  float* d;
  const uint32_t* fragment;
};
void wgmma(const Product& product, const Site& site);
void wgmma_fence(const Site& site);
void wgmma_commit(const Site& site);
void wgmma_wait(int pending_groups, const Site& site);
void set_registers(int count, bool more, const Site& site);

}  // namespace gatun::emulation

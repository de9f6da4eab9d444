// SPDX-License-Identifier: Apache-2.0
// The types that activations and weights are stored in. Arithmetic is f32 on every device; a kernel's entry point is a template on the type,
// instantiated for the types below.
#pragma once

#include <cstdint>

#include "gatun/base.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#elif defined(GATUN_CUDA)
struct __half;  // the border passes pointers only
struct __nv_bfloat16;
#endif

namespace gatun {

template <class T>
struct Storage {
  using Type = T;
};

// Calls f(Storage<T>()) with the type of a dtype that check_storage has let through:
//   with_storage(desc->x.dtype, [&](auto storage) { using T = typename decltype(storage)::Type; ... });
template <class F>
void with_storage([[maybe_unused]] int32_t dtype, F&& f) {
#if defined(GATUN_CUDA)
  if (dtype == GATUN_BF16) return f(Storage<__nv_bfloat16>());
  if (dtype == GATUN_F16) return f(Storage<__half>());
#endif
  f(Storage<float>());
}

// Instantiates MACRO(T) for every storage type of this device; at the end of a .cpp or .cu file.
#if defined(GATUN_CUDA)
#define GATUN_FOR_EACH_STORAGE(MACRO) MACRO(float) MACRO(__nv_bfloat16) MACRO(__half)
#else
#define GATUN_FOR_EACH_STORAGE(MACRO) MACRO(float)
#endif

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// One function on every element of up to two inputs that broadcast to the output: the skeleton of memory-bound CUDA operations. A thread has
// kUnroll accesses of 16 bytes of each operand under way where the operands' inner dimension allows, else four elements or one at a time.
#pragma once

#include <algorithm>

#include "kernels/common/divider.h"
#include "kernels/common/loops.h"
#include "kernels/common/storage_access.h"

namespace gatun {

constexpr int kPointwiseBlock = 256;
// Elements are counted in units of one access with 32 bits; beyond this a call becomes several launches. Low on the emulated device, to be tested.
constexpr int64_t kPointwiseUnits = kMaxGrid < 1000 ? 4096 : int64_t{1} << 30;

enum PointwiseOperand { kPointwiseX = 0, kPointwiseZ = 1, kPointwiseY = 2 };

struct PointwiseOperands {
  const void* in[2];  // null: absent, read as 0
  void* out;
  int32_t dtype[3];
};

// Loops over units: the innermost counts accesses.
struct UnitLoops {
  uint32_t units;
  int rank;
  bool repeat[2];  // an input that has one element for the whole innermost loop
  Divider by[GATUN_MAX_RANK];
  int64_t stride[3][GATUN_MAX_RANK];  // of a unit, in elements

  __device__ __forceinline__ void locate(uint32_t unit, int64_t (&at)[3]) const {
    at[0] = at[1] = at[2] = 0;
    for (int i = rank - 1; i > 0; --i) {
      uint32_t index;
      unit = by[i].divide(unit, index);
      for (int k = 0; k < 3; ++k) at[k] += index * stride[k][i];
    }
    for (int k = 0; k < 3; ++k) at[k] += unit * stride[k][0];
  }
};

// All operands are T.
template <class T>
struct SameAccess {
  static constexpr int kRun = kVector<T>;
  static constexpr int kUnroll = sizeof(T) == 2 ? 2 : 4;  // 8 elements at a time are registers enough
  static constexpr bool kFast = sizeof(T) == 2;  // what the storage rounds off need not be computed
  using Raw = Pack<T, kRun>;
  static __device__ __forceinline__ Raw load(const void* data, int32_t, int64_t at, bool repeat) {
    const T* const from = static_cast<const T*>(data) + at;
    if (!repeat) return load_pack<T, kRun>(from);
    Raw raw;
    const T value = *from;
    GATUN_UNROLL
    for (int i = 0; i < kRun; ++i) raw.element[i] = value;
    return raw;
  }
  static __device__ __forceinline__ void store(void* data, int32_t, int64_t at, const float (&values)[kRun]) { store_pack(static_cast<T*>(data) + at, values); }
};

// Every operand has a dtype of its own.
template <int Run>
struct AnyAccess {
  static constexpr int kRun = Run, kUnroll = 4;
  static constexpr bool kFast = false;
  using Raw = Pack<float, Run>;
  template <class T>
  static __device__ __forceinline__ Raw load_as(const void* data, int64_t at, bool repeat) {
    const T* const from = static_cast<const T*>(data) + at;
    Raw raw;
    if (repeat) {
      const float value = static_cast<float>(*from);
      GATUN_UNROLL
      for (int i = 0; i < Run; ++i) raw.element[i] = value;
    } else {
      to_floats(load_pack<T, Run>(from), raw.element);
    }
    return raw;
  }
  static __device__ __forceinline__ Raw load(const void* data, int32_t dtype, int64_t at, bool repeat) {
    switch (dtype) {
      case GATUN_BF16: return load_as<__nv_bfloat16>(data, at, repeat);
      case GATUN_F16: return load_as<__half>(data, at, repeat);
      case GATUN_I32: return load_as<int32_t>(data, at, repeat);
      case GATUN_I64: return load_as<int64_t>(data, at, repeat);
      case GATUN_U8: return load_as<uint8_t>(data, at, repeat);
      default: return load_as<float>(data, at, repeat);
    }
  }
  static __device__ __forceinline__ void store(void* data, int32_t dtype, int64_t at, const float (&values)[Run]) {
    if (dtype == GATUN_BF16) store_pack(static_cast<__nv_bfloat16*>(data) + at, values);
    else if (dtype == GATUN_F16) store_pack(static_cast<__half*>(data) + at, values);
    else store_pack(static_cast<float*>(data) + at, values);
  }
};

// F has `template <bool Fast, int N> __device__ void apply(const float (&x)[N], const float (&z)[N], float (&y)[N]) const`.
// y may be an input of the same layout: a thread writes only what it has read itself.
template <class Access, class F>
__global__ void __launch_bounds__(kPointwiseBlock) pointwise_kernel(const PointwiseOperands operands, const UnitLoops loops, const F function) {
  using Raw = typename Access::Raw;
  constexpr int kRun = Access::kRun, kUnroll = Access::kUnroll;
  constexpr uint32_t kStep = kPointwiseBlock * kUnroll;
  for (uint32_t first = blockIdx.x * kStep + threadIdx.x; first < loops.units; first += gridDim.x * kStep) {
    Raw raw[2][kUnroll] = {};
    int64_t out[kUnroll];
    GATUN_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      const uint32_t unit = first + j * kPointwiseBlock;
      if (unit >= loops.units) continue;
      int64_t at[3];
      loops.locate(unit, at);
      out[j] = at[kPointwiseY];
      for (int k = 0; k < 2; ++k) {
        if (operands.in[k] != nullptr) raw[k][j] = Access::load(operands.in[k], operands.dtype[k], at[k], loops.repeat[k]);
      }
    }
    GATUN_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      if (first + j * kPointwiseBlock >= loops.units) continue;
      float x[kRun], z[kRun], y[kRun];
      to_floats(raw[kPointwiseX][j], x);
      to_floats(raw[kPointwiseZ][j], z);
      function.template apply<Access::kFast>(x, z, y);
      Access::store(operands.out, operands.dtype[kPointwiseY], out[j], y);
    }
  }
}

inline int64_t pointwise_bytes(int32_t dtype) {
  return dtype == GATUN_U8 ? 1 : dtype == GATUN_BF16 || dtype == GATUN_F16 ? 2 : dtype == GATUN_I64 ? 8 : 4;
}

// Whether all operands can be accessed `run` elements at a time, or have one element for the whole inner loop.
inline bool pointwise_runs(const PointwiseOperands& operands, const Loops<3>& loops, int64_t run) {
  const int inner = loops.rank - 1;
  if (loops.shape[inner] % run != 0) return false;
  for (int k = 0; k < 3; ++k) {
    const void* data = k == kPointwiseY ? operands.out : operands.in[k];
    if (data == nullptr || (k != kPointwiseY && loops.stride[k][inner] == 0)) continue;
    if (loops.stride[k][inner] != 1) return false;
    const int64_t bytes = std::min<int64_t>(run * pointwise_bytes(operands.dtype[k]), 16);
    if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) != 0) return false;
    for (int i = 0; i < inner; ++i) {
      if (loops.stride[k][i] % run != 0) return false;
    }
  }
  return true;
}

template <class Access, class F>
void launch_pointwise(const Stream& stream, const PointwiseOperands& operands, const Loops<3>& loops, const F& function) {
  UnitLoops units{};
  units.rank = loops.rank;
  const int inner = loops.rank - 1;
  int64_t count = 1;
  for (int i = 0; i < loops.rank; ++i) {
    const int64_t run = i == inner ? Access::kRun : 1;
    units.by[i] = Divider(loops.shape[i] / run);
    count *= loops.shape[i] / run;
    for (int k = 0; k < 3; ++k) units.stride[k][i] = loops.stride[k][i] * run;
  }
  for (int k = 0; k < 2; ++k) units.repeat[k] = loops.stride[k][inner] == 0;
  units.units = static_cast<uint32_t>(count);
  enqueue(stream, pointwise_kernel<Access, F>, grid_for(count, kPointwiseBlock * Access::kUnroll), kPointwiseBlock, 0, operands, units, function);
}

// Calls f for `loops` from element `first` of loop `dimension` on, `extent` of them.
template <class F>
void pointwise_part(const PointwiseOperands& operands, const Loops<3>& loops, int dimension, int64_t first, int64_t extent, F&& f) {
  PointwiseOperands part = operands;
  Loops<3> rest = loops;
  rest.shape[dimension] = extent;
  const auto skip = [&](int k) { return first * loops.stride[k][dimension] * pointwise_bytes(operands.dtype[k]); };
  for (int k = 0; k < 2; ++k) {
    if (part.in[k] != nullptr) part.in[k] = static_cast<const char*>(part.in[k]) + skip(k);
  }
  part.out = static_cast<char*>(part.out) + skip(kPointwiseY);
  f(part, rest);
}

// y = function(x, z) over loops that are simplified and led by y. F as in pointwise_kernel.
template <class F>
void pointwise(const Stream& stream, const PointwiseOperands& operands, const Loops<3>& loops, const F& function) {
  const int64_t count = loops.count();
  if (count == 0) return;
  const auto again = [&](const PointwiseOperands& part, const Loops<3>& rest) { pointwise(stream, part, rest, function); };
  if (count > kPointwiseUnits) {
    int widest = 0;
    for (int i = 1; i < loops.rank; ++i) {
      if (loops.shape[i] > loops.shape[widest]) widest = i;
    }
    const int64_t half = loops.shape[widest] / 2 / 64 * 64 > 0 ? loops.shape[widest] / 2 / 64 * 64 : loops.shape[widest] / 2;
    pointwise_part(operands, loops, widest, 0, half, again);
    pointwise_part(operands, loops, widest, half, loops.shape[widest] - half, again);
    return;
  }
  const int32_t dtype = operands.dtype[kPointwiseY];
  bool same = true;
  for (int k = 0; k < 2; ++k) same = same && (operands.in[k] == nullptr || operands.dtype[k] == dtype);
  const int64_t run = same && dtype != GATUN_F32 ? 8 : 4;
  // A line that is no whole number of runs is one, and a few elements.
  const int64_t odd = loops.rank == 1 ? loops.shape[0] % run : 0;
  if (odd != 0 && odd != loops.shape[0]) {
    pointwise_part(operands, loops, 0, 0, loops.shape[0] - odd, again);
    pointwise_part(operands, loops, 0, loops.shape[0] - odd, odd, again);
    return;
  }
  if (same && pointwise_runs(operands, loops, run)) {
    if (dtype == GATUN_BF16) launch_pointwise<SameAccess<__nv_bfloat16>>(stream, operands, loops, function);
    else if (dtype == GATUN_F16) launch_pointwise<SameAccess<__half>>(stream, operands, loops, function);
    else launch_pointwise<SameAccess<float>>(stream, operands, loops, function);
  } else if (pointwise_runs(operands, loops, 4)) {
    launch_pointwise<AnyAccess<4>>(stream, operands, loops, function);
  } else {
    launch_pointwise<AnyAccess<1>>(stream, operands, loops, function);
  }
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// CUDA's device functions on the host: barriers, warp operations, atomics, loads, and the arithmetic whose rounding is exact.
// Every checked function carries its call site, so that a report names the kernel's line.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/emulation/half.h"
#include "kernels/emulation/runtime.h"

// What the race build must not see: the emulation's own reads and writes.
#define GATUN_UNSEEN __attribute__((no_sanitize("thread")))
#define GATUN_SITE gatun::emulation::Site site = gatun::emulation::Site::current()

namespace gatun::emulation {

template <class T>
struct Exchange {
  T value;
  unsigned source;
  T result;
};

template <class T>
GATUN_UNSEEN void exchange(uint32_t mask, void* const* arguments) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    auto* mine = static_cast<Exchange<T>*>(arguments[lane]);
    const auto* other = static_cast<Exchange<T>*>(arguments[mine->source]);
    if (other != nullptr) mine->result = other->value;
  }
}

template <class T>
GATUN_UNSEEN T shuffle(uint32_t mask, T value, unsigned source, int width, const Site& site) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  if (width != 32 && width != 16 && width != 8 && width != 4 && width != 2 && width != 1) {
    warp_fault(Defect::kWrongMask, "the width of a shuffle is not a power of two up to 32", site);
  }
  if ((mask >> source & 1) == 0 && (mask >> lane_id() & 1) != 0) {
    warp_fault(Defect::kWrongMask, "the shuffle reads a lane that the mask does not name", site);
  }
  Exchange<T> mine{value, source, value};
  collective(Op::kShuffle, mask, &mine, &exchange<T>, site);
  return mine.result;
}

struct Vote {
  bool predicate;
  uint32_t ballot;
};
GATUN_UNSEEN inline void count_votes(uint32_t mask, void* const* arguments) {
  uint32_t ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) != 0 && static_cast<Vote*>(arguments[lane])->predicate) ballot |= 1u << lane;
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) != 0) static_cast<Vote*>(arguments[lane])->ballot = ballot;
  }
}
GATUN_UNSEEN inline uint32_t vote(uint32_t mask, bool predicate, const Site& site) {
  Vote mine{predicate, 0};
  collective(Op::kVote, mask, &mine, &count_votes, site);
  return mine.ballot;
}

template <class T, class F>
GATUN_UNSEEN void fold(uint32_t mask, void* const* arguments) {
  T total{};
  bool first = true;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const T value = *static_cast<T*>(arguments[lane]);
    total = first ? value : F()(total, value);
    first = false;
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) != 0) *static_cast<T*>(arguments[lane]) = total;
  }
}
template <class F, class T>
GATUN_UNSEEN T reduce(uint32_t mask, T value, const Site& site) {
  collective(Op::kReduce, mask, &value, &fold<T, F>, site);
  return value;
}

// One thread of the process runs the whole grid, so a plain read and write is atomic; what remains are the checks.
template <class T, class F>
GATUN_UNSEEN T atomic(T* address, F&& change, const Site& site) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T) != 0) warp_fault(Defect::kAlignment, "an atomic's address is not aligned", site);
  if (!touch(address, sizeof(T), Access::kAtomic, site)) return T{};
  const T old = *address, next = change(old);
  *address = next;
  yield(std::memcmp(&old, &next, sizeof(T)) != 0 ? Pause::kChanged : Pause::kUnchanged, &site);
  return old;
}

GATUN_UNSEEN inline unsigned load_ordered(const unsigned* address, const Site& site) {
  if (!touch(address, sizeof *address, Access::kAtomicRead, site)) return 0;
  acquire(address);
  return *address;
}

struct Sum { template <class T> T operator()(T a, T b) const { return static_cast<T>(a + b); } };
struct Least { template <class T> T operator()(T a, T b) const { return b < a ? b : a; } };
struct Most { template <class T> T operator()(T a, T b) const { return a < b ? b : a; } };
struct BitAnd { template <class T> T operator()(T a, T b) const { return a & b; } };
struct BitOr { template <class T> T operator()(T a, T b) const { return a | b; } };
struct BitXor { template <class T> T operator()(T a, T b) const { return a ^ b; } };

}  // namespace gatun::emulation

// Barriers
inline void __syncthreads(GATUN_SITE) { gatun::emulation::block_barrier(gatun::emulation::Barrier::kPlain, false, site); }
inline int __syncthreads_count(int predicate, GATUN_SITE) { return gatun::emulation::block_barrier(gatun::emulation::Barrier::kCount, predicate != 0, site); }
inline int __syncthreads_and(int predicate, GATUN_SITE) {
  return gatun::emulation::block_barrier(gatun::emulation::Barrier::kAnd, predicate == 0, site) == 0;
}
inline int __syncthreads_or(int predicate, GATUN_SITE) { return gatun::emulation::block_barrier(gatun::emulation::Barrier::kOr, predicate != 0, site) != 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, GATUN_SITE) { gatun::emulation::collective(gatun::emulation::Op::kSync, mask, nullptr, nullptr, site); }

// Warp operations
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, GATUN_SITE) {
  const unsigned lane = gatun::emulation::lane_id(), segment = lane & ~(static_cast<unsigned>(width) - 1);
  return gatun::emulation::shuffle(mask, value, segment + (static_cast<unsigned>(source) & (static_cast<unsigned>(width) - 1)), width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, GATUN_SITE) {
  const unsigned lane = gatun::emulation::lane_id(), other = lane ^ static_cast<unsigned>(lanes), end = (lane | (static_cast<unsigned>(width) - 1)) + 1;
  return gatun::emulation::shuffle(mask, value, other < end ? other : lane, width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, GATUN_SITE) {
  const unsigned lane = gatun::emulation::lane_id(), other = lane + delta;
  return gatun::emulation::shuffle(mask, value, (lane & (static_cast<unsigned>(width) - 1)) + delta < static_cast<unsigned>(width) ? other : lane, width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, GATUN_SITE) {
  const unsigned lane = gatun::emulation::lane_id();
  return gatun::emulation::shuffle(mask, value, (lane & (static_cast<unsigned>(width) - 1)) >= delta ? lane - delta : lane, width, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, GATUN_SITE) { return gatun::emulation::vote(mask, predicate != 0, site); }
inline int __any_sync(unsigned mask, int predicate, GATUN_SITE) { return gatun::emulation::vote(mask, predicate != 0, site) != 0; }
inline int __all_sync(unsigned mask, int predicate, GATUN_SITE) { return gatun::emulation::vote(mask, predicate == 0, site) == 0; }
#define GATUN_REDUCE(NAME, F, T) \
  inline T NAME(unsigned mask, T value, GATUN_SITE) { return gatun::emulation::reduce<gatun::emulation::F>(mask, value, site); }
GATUN_REDUCE(__reduce_add_sync, Sum, unsigned)
GATUN_REDUCE(__reduce_add_sync, Sum, int)
GATUN_REDUCE(__reduce_min_sync, Least, unsigned)
GATUN_REDUCE(__reduce_min_sync, Least, int)
GATUN_REDUCE(__reduce_max_sync, Most, unsigned)
GATUN_REDUCE(__reduce_max_sync, Most, int)
GATUN_REDUCE(__reduce_and_sync, BitAnd, unsigned)
GATUN_REDUCE(__reduce_or_sync, BitOr, unsigned)
GATUN_REDUCE(__reduce_xor_sync, BitXor, unsigned)
#undef GATUN_REDUCE

// Atomics: relaxed, they order nothing by themselves. A fence before one and a fence after another of the same address order what
// the first thread's block had done before what the second's does.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return static_cast<T>(old + value); }, site);
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return static_cast<T>(old - value); }, site);
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return old < value ? value : old; }, site);
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return value < old ? value : old; }, site);
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T) { return value; }, site);
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return std::memcmp(&old, &expected, sizeof(T)) == 0 ? value : old; }, site);
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return old & value; }, site);
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](T old) { return old | value; }, site);
}
inline unsigned atomicInc(unsigned* address, unsigned limit, GATUN_SITE) {
  return gatun::emulation::atomic(address, [=](unsigned old) { return old >= limit ? 0u : old + 1; }, site);
}
inline void __threadfence() { gatun::emulation::fence(); }
inline void __threadfence_block() {}
inline void __threadfence_system() { gatun::emulation::fence(); }
inline void __nanosleep(unsigned, GATUN_SITE) { gatun::emulation::yield(gatun::emulation::Pause::kPoll, &site); }

// Loads and stores with cache hints
#define GATUN_LOAD(NAME) template <class T> inline T NAME(const T* address) { return *address; }
#define GATUN_STORE(NAME) template <class T> inline void NAME(T* address, std::type_identity_t<T> value) { *address = value; }
GATUN_LOAD(__ldg) GATUN_LOAD(__ldcs) GATUN_LOAD(__ldcg) GATUN_LOAD(__ldca) GATUN_LOAD(__ldlu)
GATUN_STORE(__stcs) GATUN_STORE(__stcg) GATUN_STORE(__stwt) GATUN_STORE(__stwb)
#undef GATUN_LOAD
#undef GATUN_STORE

// Bits
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __clzll(long long value) { return std::countl_zero(static_cast<unsigned long long>(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}

// Arithmetic with stated rounding. The contraction of the compilers differs: where bits matter, kernels say which one they mean.
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp(a); }
inline float __logf(float a) { return std::log(a); }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
inline int __float2int_rn(float a) { return static_cast<int>(std::nearbyint(a)); }
inline int __float2int_rd(float a) { return static_cast<int>(std::floor(a)); }
inline int __float2int_rz(float a) { return static_cast<int>(a); }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }
template <class T>
  requires std::is_arithmetic_v<T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <class T>
  requires std::is_arithmetic_v<T>
constexpr T max(T a, T b) { return a < b ? b : a; }

// SPDX-License-Identifier: Apache-2.0
#include "kernels/ceiling/ceiling.h"

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ceiling/ceiling.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

int64_t fma(int threads, int64_t iterations, float* result) {
  float total = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : total)
  for (int t = 0; t < threads; ++t) {
    const F32 d;
    const VF scale = hn::Set(d, 0.999999f);
    const VF shift = hn::Set(d, 1e-6f);
    // Twelve chains: enough for two units with a latency of up to six cycles.
    VF a0 = hn::Set(d, 0.1f), a1 = hn::Set(d, 0.2f), a2 = hn::Set(d, 0.3f), a3 = hn::Set(d, 0.4f);
    VF a4 = hn::Set(d, 0.5f), a5 = hn::Set(d, 0.6f), a6 = hn::Set(d, 0.7f), a7 = hn::Set(d, 0.8f);
    VF a8 = hn::Set(d, 0.9f), a9 = hn::Set(d, 1.0f), a10 = hn::Set(d, 1.1f), a11 = hn::Set(d, 1.2f);
    for (int64_t i = 0; i < iterations; ++i) {
      a0 = hn::MulAdd(a0, scale, shift);
      a1 = hn::MulAdd(a1, scale, shift);
      a2 = hn::MulAdd(a2, scale, shift);
      a3 = hn::MulAdd(a3, scale, shift);
      a4 = hn::MulAdd(a4, scale, shift);
      a5 = hn::MulAdd(a5, scale, shift);
      a6 = hn::MulAdd(a6, scale, shift);
      a7 = hn::MulAdd(a7, scale, shift);
      a8 = hn::MulAdd(a8, scale, shift);
      a9 = hn::MulAdd(a9, scale, shift);
      a10 = hn::MulAdd(a10, scale, shift);
      a11 = hn::MulAdd(a11, scale, shift);
    }
    const VF low = hn::Add(hn::Add(hn::Add(a0, a1), hn::Add(a2, a3)), hn::Add(a4, a5));
    const VF high = hn::Add(hn::Add(hn::Add(a6, a7), hn::Add(a8, a9)), hn::Add(a10, a11));
    total += sum_lanes(d, hn::Add(low, high));
  }
  *result = total;
  return iterations * threads * 12 * 2 * static_cast<int64_t>(hn::Lanes(F32()));
}

void copy(int threads, const float* HWY_RESTRICT x, float* HWY_RESTRICT y, int64_t count) {
  constexpr int64_t kChunk = 16384;
  const int64_t chunks = chunk_count(count, kChunk);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t c = 0; c < chunks; ++c) {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t end = c * kChunk + kChunk < count ? c * kChunk + kChunk : count;
    int64_t i = c * kChunk;
    for (; i + lanes <= end; i += lanes) hn::StoreU(hn::LoadU(d, x + i), d, y + i);
    if (i < end) store_tail(load_tail(d, x + i, end - i), d, y + i, end - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

void ceiling_fma(const Stream& stream, int64_t iterations, int64_t* flops, float* result) {
  *flops = GATUN_DISPATCH(fma)(stream.threads(), iterations, result);
}

void ceiling_copy(const Stream& stream, const float* x, float* y, int64_t count) {
  GATUN_DISPATCH(copy)(stream.threads(), x, y, count);
}

}  // namespace gatun
#endif

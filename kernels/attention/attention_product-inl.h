// SPDX-License-Identifier: Apache-2.0
// Register-blocked products of tiles, which fetch ahead while they multiply. Re-included for every instruction set.
#if defined(GATUN_ATTENTION_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_ATTENTION_PRODUCT_INL_H_
#undef GATUN_ATTENTION_PRODUCT_INL_H_
#else
#define GATUN_ATTENTION_PRODUCT_INL_H_
#endif

#include <utility>

#include "kernels/attention/attention_plan.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Accumulators must stay in registers: 32 on AVX-512 and NEON, 16 on AVX2.
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_AVX2
constexpr int kMaxVectors = 2;
constexpr int rows_for(int) { return HWY_TARGET == HWY_SCALAR ? 4 : 6; }
#else
constexpr int kMaxVectors = 4;
constexpr int rows_for(int vectors) { return vectors == 4 ? 6 : vectors == 3 ? 8 : 12; }
#endif

// Blocks of the micro-kernel in a product of so many rows and vectors.
HWY_INLINE int64_t groups_of(int64_t rows, int64_t vectors) {
  const int64_t panels = (vectors + kMaxVectors - 1) / kMaxVectors;
  int64_t count = 0;
  for (int64_t n = 0; n < panels; ++n) {
    const int64_t most = rows_for(static_cast<int>(vectors / panels + (n < vectors % panels ? 1 : 0)));
    count += (rows + most - 1) / most;
  }
  return count;
}

// C = (from ∘ from_factors + A·B) ∘ factors. B, C and `from` are read and written in whole vectors; A by broadcasts, (i, k) at a[i*lda + k]
// or, transposed, at a[k*lda + i]. Factors belong to rows.
struct Product {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  float* c;
  int64_t ldc;
  int64_t inner;
  const float* from = nullptr;  // nullptr: zeros
  int64_t from_stride = 0;
  const float* from_factors = nullptr;  // nullptr: ones
  const float* factors = nullptr;
};

// A block of kRows x kVectors vectors of C. What is to be fetched is spread over the steps, where units for loads have nothing to do.
template <int kRows, int kVectors, bool kTransposed>
HWY_NOINLINE void micro_kernel(const Product& p, const attention::Fetch& fetch) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
  }
  if (p.from != nullptr) {
    const float* HWY_RESTRICT from = p.from;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::LoadU(d, from + v * lanes);
      from += p.from_stride;
      // Otherwise the compiler computes the addresses of all rows at once, and spills them around the loop.
      asm volatile("" : "+r"(from));
    }
    if (p.from_factors != nullptr) {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const VF factor = hn::Set(d, p.from_factors[i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Mul(sum[i][v], factor);
      }
    }
  }
  const float* HWY_RESTRICT a = p.a;
  const float* HWY_RESTRICT b = p.b;
  const int64_t lda = p.lda, ldb = p.ldb;
  const auto step = [&]() HWY_ATTR {
    VF row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * lanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const VF scalar = hn::Set(d, kTransposed ? a[i] : a[i * lda]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(scalar, row[v], sum[i][v]);
    }
    a += kTransposed ? lda : 1;
    b += ldb;
  };
  int64_t k = 0;
  const char* ahead = fetch.at;
  for (int64_t pair = 0; k < fetch.pairs; ++k) {
    __builtin_prefetch(ahead, 0, 2);
    __builtin_prefetch(ahead + 64, 0, 2);
    ahead += 128;
    if (++pair == fetch.pairs_per_row) {
      ahead += fetch.jump;
      pair = 0;
    }
    step();
  }
  for (; k < p.inner; ++k) step();
  if (p.factors != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const VF factor = hn::Set(d, p.factors[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Mul(sum[i][v], factor);
    }
  }
  float* HWY_RESTRICT c = p.c;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[i][v], d, c + v * lanes);
    c += p.ldc;
    asm volatile("" : "+r"(c));
  }
}

using MicroKernel = void (*)(const Product&, const attention::Fetch&);

template <int kVectors, bool kTransposed, size_t... kIndex>
MicroKernel pick_micro_kernel(int64_t rows, std::index_sequence<kIndex...>) {
  static constexpr MicroKernel table[] = {&micro_kernel<static_cast<int>(kIndex) + 1, kVectors, kTransposed>...};
  return table[rows - 1];
}

// Moves p along the rows. (It is not copied: whole vectors loaded from what has just been stored in pieces would wait for the stores.)
template <int kVectors, bool kTransposed>
HWY_INLINE void product_panel(Product& p, int64_t rows, attention::Prefetch& prefetch) {
  constexpr int kMaxRows = rows_for(kVectors);
  // Rows are spread evenly over the groups: a last group of one or two rows could not hide the latency of its sums.
  const int64_t groups = (rows + kMaxRows - 1) / kMaxRows;
  const int64_t least = groups > 0 ? rows / groups : 0, more = rows - least * groups;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t height = least + (g < more ? 1 : 0);
    pick_micro_kernel<kVectors, kTransposed>(height, std::make_index_sequence<kMaxRows>())(p, prefetch.next(p.inner));
    p.a += kTransposed ? height : height * p.lda;
    p.c += height * p.ldc;
    if (p.from != nullptr) p.from += height * p.from_stride;
    if (p.from_factors != nullptr) p.from_factors += height;
    if (p.factors != nullptr) p.factors += height;
  }
}

// All of C (rows x columns); columns is a multiple of the lanes. Each element is one sum in ascending k, whatever the blocking.
template <bool kTransposed>
void product(Product&& p, int64_t rows, int64_t columns, attention::Prefetch& prefetch) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t vectors = columns / lanes;
  const int64_t panels = (vectors + kMaxVectors - 1) / kMaxVectors;
  const float *const a = p.a, *const from_factors = p.from_factors, *const factors = p.factors;
  float* c = p.c;
  const float* from = p.from;
  for (int64_t n = 0; n < panels; ++n) {
    const int64_t width = vectors / panels + (n < vectors % panels ? 1 : 0);
    p.a = a;
    p.c = c;
    p.from = from;
    p.from_factors = from_factors;
    p.factors = factors;
    switch (width) {
      case 1: product_panel<1, kTransposed>(p, rows, prefetch); break;
      case 2: product_panel<2, kTransposed>(p, rows, prefetch); break;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_AVX2
      case 3: product_panel<3, kTransposed>(p, rows, prefetch); break;
      case 4: product_panel<4, kTransposed>(p, rows, prefetch); break;
#endif
      default: break;
    }
    p.b += width * lanes;
    c += width * lanes;
    if (from != nullptr) from += width * lanes;
  }
}

// C = or += A·B, without factors and in place.
template <bool kTransposed>
void product(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows, int64_t columns, int64_t inner,
             bool accumulate, attention::Prefetch& prefetch) {
  product<kTransposed>({a, lda, b, ldb, c, ldc, inner, accumulate ? c : nullptr, ldc}, rows, columns, prefetch);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

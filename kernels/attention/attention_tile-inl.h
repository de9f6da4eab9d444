// SPDX-License-Identifier: Apache-2.0
// The pieces of a tile: register-blocked products, packing and transposition, 2^x. Re-included for every instruction set.
#if defined(GATUN_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_ATTENTION_TILE_INL_H_
#undef GATUN_ATTENTION_TILE_INL_H_
#else
#define GATUN_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/attention/attention_plan.h"
#include "kernels/common/math-inl.h"

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

// 2^x for x <= 0 (and a little above): relative error below 2^-23; 0 below -125.5, NaN for NaN. Infinite x gives 0 or garbage
// of the caller's making, never a trap.
HWY_INLINE VF exp2(F32 d, VF x) {
  const hn::RebindToSigned<F32> di;
  // Adding 1.5·2^23 + 127 leaves the rounded integer in the low bits, biased, ready to be shifted into the exponent of a factor. (Added
  // into the exponent of p instead, the bits that a NaN carries could make a number of it.)
  const VF magic = hn::Set(d, 12583039.0f);
  const VF shifted = hn::Add(x, magic);
  const VF r = hn::Sub(x, hn::Sub(shifted, magic));
  VF p = hn::Set(d, 1.535336196e-04f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.339887502e-03f));
  p = hn::MulAdd(p, r, hn::Set(d, 9.618436918e-03f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.550332367e-02f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.402264774e-01f));
  p = hn::MulAdd(p, r, hn::Set(d, 6.931471825e-01f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  const VF y = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -125.5f)), y);
}

// C (kRows x kVectors vectors) = or += A·B over `inner`. A is read by broadcasts, (i, k) at a[i*lda + k] or, transposed, at a[k*lda + i].
template <int kRows, int kVectors, bool kTransposed>
HWY_NOINLINE void micro_kernel(const float* HWY_RESTRICT a, int64_t lda, const float* HWY_RESTRICT b, int64_t ldb, float* HWY_RESTRICT c,
                               int64_t ldc, int64_t inner, bool accumulate) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF sum[kRows][kVectors];
  if (accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::LoadU(d, c + i * ldc + v * lanes);
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::Zero(d);
    }
  }
  for (int64_t k = 0; k < inner; ++k) {
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
  }
  // Otherwise the compiler keeps the addresses of all rows from the loads above, and spills them around the loop.
  asm volatile("" : "+r"(c));
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sum[i][v], d, c + i * ldc + v * lanes);
  }
}

using MicroKernel = void (*)(const float*, int64_t, const float*, int64_t, float*, int64_t, int64_t, bool);

template <int kVectors, bool kTransposed, size_t... kIndex>
MicroKernel pick_micro_kernel(int64_t rows, std::index_sequence<kIndex...>) {
  static constexpr MicroKernel table[] = {&micro_kernel<static_cast<int>(kIndex) + 1, kVectors, kTransposed>...};
  return table[rows - 1];
}

template <int kVectors, bool kTransposed>
HWY_INLINE void product_panel(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows, int64_t inner,
                              bool accumulate, attention::Prefetch& prefetch) {
  constexpr int kMaxRows = rows_for(kVectors);
  // Rows are spread evenly over the groups: a last group of one or two rows could not hide the latency of its sums.
  const int64_t groups = (rows + kMaxRows - 1) / kMaxRows;
  for (int64_t g = 0, row = 0; g < groups; ++g) {
    const int64_t height = rows / groups + (g < rows % groups ? 1 : 0);
    pick_micro_kernel<kVectors, kTransposed>(height, std::make_index_sequence<kMaxRows>())(
        kTransposed ? a + row : a + row * lda, lda, b, ldb, c + row * ldc, ldc, inner, accumulate);
    row += height;
    prefetch.step();
  }
}

// C (rows x columns) = or += A·B; columns is a multiple of the lanes. Each element is one sum in ascending k, whatever the blocking.
template <bool kTransposed>
void product(const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows, int64_t columns, int64_t inner,
             bool accumulate, attention::Prefetch& prefetch) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t vectors = columns / lanes;
  const int64_t panels = (vectors + kMaxVectors - 1) / kMaxVectors;
  for (int64_t p = 0, column = 0; p < panels; ++p) {
    const int64_t width = vectors / panels + (p < vectors % panels ? 1 : 0);
    const float* panel = b + column;
    float* result = c + column;
    switch (width) {
      case 1: product_panel<1, kTransposed>(a, lda, panel, ldb, result, ldc, rows, inner, accumulate, prefetch); break;
      case 2: product_panel<2, kTransposed>(a, lda, panel, ldb, result, ldc, rows, inner, accumulate, prefetch); break;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_AVX2
      case 3: product_panel<3, kTransposed>(a, lda, panel, ldb, result, ldc, rows, inner, accumulate, prefetch); break;
      case 4: product_panel<4, kTransposed>(a, lda, panel, ldb, result, ldc, rows, inner, accumulate, prefetch); break;
#endif
      default: break;
    }
    column += width * lanes;
  }
}

// Copies rows of `columns` elements, zero-padded to a multiple of the lanes.
HWY_INLINE void pack_rows(const float* HWY_RESTRICT in, int64_t in_stride, float* HWY_RESTRICT out, int64_t out_stride, int64_t rows,
                          int64_t columns) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < rows; ++r, in += in_stride, out += out_stride) {
    int64_t i = 0;
    for (; i + lanes <= columns; i += lanes) hn::Store(hn::LoadU(d, in + i), d, out + i);
    if (i < columns) hn::Store(load_tail(d, in + i, columns - i), d, out + i);
  }
}

// out[r] (+)= scale·in[r] for packed rows.
HWY_INLINE void unpack_rows(const float* HWY_RESTRICT in, int64_t in_stride, float* HWY_RESTRICT out, int64_t out_stride, int64_t rows,
                            int64_t columns, float scale, bool accumulate) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  for (int64_t r = 0; r < rows; ++r, in += in_stride, out += out_stride) {
    int64_t i = 0;
    for (; i + lanes <= columns; i += lanes) {
      const VF value = hn::Mul(hn::Load(d, in + i), factor);
      hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, out + i), value) : value, d, out + i);
    }
    if (i < columns) {
      const VF value = hn::Mul(hn::Load(d, in + i), factor);
      store_tail(accumulate ? hn::Add(load_tail(d, out + i, columns - i), value) : value, d, out + i, columns - i);
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
// Transposes `lanes` rows, four columns at a time: block b of a vector takes rows 4b … 4b+3. row(r) points to row r's columns.
template <class Row>
HWY_INLINE void transpose_lanes(const Row& row, int64_t columns, VF factor, float* HWY_RESTRICT out, int64_t out_stride) {
  const F32 d;
  const hn::Full128<float> d4;
  const hn::RepartitionToWide<F32> wide;
  for (int64_t c = 0; c + 4 <= columns; c += 4, out += 4 * out_stride) {
    const auto gather = [&](int r) HWY_ATTR {
#if HWY_MAX_BYTES == 64
      const hn::Half<F32> d8;
      return hn::Combine(d, hn::Combine(d8, hn::LoadU(d4, row(r + 12) + c), hn::LoadU(d4, row(r + 8) + c)),
                         hn::Combine(d8, hn::LoadU(d4, row(r + 4) + c), hn::LoadU(d4, row(r) + c)));
#elif HWY_MAX_BYTES == 32
      return hn::Combine(d, hn::LoadU(d4, row(r + 4) + c), hn::LoadU(d4, row(r) + c));
#else
      return hn::LoadU(d4, row(r) + c);
#endif
    };
    const VF r0 = gather(0), r1 = gather(1), r2 = gather(2), r3 = gather(3);
    const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, r0, r1)), high01 = hn::BitCast(wide, hn::InterleaveUpper(d, r0, r1));
    const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, r2, r3)), high23 = hn::BitCast(wide, hn::InterleaveUpper(d, r2, r3));
    hn::Store(hn::Mul(factor, hn::BitCast(d, hn::InterleaveLower(wide, low01, low23))), d, out);
    hn::Store(hn::Mul(factor, hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23))), d, out + out_stride);
    hn::Store(hn::Mul(factor, hn::BitCast(d, hn::InterleaveLower(wide, high01, high23))), d, out + 2 * out_stride);
    hn::Store(hn::Mul(factor, hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23))), d, out + 3 * out_stride);
  }
}
#endif

// out[c][r] = scale·in[r][c]: out has `columns` rows. Lanes behind `rows` are copies of the last row: nothing uses them, and
// their values are no stranger than the row's own.
HWY_INLINE void pack_transposed(const float* HWY_RESTRICT in, int64_t in_stride, float* HWY_RESTRICT out, int64_t out_stride, int64_t rows,
                                int64_t columns, float scale) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r0 = 0; r0 < rows; r0 += lanes) {
    int64_t done = 0;
#if HWY_TARGET != HWY_SCALAR
    const float* first = in + r0 * in_stride;
    const VF factor = hn::Set(d, scale);
    done = columns / 4 * 4;
    if (r0 + lanes <= rows) {
      transpose_lanes([=](int r) { return first + r * in_stride; }, columns, factor, out + r0, out_stride);
    } else {
      const float* row[hn::MaxLanes(F32())];
      for (int64_t r = 0; r < lanes; ++r) row[r] = in + std::min(r0 + r, rows - 1) * in_stride;
      transpose_lanes([&](int r) { return row[r]; }, columns, factor, out + r0, out_stride);
    }
#endif
    for (; done < columns; ++done) {
      for (int64_t r = 0; r < lanes; ++r) out[done * out_stride + r0 + r] = scale * in[std::min(r0 + r, rows - 1) * in_stride + done];
    }
  }
}

// out[c] = Σ a[r][c]·b[r][c], each in ascending r
HWY_INLINE void column_dots(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t rows, int64_t columns, float* HWY_RESTRICT out) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  // Two columns at a time, to hide latency.
  for (; c + 2 * lanes <= columns; c += 2 * lanes) {
    VF first = hn::Zero(d), second = hn::Zero(d);
    for (int64_t at = c; at < rows * columns; at += columns) {
      first = hn::MulAdd(hn::Load(d, a + at), hn::Load(d, b + at), first);
      second = hn::MulAdd(hn::Load(d, a + at + lanes), hn::Load(d, b + at + lanes), second);
    }
    hn::Store(first, d, out + c);
    hn::Store(second, d, out + c + lanes);
  }
  for (; c < columns; c += lanes) {
    VF sum = hn::Zero(d);
    for (int64_t at = c; at < rows * columns; at += columns) sum = hn::MulAdd(hn::Load(d, a + at), hn::Load(d, b + at), sum);
    hn::Store(sum, d, out + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

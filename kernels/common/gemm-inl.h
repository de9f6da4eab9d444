// SPDX-License-Identifier: Apache-2.0
// Register-blocked matrix products for kernels that bring their own packing (convolution, fused products). Re-included per instruction set.
//
// C is computed in blocks of rows x vectors that stay in registers over the whole depth; A gives one broadcast element a row, B whole
// vectors. Every element of C is one chain of fused multiply-adds in the order of the depth, wherever blocks begin: results do not
// depend on tiling or threads.
#if defined(GATUN_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_GEMM_INL_H_
#undef GATUN_GEMM_INL_H_
#else
#define GATUN_GEMM_INL_H_
#endif

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Rows of a block by its width in vectors: as many accumulators as the registers hold beside one row of B and one element of A.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kGemmRegisters = 32;
#else
constexpr int kGemmRegisters = 16;
#endif
constexpr int gemm_block_rows(int vectors) {
  if (kGemmRegisters == 32) return vectors == 3 ? 9 : 14;
  return vectors == 3 ? 4 : vectors == 2 ? 6 : 12;
}
// A multiple of the block rows of every width.
constexpr int64_t kGemmTileRows = kGemmRegisters == 32 ? 126 : 120;
// Rows of an outer-product block: divides the usual numbers of channels.
constexpr int kGemmOuterRows = kGemmRegisters == 32 ? 8 : 4;

// Width of the next panel when `columns` are left: three vectors, but never so that a lone one remains for a second panel.
HWY_INLINE int gemm_panel_vectors(int64_t columns) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t vectors = (columns + lanes - 1) / lanes;
  return vectors == 1 ? 1 : vectors == 2 || vectors == 4 ? 2 : 3;
}

// acc[r][v] += sum over k of a[r * row_step + k * depth_step] * b[k * b_step + v * lanes]
template <int kRows, int kVectors>
HWY_INLINE void gemm_accumulate(const float* HWY_RESTRICT a, int64_t row_step, int64_t depth_step, const float* HWY_RESTRICT b,
                                int64_t b_step, int64_t depth, VF (&acc)[kRows][kVectors]) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < depth; ++k) {
    VF row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const VF element = hn::Set(d, a[r * row_step]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(element, row[v], acc[r][v]);
    }
    a += depth_step;
    b += b_step;
  }
}

HWY_INLINE VF gemm_load(F32 d, const float* p, int64_t available, int64_t lanes) {
  if (available >= lanes) return hn::LoadU(d, p);
  return available > 0 ? load_tail(d, p, available) : hn::Zero(d);
}

HWY_INLINE void gemm_store(VF value, F32 d, float* p, int64_t available, int64_t lanes) {
  if (available >= lanes) {
    hn::StoreU(value, d, p);
  } else if (available > 0) {
    store_tail(value, d, p, available);
  }
}

// One block of C = initial + A·B. Row r of C starts at base + offset[r]; only `rows` rows and `columns` columns are written, but
// kRows rows of A are read. initial: a row that every row of C starts from (nullptr: zeros), or, with `resume`, C itself.
template <int kRows, int kVectors>
HWY_NOINLINE void gemm_block(const float* HWY_RESTRICT a, int64_t lda, const float* HWY_RESTRICT b, int64_t depth, float* base,
                             const int64_t* offset, int64_t rows, int64_t columns, const float* initial, bool resume) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows][kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const VF start = initial == nullptr ? hn::Zero(d) : gemm_load(d, initial + v * lanes, columns - v * lanes, lanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      acc[r][v] = resume && r < rows ? gemm_load(d, base + offset[r] + v * lanes, columns - v * lanes, lanes) : start;
    }
  }
  gemm_accumulate<kRows, kVectors>(a, lda, 1, b, kVectors * lanes, depth, acc);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (r < rows) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) gemm_store(acc[r][v], d, base + offset[r] + v * lanes, columns - v * lanes, lanes);
    }
  }
}

// Rows [0, rows) of a tile of A times one packed panel of B (depth x kVectors whole vectors).
template <int kVectors>
HWY_INLINE void gemm_panel(const float* a, int64_t lda, const float* b, int64_t depth, float* base, const int64_t* offset, int64_t rows,
                           int64_t columns, const float* initial, bool resume) {
  constexpr int kRows = gemm_block_rows(kVectors);
  for (int64_t r = 0; r < rows; r += kRows) {
    gemm_block<kRows, kVectors>(a + r * lda, lda, b, depth, base, offset + r, rows - r, columns, initial, resume);
  }
}

// A tile of A (rows, depth) times B, packed by gemm_pack, of which all panels begin at `b` with `panel_depth` rows each; `first` is the
// row of B that meets column 0 of the tile. The tile must have kGemmTileRows readable rows.
HWY_INLINE void gemm_tile(const float* a, int64_t lda, const float* b, int64_t panel_depth, int64_t first, int64_t depth, float* base,
                          const int64_t* offset, int64_t rows, int64_t columns, const float* initial, bool resume) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  for (int64_t n = 0; n < columns;) {
    const int vectors = gemm_panel_vectors(columns - n);
    const float* panel = b + n * panel_depth + first * vectors * lanes;
    const float* start = initial == nullptr ? nullptr : initial + n;
    switch (vectors) {
      case 1: gemm_panel<1>(a, lda, panel, depth, base + n, offset, rows, columns - n, start, resume); break;
      case 2: gemm_panel<2>(a, lda, panel, depth, base + n, offset, rows, columns - n, start, resume); break;
      default: gemm_panel<3>(a, lda, panel, depth, base + n, offset, rows, columns - n, start, resume); break;
    }
    n += vectors * lanes;
  }
}

// c (kRows of `rows` rows, whole vectors) += A'·B: A' is (depth, rows) with row stride lda, B (depth, columns) with row stride ldb.
// c is cleared first where `clear`. kRows elements of A' are read.
template <int kRows, int kVectors>
HWY_NOINLINE void gemm_outer_block(const float* HWY_RESTRICT a, int64_t lda, const float* HWY_RESTRICT b, int64_t ldb, int64_t depth,
                                   float* HWY_RESTRICT c, int64_t ldc, int64_t rows, bool clear) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[r][v] = clear || r >= rows ? hn::Zero(d) : hn::LoadU(d, c + r * ldc + v * lanes);
  }
  gemm_accumulate<kRows, kVectors>(a, 1, lda, b, ldb, depth, acc);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (r < rows) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[r][v], d, c + r * ldc + v * lanes);
    }
  }
}

// All of c (rows, columns rounded up to whole vectors) += A'·B. A' has readable columns up to a multiple of kGemmOuterRows.
HWY_INLINE void gemm_outer(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t depth, float* c, int64_t ldc, int64_t rows,
                           int64_t columns, bool clear) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  constexpr int kRows = kGemmOuterRows;
  for (int64_t n = 0; n < columns;) {
    const int vectors = gemm_panel_vectors(columns - n);
    for (int64_t r = 0; r < rows; r += kRows) {
      float* block = c + r * ldc + n;
      switch (vectors) {
        case 1: gemm_outer_block<kRows, 1>(a + r, lda, b + n, ldb, depth, block, ldc, rows - r, clear); break;
        case 2: gemm_outer_block<kRows, 2>(a + r, lda, b + n, ldb, depth, block, ldc, rows - r, clear); break;
        default: gemm_outer_block<kRows, 3>(a + r, lda, b + n, ldb, depth, block, ldc, rows - r, clear); break;
      }
    }
    n += vectors * lanes;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

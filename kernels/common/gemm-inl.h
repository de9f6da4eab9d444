// SPDX-License-Identifier: Apache-2.0
// Register-blocked matrix products for kernels that bring their own packing (convolution, fused products). Re-included per instruction set.
//
// C is computed in blocks of rows x vectors that stay in registers over the whole depth; A gives one broadcast element a row and is read
// where it lies, B gives whole vectors of a packed panel. Every element of C is one chain of fused multiply-adds in the order of the
// depth, wherever blocks begin: results do not depend on tiling or threads.
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
  if (kGemmRegisters == 32) return vectors == 4 ? 6 : vectors == 3 ? 9 : 14;
  return vectors == 3 ? 4 : vectors == 2 ? 6 : 12;
}
// Width of the next panel when `columns` are left: three vectors, but never so that a lone one remains for a second panel. Four where that
// leaves no narrower panel: six addresses of A stay in registers, fourteen do not.
HWY_INLINE int gemm_panel_vectors(int64_t columns) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t vectors = (columns + lanes - 1) / lanes;
  if (kGemmRegisters == 32 && vectors % 4 == 0 && vectors % 3 != 0) return 4;
  return vectors == 1 ? 1 : vectors == 2 || vectors == 4 ? 2 : 3;
}

// The depth of A as runs of contiguous elements, `rows` x `columns` of them: one run for a plain matrix, one for each row of a convolution's
// kernel or for each of its taps. All rows of A have the same runs.
struct GemmRuns {
  int64_t rows;
  int64_t row_step;
  int64_t columns;
  int64_t column_step;
  int64_t length;
  HWY_INLINE int64_t depth() const { return rows * columns * length; }
};

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

// One block of C = initial + A·B. Row r of A starts at a + a_offset[r], row r of C at c + c_offset[r]; `rows` rows and `columns` columns
// are computed. initial: a row that every row of C starts from (nullptr: zeros), or, with `resume`, C itself.
template <int kRows, int kVectors>
HWY_NOINLINE void gemm_block(const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* HWY_RESTRICT b, float* c,
                             const int64_t* c_offset, int64_t rows, int64_t columns, const float* initial, bool resume) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows][kVectors];
  int64_t at[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) at[r] = a_offset[r < rows ? r : 0];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const VF start = initial == nullptr ? hn::Zero(d) : gemm_load(d, initial + v * lanes, columns - v * lanes, lanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      acc[r][v] = resume && r < rows ? gemm_load(d, c + c_offset[r] + v * lanes, columns - v * lanes, lanes) : start;
    }
  }
  for (int64_t i = 0; i < runs.rows; ++i) {
    for (int64_t j = 0; j < runs.columns; ++j) {
      const float* HWY_RESTRICT from = a + i * runs.row_step + j * runs.column_step;
      const float* const end = from + runs.length;
      for (; from != end; ++from) {
        VF row[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const VF element = hn::Set(d, from[at[r]]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(element, row[v], acc[r][v]);
        }
        b += kVectors * lanes;
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (r < rows) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) gemm_store(acc[r][v], d, c + c_offset[r] + v * lanes, columns - v * lanes, lanes);
    }
  }
}

// All rows of A times one packed panel of B (depth x kVectors whole vectors).
template <int kVectors>
HWY_INLINE void gemm_panel(const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* b, float* c, const int64_t* c_offset,
                           int64_t rows, int64_t columns, const float* initial, bool resume) {
  constexpr int kRows = gemm_block_rows(kVectors);
  for (int64_t r = 0; r < rows; r += kRows) {
    gemm_block<kRows, kVectors>(a, a_offset + r, runs, b, c, c_offset + r, rows - r, columns, initial, resume);
  }
}

// A times all panels of a packed B: the panels follow each other with `depth` rows each, of which those from `first` on meet A's runs.
HWY_INLINE void gemm_panels(const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* b, int64_t depth, int64_t first, float* c,
                            const int64_t* c_offset, int64_t rows, int64_t columns, const float* initial, bool resume) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  for (int64_t n = 0; n < columns;) {
    const int vectors = gemm_panel_vectors(columns - n);
    const float* panel = b + n * depth + first * vectors * lanes;
    const float* start = initial == nullptr ? nullptr : initial + n;
    switch (vectors) {
      case 1: gemm_panel<1>(a, a_offset, runs, panel, c + n, c_offset, rows, columns - n, start, resume); break;
      case 2: gemm_panel<2>(a, a_offset, runs, panel, c + n, c_offset, rows, columns - n, start, resume); break;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
      case 4: gemm_panel<4>(a, a_offset, runs, panel, c + n, c_offset, rows, columns - n, start, resume); break;
#endif
      default: gemm_panel<3>(a, a_offset, runs, panel, c + n, c_offset, rows, columns - n, start, resume); break;
    }
    n += vectors * lanes;
  }
}

// A sequence of positions in two places, `lines` lines of `length`: those of A' (a row of coefficients) and those of B (a row of values).
struct GemmLines {
  int64_t lines;
  int64_t length;
  int64_t a_step;  // from one position of a line to the next
  int64_t b_step;
  const int64_t* a_offset;  // of each line
  const int64_t* b_offset;
};

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

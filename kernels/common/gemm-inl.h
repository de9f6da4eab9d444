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
// Of one or two vectors no more rows than there are registers for addresses.
constexpr int gemm_block_rows(int vectors) {
  if (kGemmRegisters == 32) return vectors == 4 ? 6 : vectors == 3 ? 9 : 12;
  return vectors == 3 ? 4 : vectors == 2 ? 6 : 12;
}
// Width of the next panel when `columns` are left: three vectors, but never so that a lone one remains for a second panel. Four where that
// leaves no narrower panel: six addresses of A leave registers to spare.
HWY_INLINE int gemm_panel_vectors(int64_t columns) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t vectors = (columns + lanes - 1) / lanes;
  if (kGemmRegisters == 32 && vectors % 4 == 0 && vectors % 3 != 0) return 4;
  return vectors == 1 ? 1 : vectors == 2 || vectors == 4 ? 2 : 3;
}

// The depth of A as runs of contiguous elements, `rows` x `columns` of them: one run for a plain matrix, one for each row of a convolution's
// kernel or for each of its taps. All rows of A have the same runs. `skipped` rows of B lie between the last run of a row and the first of
// the next.
struct GemmRuns {
  int64_t rows;
  int64_t row_step;
  int64_t columns;
  int64_t column_step;
  int64_t length;
  int64_t skipped;
};

// What a block fetches while it computes: nothing, for a product whose operands lie in the cache.
struct NothingAhead {
  void result(const float*) {}
  void spread(int64_t) {}
  void fetch() {}
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

// One block of C = initial + A·B. Row r of A starts at a + a_offset[r], row r of C at c + c_offset[r]; `columns` columns are computed.
// initial: a row that every row of C starts from (nullptr: zeros), or, with `resume`, C itself.
template <int kRows, int kVectors, class Ahead>
HWY_NOINLINE void gemm_block(const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* HWY_RESTRICT b, float* c,
                             const int64_t* c_offset, int64_t columns, const float* initial, bool resume, Ahead ahead) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows][kVectors];
  int64_t at[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) at[r] = a_offset[r];
  if (resume) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[r][v] = gemm_load(d, c + c_offset[r] + v * lanes, columns - v * lanes, lanes);
    }
  } else {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const VF start = initial == nullptr ? hn::Zero(d) : gemm_load(d, initial + v * lanes, columns - v * lanes, lanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) acc[r][v] = start;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) ahead.result(c + c_offset[r] + v * lanes);
  }
  ahead.spread(runs.rows * runs.columns * runs.length);
  for (int64_t i = 0; i < runs.rows; ++i) {
    if (i > 0) b += runs.skipped * kVectors * lanes;
    for (int64_t j = 0; j < runs.columns; ++j) {
      const float* HWY_RESTRICT from = a + i * runs.row_step + j * runs.column_step;
      const float* const end = from + runs.length;
      for (; from != end; ++from) {
        ahead.fetch();
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
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) gemm_store(acc[r][v], d, c + c_offset[r] + v * lanes, columns - v * lanes, lanes);
  }
}

// The block of `rows` rows, of those from kRows down.
template <int kRows, int kVectors, class Ahead>
HWY_INLINE void gemm_rows(const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* b, float* c, const int64_t* c_offset,
                          int64_t rows, int64_t columns, const float* initial, bool resume, Ahead ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return gemm_rows<kRows - 1, kVectors>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
  }
  gemm_block<kRows, kVectors>(a, a_offset, runs, b, c, c_offset, columns, initial, resume, ahead);
}

// All rows of A times one packed panel of B (kVectors whole vectors a row), in blocks of even height. ahead(): what the next block fetches.
template <int kVectors, class F>
HWY_INLINE void gemm_panel_of(const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* b, float* c, const int64_t* c_offset,
                              int64_t rows, int64_t columns, const float* initial, bool resume, F&& ahead) {
  constexpr int kRows = gemm_block_rows(kVectors);
  const int64_t blocks = (rows + kRows - 1) / kRows;
  if (blocks == 0) return;
  // Block b begins at row b * rows / blocks: divisions take longer than a step.
  const int64_t height = rows / blocks, rest = rows % blocks;
  int64_t part = 0, end = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t r = end;
    part += rest;
    end += height + (part >= blocks);
    part -= part >= blocks ? blocks : 0;
    // What a block starts from is on its way while the one before is computed.
    for (int64_t next = end; resume && next < end + kRows && next < rows; ++next) {
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(c + c_offset[next] + v * static_cast<int64_t>(hn::Lanes(F32())), 1, 3);
    }
    gemm_rows<kRows, kVectors>(a, a_offset + r, runs, b, c, c_offset + r, end - r, columns, initial, resume, ahead());
  }
}

template <class F>
HWY_INLINE void gemm_panel(int vectors, const float* a, const int64_t* a_offset, const GemmRuns& runs, const float* b, float* c,
                           const int64_t* c_offset, int64_t rows, int64_t columns, const float* initial, bool resume, F&& ahead) {
  switch (vectors) {
    case 1: return gemm_panel_of<1>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
    case 2: return gemm_panel_of<2>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
    case 4: return gemm_panel_of<4>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
#endif
    default: return gemm_panel_of<3>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
  }
}

// C = A·B, B in panels that follow each other with `depth` rows each.
HWY_MAYBE_UNUSED static HWY_NOINLINE void gemm_panels(const float* a, const int64_t* a_offset, int64_t depth, const float* b, float* c, const int64_t* c_offset, int64_t rows,
                            int64_t columns) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const GemmRuns runs{1, 0, 1, 0, depth, 0};
  for (int64_t n = 0; n < columns;) {
    const int vectors = gemm_panel_vectors(columns - n);
    gemm_panel(vectors, a, a_offset, runs, b + n * depth, c + n, c_offset, rows, columns - n, nullptr, false, [] { return NothingAhead(); });
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

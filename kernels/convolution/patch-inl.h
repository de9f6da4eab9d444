// SPDX-License-Identifier: Apache-2.0
// The matrix product of forward and backward-data: patches where they lie in the source times packed weights. Re-included per instruction set.
#if defined(GATUN_PATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_PATCH_INL_H_
#undef GATUN_PATCH_INL_H_
#else
#define GATUN_PATCH_INL_H_
#endif

#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/patches.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// The elements of a patch as runs, and how many rows of weights lie between the last run of a kernel row and the first of the next.
struct PatchRuns {
  int64_t rows;
  int64_t row_step;
  int64_t columns;
  int64_t column_step;
  int64_t length;
  int64_t skipped;
};

// Most rows of a block: of narrow ones no more than there are registers for addresses.
constexpr int patch_block_rows(int vectors) { return gemm_block_rows(vectors) > 12 ? 12 : gemm_block_rows(vectors); }

// One block of C = initial + A·B, with `columns` live columns: as gemm_block.
template <int kRows, int kVectors>
HWY_NOINLINE void patch_block(const float* a, const int64_t* a_offset, const PatchRuns& runs, const float* HWY_RESTRICT b, float* c, const int64_t* c_offset,
                              int64_t columns, const float* initial, bool resume, Ahead ahead) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF acc[kRows][kVectors];
  int64_t at[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) at[r] = a_offset[r];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const VF start = initial == nullptr ? hn::Zero(d) : gemm_load(d, initial + v * lanes, columns - v * lanes, lanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][v] = resume ? gemm_load(d, c + c_offset[r] + v * lanes, columns - v * lanes, lanes) : start;
  }
  // The lines of the result are on their way while it is computed.
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(c + c_offset[r] + v * lanes, 1, 3);
  }
  ahead.spread(runs.rows * runs.columns * runs.length);
  for (int64_t i = 0; i < runs.rows; ++i) {
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
    b += runs.skipped * kVectors * lanes;
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) gemm_store(acc[r][v], d, c + c_offset[r] + v * lanes, columns - v * lanes, lanes);
  }
}

// The block of `rows` rows, of those from kRows down.
template <int kRows, int kVectors>
HWY_INLINE void patch_rows(const float* a, const int64_t* a_offset, const PatchRuns& runs, const float* b, float* c, const int64_t* c_offset, int64_t rows, int64_t columns,
                           const float* initial, bool resume, Ahead ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return patch_rows<kRows - 1, kVectors>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
  }
  patch_block<kRows, kVectors>(a, a_offset, runs, b, c, c_offset, columns, initial, resume, ahead);
}

// All patches times one panel, in blocks of even height. ahead(): what the next block fetches.
template <int kVectors, class F>
HWY_INLINE void patch_panel_of(const float* a, const int64_t* a_offset, const PatchRuns& runs, const float* b, float* c, const int64_t* c_offset, int64_t rows, int64_t columns,
                               const float* initial, bool resume, F&& ahead) {
  constexpr int kRows = patch_block_rows(kVectors);
  const int64_t blocks = (rows + kRows - 1) / kRows;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t r = block * rows / blocks;
    patch_rows<kRows, kVectors>(a, a_offset + r, runs, b, c, c_offset + r, (block + 1) * rows / blocks - r, columns, initial, resume, ahead());
  }
}

template <class F>
HWY_INLINE void patch_panel(int vectors, const float* a, const int64_t* a_offset, const PatchRuns& runs, const float* b, float* c, const int64_t* c_offset, int64_t rows,
                            int64_t columns, const float* initial, bool resume, F&& ahead) {
  switch (vectors) {
    case 1: return patch_panel_of<1>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
    case 2: return patch_panel_of<2>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
    case 4: return patch_panel_of<4>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
#endif
    default: return patch_panel_of<3>(a, a_offset, runs, b, c, c_offset, rows, columns, initial, resume, ahead);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

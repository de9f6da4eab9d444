// SPDX-License-Identifier: Apache-2.0
// Sums of outer products over positions: the matrix product of backward-weights, whose operands are read where they lie. Re-included per
// instruction set.
#if defined(GATUN_OUTER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_OUTER_INL_H_
#undef GATUN_OUTER_INL_H_
#else
#define GATUN_OUTER_INL_H_
#endif

#include <algorithm>

#include "kernels/common/gemm-inl.h"
#include "kernels/convolution/patches.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Most rows of a block of two vectors: registers are left for a row of values and one coefficient.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kOuterRows = 14;
#else
constexpr int kOuterRows = 6;
#endif

// How a sum goes on from what c holds: its chain of additions continues, or a chain that begins anew is added at its end. Of the same terms
// the shorter chains err less.
enum class OuterSum { kContinued, kAdded };

// c (kRows rows, kVectors vectors, `tail` elements of the last where kTail) += A·B, summed over all positions in their order; begin: = A·B.
template <OuterSum kSum, int kRows, int kVectors, bool kTail>
HWY_NOINLINE void outer_block(const float* a, const float* b, const GemmLines& lines, float* HWY_RESTRICT c, int64_t ldc, int64_t tail, bool begin,
                              Ahead ahead) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto load = [&](const float* from, int v) HWY_ATTR {
    return kTail && v == kVectors - 1 ? load_tail(d, from + v * lanes, tail) : hn::LoadU(d, from + v * lanes);
  };
  VF acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) acc[r][v] = kSum == OuterSum::kAdded || begin ? hn::Zero(d) : load(c + r * ldc, v);
  }
  if constexpr (kSum == OuterSum::kAdded) {
    // The lines of the result are on their way while it is computed.
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) __builtin_prefetch(c + r * ldc + v * lanes, 1, 3);
    }
  }
  ahead.spread(lines.lines * lines.length);
  for (int64_t line = 0; line < lines.lines; ++line) {
    const float* HWY_RESTRICT coefficient = a + lines.a_offset[line];
    const float* HWY_RESTRICT value = b + lines.b_offset[line];
    for (int64_t k = 0; k < lines.length; ++k) {
      ahead.fetch();
      VF row[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) row[v] = load(value, v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const VF element = hn::Set(d, coefficient[r]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(element, row[v], acc[r][v]);
      }
      coefficient += lines.a_step;
      value += lines.b_step;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      if constexpr (kSum == OuterSum::kAdded) acc[r][v] = hn::Add(acc[r][v], load(c + r * ldc, v));
      if (kTail && v == kVectors - 1) store_tail(acc[r][v], d, c + r * ldc + v * lanes, tail);
      else hn::StoreU(acc[r][v], d, c + r * ldc + v * lanes);
    }
  }
}

// The block of `rows` rows, of those from kRows down.
template <OuterSum kSum, int kRows, int kVectors, bool kTail>
HWY_INLINE void outer_rows(const float* a, const float* b, const GemmLines& lines, float* c, int64_t ldc, int64_t rows, int64_t tail, bool begin,
                           Ahead ahead) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return outer_rows<kSum, kRows - 1, kVectors, kTail>(a, b, lines, c, ldc, rows, tail, begin, ahead);
  }
  outer_block<kSum, kRows, kVectors, kTail>(a, b, lines, c, ldc, tail, begin, ahead);
}

HWY_INLINE int64_t outer_row_blocks(int64_t rows) { return (rows + kOuterRows - 1) / kOuterRows; }
HWY_INLINE int64_t outer_column_blocks(int64_t columns) {
  const int64_t width = 2 * static_cast<int64_t>(hn::Lanes(F32()));
  return (columns + width - 1) / width;
}

// c (rows x columns) += A·B; begin: = A·B, where a sum is continued. Nothing beyond the rows and columns is read or written. ahead(): what the
// next block fetches.
template <OuterSum kSum = OuterSum::kContinued, class F>
HWY_INLINE void outer_product(const float* a, const float* b, const GemmLines& lines, float* c, int64_t ldc, int64_t rows, int64_t columns,
                              bool begin, F&& ahead) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t blocks = outer_row_blocks(rows);
  for (int64_t n = 0; n < columns; n += 2 * lanes) {
    const int64_t left = std::min(2 * lanes, columns - n);
    const int64_t tail = left % lanes;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t r = block * rows / blocks, height = (block + 1) * rows / blocks - r;
      float* to = c + r * ldc + n;
      if (left > lanes) {
        if (tail == 0) outer_rows<kSum, kOuterRows, 2, false>(a + r, b + n, lines, to, ldc, height, 0, begin, ahead());
        else outer_rows<kSum, kOuterRows, 2, true>(a + r, b + n, lines, to, ldc, height, tail, begin, ahead());
      } else if (tail == 0) {
        outer_rows<kSum, kOuterRows, 1, false>(a + r, b + n, lines, to, ldc, height, 0, begin, ahead());
      } else {
        outer_rows<kSum, kOuterRows, 1, true>(a + r, b + n, lines, to, ldc, height, tail, begin, ahead());
      }
    }
  }
}

// to[i] = sum over the chunks, in their order; accumulate: to[i] += that
HWY_INLINE void combine_partials(const float* partials, int64_t chunks, int64_t chunk_stride, int64_t n, bool accumulate, float* to) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  // Several lines of a chunk at once: there are too many chunks for what fetches ahead to follow them.
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    VF total[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) total[v] = hn::LoadU(d, partials + i + v * lanes);
    for (int64_t chunk = 1; chunk < chunks; ++chunk) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) total[v] = hn::Add(total[v], hn::LoadU(d, partials + chunk * chunk_stride + i + v * lanes));
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) hn::StoreU(accumulate ? hn::Add(total[v], hn::LoadU(d, to + i + v * lanes)) : total[v], d, to + i + v * lanes);
  }
  for (; i < n; i += lanes) {
    VF total = hn::LoadU(d, partials + i);
    for (int64_t chunk = 1; chunk < chunks; ++chunk) total = hn::Add(total, hn::LoadU(d, partials + chunk * chunk_stride + i));
    if (accumulate) total = hn::Add(total, gemm_load(d, to + i, n - i, lanes));
    gemm_store(total, d, to + i, n - i, lanes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

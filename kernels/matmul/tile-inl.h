// SPDX-License-Identifier: Apache-2.0
// The innermost loop: a tile of the product that stays in registers over a run of K. Re-included per instruction set.
#if defined(GATUN_MATMUL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_MATMUL_TILE_INL_H_
#undef GATUN_MATMUL_TILE_INL_H_
#else
#define GATUN_MATMUL_TILE_INL_H_
#endif

#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// A tile is kRows x kWidth vectors: as many accumulators as the registers hold beside a row of B and one element of A.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kRows = 14;
#else
constexpr int kRows = 6;
#endif
constexpr int kWidth = 2;

HWY_INLINE int64_t lanes() { return static_cast<int64_t>(hn::Lanes(F32())); }
HWY_INLINE int64_t tile_columns() { return kWidth * lanes(); }

// Where a block of A lies: element (r, k) at data[r * step + k], or, in columns, at data[k * kRows + r].
struct TileRows {
  const float* data;
  int64_t step;
  bool columns;
};

// Where a tile of results lies.
struct TilePlace {
  float* data;
  int64_t step;
};

// to = from + A·B for `rows` x `columns`; from: zeros where its data is NULL. b: depth rows of kVectors whole vectors.
template <int kVectors, bool kColumns>
HWY_NOINLINE void tile(const float* a, int64_t step, const float* HWY_RESTRICT b, int64_t depth, TilePlace from, TilePlace to, int64_t rows,
                       int64_t columns) {
  const F32 d;
  const int64_t size = lanes();
  const bool whole = rows >= kRows && columns >= kVectors * size;
  VF acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(d);
  }
  if (from.data != nullptr) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const float* p = from.data + r * from.step + v * size;
        if (whole || (r < rows && columns >= (v + 1) * size)) acc[r][v] = hn::LoadU(d, p);
        else if (r < rows && columns > v * size) acc[r][v] = load_tail(d, p, columns - v * size);
      }
    }
  }
  // Three rows share a pointer: row 3q + s is at[q] + s * step, which is one address of an instruction.
  constexpr int kPointers = (kRows + 2) / 3;
  const float* at[kPointers];
#pragma GCC unroll 8
  for (int q = 0; q < kPointers; ++q) at[q] = a + 3 * q * step;
  for (int64_t k = 0; k < depth; ++k) {
    VF row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * size);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const VF element = hn::Set(d, kColumns ? a[r] : at[r / 3][(r % 3) * step]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(element, row[v], acc[r][v]);
    }
    b += kVectors * size;
    if (kColumns) {
      a += kRows;
    } else {
#pragma GCC unroll 8
      for (int q = 0; q < kPointers; ++q) ++at[q];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* p = to.data + r * to.step + v * size;
      if (whole || (r < rows && columns >= (v + 1) * size)) hn::StoreU(acc[r][v], d, p);
      else if (r < rows && columns > v * size) store_tail(acc[r][v], d, p, columns - v * size);
    }
  }
}

HWY_INLINE void tile_of(const TileRows& a, const float* b, int64_t depth, TilePlace from, TilePlace to, int64_t rows, int64_t columns) {
  if (columns > lanes()) {
    if (a.columns) tile<2, true>(a.data, a.step, b, depth, from, to, rows, columns);
    else tile<2, false>(a.data, a.step, b, depth, from, to, rows, columns);
  } else {
    if (a.columns) tile<1, true>(a.data, a.step, b, depth, from, to, rows, columns);
    else tile<1, false>(a.data, a.step, b, depth, from, to, rows, columns);
  }
}

// Vectors of the panel of B that has `columns` left.
HWY_INLINE int64_t panel_columns(int64_t columns) { return columns > lanes() ? 2 * lanes() : lanes(); }

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

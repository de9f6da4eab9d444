// SPDX-License-Identifier: Apache-2.0
// The innermost loop: a tile of the product that stays in registers over a run of K. Re-included per instruction set.
#if defined(GATUN_MATMUL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_MATMUL_TILE_INL_H_
#undef GATUN_MATMUL_TILE_INL_H_
#else
#define GATUN_MATMUL_TILE_INL_H_
#endif

#include <algorithm>

#include "kernels/common/columns-inl.h"

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

// Where a block of A lies: element (r, k) at data[r * step + k], or, in columns, at data[k * step + r].
struct TileRows {
  const float* data;
  int64_t step;
  bool columns;
};

// A panel of B: row k at data + k * step, of whole vectors.
struct TileColumns {
  const float* data;
  int64_t step;
};

// Where a tile of results lies.
struct TilePlace {
  float* data;
  int64_t step;
};

// What a later tile reads from memory, fetched into the second-level cache while this one computes: one line each step of k.
struct Ahead {
  const char* at;
  int64_t step;
};

// Lines that the result will want at the end of a tile: those that are written, and those that are read beside them (the same where none are).
struct Wanted {
  const float* written;
  int64_t written_step;
  const float* read;
  int64_t read_step;
};

// to = A·B + bias + from for `rows` x `columns`; bias and from: nothing where NULL. b: rows of kVectors whole vectors.
template <int kVectors, bool kColumns>
HWY_NOINLINE void tile(const float* a, int64_t step, const float* HWY_RESTRICT b, int64_t b_step, int64_t depth, TilePlace from, const float* bias, TilePlace to, int64_t rows,
                       int64_t columns, Wanted wanted, Ahead ahead) {
  const F32 d;
  const int64_t size = lanes();
  VF acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(d);
  }
  // Three rows share a pointer: row 3q + s is at[q] + s * step, which is one address of an instruction.
  constexpr int kPointers = (kRows + 2) / 3;
  const float* at[kPointers];
#pragma GCC unroll 8
  for (int q = 0; q < kPointers; ++q) at[q] = a + 3 * q * step;
  const auto multiply = [&]() HWY_ATTR {
    VF row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, b + v * size);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const VF element = hn::Set(d, kColumns ? a[r] : at[r / 3][(r % 3) * step]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(element, row[v], acc[r][v]);
    }
    b += b_step;
    if (kColumns) {
      a += step;
    } else {
#pragma GCC unroll 8
      for (int q = 0; q < kPointers; ++q) ++at[q];
    }
  };
  const int64_t head = std::min(rows, depth);
  for (int64_t k = 0; k < head; ++k) {
    __builtin_prefetch(wanted.written, 1, 3);
    __builtin_prefetch(wanted.read, 0, 3);
    if (kVectors > 1) {
      __builtin_prefetch(wanted.written + size, 1, 3);
      __builtin_prefetch(wanted.read + size, 0, 3);
    }
    __builtin_prefetch(ahead.at, 0, 3);
    ahead.at += ahead.step;
    wanted.written += wanted.written_step;
    wanted.read += wanted.read_step;
    multiply();
  }
  for (int64_t k = head; k < depth; ++k) {
    __builtin_prefetch(ahead.at, 0, 3);
    ahead.at += ahead.step;
    multiply();
  }
  if (rows >= kRows && columns >= kVectors * size) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        if (bias != nullptr) acc[r][v] = hn::Add(acc[r][v], hn::LoadU(d, bias + v * size));
        if (from.data != nullptr) acc[r][v] = hn::Add(acc[r][v], hn::LoadU(d, from.data + r * from.step + v * size));
        hn::StoreU(acc[r][v], d, to.data + r * to.step + v * size);
      }
    }
    return;
  }
  HWY_ALIGN float sums[kRows * kVectors * (HWY_MAX_BYTES / sizeof(float))];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, sums + (r * kVectors + v) * size);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
      VF sum = part.load(sums + r * kVectors * size + c);
      if (bias != nullptr) sum = hn::Add(sum, part.load(bias + c));
      if (from.data != nullptr) sum = hn::Add(sum, part.load(from.data + r * from.step + c));
      part.store(sum, to.data + r * to.step + c);
    });
  }
}

HWY_INLINE void tile_of(const TileRows& a, const TileColumns& b, int64_t depth, TilePlace from, const float* bias, TilePlace to, int64_t rows, int64_t columns, Wanted wanted,
                        Ahead ahead) {
  if (columns > lanes()) {
    if (a.columns) tile<2, true>(a.data, a.step, b.data, b.step, depth, from, bias, to, rows, columns, wanted, ahead);
    else tile<2, false>(a.data, a.step, b.data, b.step, depth, from, bias, to, rows, columns, wanted, ahead);
  } else {
    if (a.columns) tile<1, true>(a.data, a.step, b.data, b.step, depth, from, bias, to, rows, columns, wanted, ahead);
    else tile<1, false>(a.data, a.step, b.data, b.step, depth, from, bias, to, rows, columns, wanted, ahead);
  }
}

// Vectors of the panel of B that has `columns` left.
HWY_INLINE int64_t panel_columns(int64_t columns) { return columns > lanes() ? 2 * lanes() : lanes(); }

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

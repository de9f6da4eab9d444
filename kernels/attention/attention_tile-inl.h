// SPDX-License-Identifier: Apache-2.0
// The pieces of a tile beside its products: packing and transposition, dot products of rows, 2^x. Re-included for every instruction set.
#if defined(GATUN_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_ATTENTION_TILE_INL_H_
#undef GATUN_ATTENTION_TILE_INL_H_
#else
#define GATUN_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>

#include "kernels/attention/attention_product-inl.h"
#include "kernels/common/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// 2^x for x <= 0 (and a little above): relative error below 2^-23; 0 below -125.5, NaN for NaN. Infinite x gives 0 or garbage
// of the caller's making, never a trap.
HWY_INLINE VF exp2(F32 d, VF x) {
  [[maybe_unused]] const I32 di;
  // Adding 1.5·2^23 + 127 leaves the rounded integer in the low bits, biased, ready to be shifted into the exponent of a factor. (Added
  // into the exponent of p instead, the bits that a NaN carries could make a number of it.)
  const VF magic = hn::Set(d, 12583039.0f);
  const VF shifted = hn::Add(x, magic);
  const VF whole = hn::Sub(shifted, magic);
  const VF r = hn::Sub(x, whole);
  VF p = hn::Set(d, 1.535336196e-04f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.339887502e-03f));
  p = hn::MulAdd(p, r, hn::Set(d, 9.618436918e-03f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.550332367e-02f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.402264774e-01f));
  p = hn::MulAdd(p, r, hn::Set(d, 6.931471825e-01f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
#if HWY_TARGET == HWY_AVX3
  const VF y = VF{_mm512_scalef_ps(p.raw, whole.raw)};
#else
  const VF y = hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
#endif
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -125.5f)), y);
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
// Transposes 4x4 blocks: out[c] has in each block column c of the block's four rows.
template <class V>
HWY_INLINE void transpose_blocks(F32 d, const V (&in)[4], V (&out)[4]) {
  const hn::RepartitionToWide<F32> wide;
  const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, in[0], in[1])), high01 = hn::BitCast(wide, hn::InterleaveUpper(d, in[0], in[1]));
  const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, in[2], in[3])), high23 = hn::BitCast(wide, hn::InterleaveUpper(d, in[2], in[3]));
  out[0] = hn::BitCast(d, hn::InterleaveLower(wide, low01, low23));
  out[1] = hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23));
  out[2] = hn::BitCast(d, hn::InterleaveLower(wide, high01, high23));
  out[3] = hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23));
}

// Transposes `lanes` rows. row(r) points to row r's columns. Returns how many of the columns it has done.
template <class Row>
HWY_INLINE int64_t transpose_lanes(const Row& row, int64_t columns, VF factor, float* HWY_RESTRICT out, int64_t out_stride) {
  const F32 d;
  int64_t c = 0;
#if HWY_MAX_BYTES == 64
  // Eight columns at a time: halves of a vector are rows r and r+8, so that half the moves of lanes are part of the loads.
  const hn::Half<F32> d8;
  const auto pair = [&](int r) HWY_ATTR { return hn::Combine(d, hn::LoadU(d8, row(r + 8) + c), hn::LoadU(d8, row(r) + c)); };
  for (; c + 8 <= columns; c += 8, out += 8 * out_stride) {
    VF first[4], second[4];  // rows 0-3 and 8-11, rows 4-7 and 12-15; blocks 0 and 2 have columns 0-3, 1 and 3 columns 4-7
    transpose_blocks(d, {pair(0), pair(1), pair(2), pair(3)}, first);
    transpose_blocks(d, {pair(4), pair(5), pair(6), pair(7)}, second);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const VF low = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(second[i]), first[i]);
      const VF high = hn::OddEvenBlocks(second[i], hn::SwapAdjacentBlocks(first[i]));
      hn::Store(hn::Mul(factor, low), d, out + i * out_stride);
      hn::Store(hn::Mul(factor, high), d, out + (i + 4) * out_stride);
    }
  }
#else
  const hn::Full128<float> d4;
  for (; c + 4 <= columns; c += 4, out += 4 * out_stride) {
    const auto gather = [&](int r) HWY_ATTR {
#if HWY_MAX_BYTES == 32
      return hn::Combine(d, hn::LoadU(d4, row(r + 4) + c), hn::LoadU(d4, row(r) + c));
#else
      return hn::LoadU(d4, row(r) + c);
#endif
    };
    VF done[4];
    transpose_blocks(d, {gather(0), gather(1), gather(2), gather(3)}, done);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) hn::Store(hn::Mul(factor, done[i]), d, out + i * out_stride);
  }
#endif
  return c;
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
    if (r0 + lanes <= rows) {
      done = transpose_lanes([=](int r) { return first + r * in_stride; }, columns, factor, out + r0, out_stride);
    } else {
      const float* row[hn::MaxLanes(F32())];
      for (int64_t r = 0; r < lanes; ++r) row[r] = in + std::min(r0 + r, rows - 1) * in_stride;
      done = transpose_lanes([&](int r) { return row[r]; }, columns, factor, out + r0, out_stride);
    }
#endif
    for (; done < columns; ++done) {
      for (int64_t r = 0; r < lanes; ++r) out[done * out_stride + r0 + r] = scale * in[std::min(r0 + r, rows - 1) * in_stride + done];
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
// Of four vectors the sums within blocks of four lanes: lane i of a block is that of vector i.
template <class V>
HWY_INLINE VF block_sums(F32 d, const V (&in)[4]) {
  const hn::RepartitionToWide<F32> wide;
  const auto pair = [&](VF a, VF b) HWY_ATTR { return hn::BitCast(wide, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b))); };
  const auto ab = pair(in[0], in[1]), cd = pair(in[2], in[3]);
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, ab, cd)), hn::BitCast(d, hn::InterleaveUpper(wide, ab, cd)));
}

// Lane i is the sum of the lanes of vector i; lanes behind kCount are other numbers.
template <int kCount>
HWY_INLINE VF lane_sums(F32 d, const VF (&in)[kCount]) {
  constexpr int kGroups = (kCount + 3) / 4;
  VF group[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) {
    const auto at = [&](int i) HWY_ATTR { return in[4 * g + i < kCount ? 4 * g + i : kCount - 1]; };
    group[g] = block_sums(d, {at(0), at(1), at(2), at(3)});
  }
#if HWY_MAX_BYTES == 16
  return group[0];
#else
  const auto blocks = [&](VF a, VF b) HWY_ATTR {
    return hn::Add(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a), hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a)));
  };
  const VF low = kGroups == 1 ? hn::Add(group[0], hn::SwapAdjacentBlocks(group[0])) : blocks(group[0], group[kGroups > 1 ? 1 : 0]);
#if HWY_MAX_BYTES == 32
  return low;
#else
  if constexpr (kGroups <= 2) {
    return hn::Add(low, hn::ConcatLowerUpper(d, low, low));
  } else {
    const VF high = blocks(group[2], group[kGroups - 1]);
    return hn::Add(hn::ConcatLowerLower(d, high, low), hn::ConcatUpperUpper(d, high, low));
  }
#endif
#endif
}
#endif

// out[r] = scale·Σ a[r][c]·b[r][c]. Lanes behind the last row get copies of it.
HWY_INLINE void row_dots(const float* HWY_RESTRICT a, int64_t a_stride, const float* HWY_RESTRICT b, int64_t b_stride, int64_t rows,
                         int64_t columns, float scale, float* HWY_RESTRICT out) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t r = 0; r < rows; ++r) {
    float sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += a[r * a_stride + c] * b[r * b_stride + c];
    out[r] = scale * sum;
  }
#else
  const F32 d;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(F32()));
  for (int64_t r0 = 0; r0 < rows; r0 += kLanes) {
    VF sum[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int64_t r = std::min(r0 + i, rows - 1);
      const float* x = a + r * a_stride;
      const float* y = b + r * b_stride;
      VF total = hn::Zero(d);
      int64_t c = 0;
      for (; c + kLanes <= columns; c += kLanes) total = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, y + c), total);
      if (c < columns) total = hn::MulAdd(load_tail(d, x + c, columns - c), load_tail(d, y + c, columns - c), total);
      sum[i] = total;
    }
    hn::Store(hn::Mul(lane_sums(d, sum), hn::Set(d, scale)), d, out + r0);
  }
#endif
}

#if HWY_TARGET != HWY_SCALAR
// C (rows x kColumns, and numbers behind them up to whole vectors) = A·Bᵀ; rows of A and B are padded with zeros to `inner`, whole vectors.
template <int kColumns>
HWY_NOINLINE void dots(const float* HWY_RESTRICT a, int64_t lda, const float* HWY_RESTRICT b, int64_t ldb, float* HWY_RESTRICT c, int64_t ldc,
                       int64_t rows, int64_t inner) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t r = 0; r < rows; r += 2) {
    // Two rows at a time read B once; an odd last one twice.
    const int64_t next = r + 1 < rows ? 1 : 0;
    VF first[kColumns], second[kColumns];
#pragma GCC unroll 8
    for (int i = 0; i < kColumns; ++i) first[i] = second[i] = hn::Zero(d);
    for (int64_t k = 0; k < inner; k += lanes) {
      const VF x = hn::LoadU(d, a + k), y = hn::LoadU(d, a + next * lda + k);
#pragma GCC unroll 8
      for (int i = 0; i < kColumns; ++i) {
        const VF z = hn::Load(d, b + i * ldb + k);
        first[i] = hn::MulAdd(x, z, first[i]);
        second[i] = hn::MulAdd(y, z, second[i]);
      }
    }
    hn::Store(lane_sums(d, second), d, c + next * ldc);
    hn::Store(lane_sums(d, first), d, c);
    a += 2 * lda;
    c += 2 * ldc;
  }
}
#endif

// Queries behind the last whole vector that are cheaper as dot products than as a vector that is mostly empty; 0 if there are more.
HWY_INLINE int64_t dotted(int64_t queries) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  return HWY_TARGET != HWY_SCALAR && queries % lanes <= lanes / 3 ? queries % lanes : 0;
}

// The columns of a tile that dotted() speaks of.
HWY_INLINE void dot_columns([[maybe_unused]] const float* a, [[maybe_unused]] int64_t lda, [[maybe_unused]] const float* b,
                            [[maybe_unused]] int64_t ldb, [[maybe_unused]] float* c, [[maybe_unused]] int64_t ldc, [[maybe_unused]] int64_t rows,
                            int64_t columns, [[maybe_unused]] int64_t inner) {
  switch (columns) {
#if HWY_TARGET != HWY_SCALAR
    case 1: return dots<1>(a, lda, b, ldb, c, ldc, rows, inner);
#if HWY_MAX_BYTES >= 32
    case 2: return dots<2>(a, lda, b, ldb, c, ldc, rows, inner);
#endif
#if HWY_MAX_BYTES == 64
    case 3: return dots<3>(a, lda, b, ldb, c, ldc, rows, inner);
    case 4: return dots<4>(a, lda, b, ldb, c, ldc, rows, inner);
    case 5: return dots<5>(a, lda, b, ldb, c, ldc, rows, inner);
#endif
#endif
    default: return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
// Packing with prologues: an operand is normalised, activated or scaled on its way into the blocks that the tiles read.
// Re-included per instruction set.
#if defined(GATUN_MATMUL_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_MATMUL_PACK_INL_H_
#undef GATUN_MATMUL_PACK_INL_H_
#else
#define GATUN_MATMUL_PACK_INL_H_
#endif

#include <cmath>
#include <type_traits>

#include "kernels/common/columns-inl.h"
#include "kernels/common/gelu-inl.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

HWY_INLINE VF load_some(const float* p, int64_t available) {
  if (available >= lanes()) return hn::LoadU(F32(), p);
  return available > 0 ? load_tail(F32(), p, available) : hn::Zero(F32());
}

// As layer_norm.cpp: the accurate variance in a second sweep.
HWY_INLINE void row_statistics(const float* x, int64_t columns, float epsilon, float& mean_of_row, float& rstd_of_row) {
  const F32 d;
  const float count = static_cast<float>(columns);
  VF sum = hn::Zero(d), squares = hn::Zero(d);
  for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR { sum = hn::Add(sum, part.load(x + c)); });
  mean_of_row = sum_lanes(d, sum) / count;
  const VF mean = hn::Set(d, mean_of_row);
  for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
    const VF centered = part.keep(hn::Sub(part.load(x + c), mean));
    squares = hn::MulAdd(centered, centered, squares);
  });
  rstd_of_row = 1.0f / std::sqrt(sum_lanes(d, squares) / count + epsilon);
}

// What is done to vectors of an operand. `channel` is the element's place along its channels, `token` the other one. `side`: to kTokens x kVectors whole
// vectors, one token's after the other's.
struct AsIs {
  HWY_INLINE VF operator()(VF x, int64_t, int64_t, int64_t) const { return x; }
  template <int kTokens, int kVectors>
  HWY_INLINE void side(VF (&)[kTokens * kVectors], int64_t, int64_t) const {}
};
struct Activate {
  HWY_INLINE VF operator()(VF x, int64_t, int64_t, int64_t) const { return Gelu::value(F32(), x); }
  template <int kTokens, int kVectors>
  HWY_INLINE void side(VF (&x)[kTokens * kVectors], int64_t, int64_t) const {
    Gelu::values(F32(), x);
  }
};
// Of those that do the same to each vector.
template <class F>
struct EachVector {
  template <int kTokens, int kVectors>
  HWY_INLINE void side(VF (&x)[kTokens * kVectors], int64_t token, int64_t channel) const {
    each<kTokens>([&](int t) HWY_ATTR {
      each<kVectors>([&](int v) HWY_ATTR {
        x[t * kVectors + v] = static_cast<const F&>(*this)(x[t * kVectors + v], token + t, channel + v * lanes(), lanes());
      });
    });
  }
};
struct Normalize : EachVector<Normalize> {
  const float *mean, *rstd, *gamma, *beta;
  Normalize(const MatmulCall& call) : mean(call.mean), rstd(call.rstd), gamma(call.gamma), beta(call.beta) {}
  HWY_INLINE VF operator()(VF x, int64_t token, int64_t channel, int64_t available) const {
    const F32 d;
    VF y = hn::Mul(hn::Sub(x, hn::Set(d, mean[token])), hn::Set(d, rstd[token]));
    if (gamma != nullptr) y = hn::Mul(y, load_some(gamma + channel, available));
    if (beta != nullptr) y = hn::Add(y, load_some(beta + channel, available));
    return y;
  }
};
// One factor for the vector, one for each element.
struct Scale : EachVector<Scale> {
  const float *of_token, *of_channel;
  Scale(const float* token, const float* channel) : of_token(token), of_channel(channel) {}
  HWY_INLINE VF operator()(VF x, int64_t token, int64_t channel, int64_t available) const {
    if (of_token != nullptr) x = hn::Mul(x, hn::Set(F32(), of_token[token]));
    if (of_channel != nullptr) x = hn::Mul(x, load_some(of_channel + channel, available));
    return x;
  }
};

// Rows [row, row + rows) of a matrix with contiguous rows, columns [first, first + count), into rows of `step` elements; zeros up to kRows rows.
// sums: to which the sum of each row is added, or NULL.
template <class F>
void pack_rows(const F& f, const float* x, int64_t leading, int64_t row, int64_t rows, int64_t first, int64_t count, float* to, int64_t step, float* sums) {
  const F32 d;
  constexpr int kSide = Gelu::kSide;
  for (int64_t r = 0; r < kRows; ++r) {
    float* out = to + r * step;
    if (r >= rows) {
      for (int64_t c = 0; c < count; c += lanes()) hn::StoreU(hn::Zero(d), d, out + c);
      continue;
    }
    const float* in = x + (row + r) * leading + first;
    VF sum = hn::Zero(d);
    int64_t c = 0;
    for (; c + kSide * lanes() <= count; c += kSide * lanes()) {
      VF value[kSide];
      each<kSide>([&](int v) HWY_ATTR { value[v] = hn::LoadU(d, in + c + v * lanes()); });
      f.template side<1, kSide>(value, row + r, first + c);
      each<kSide>([&](int v) HWY_ATTR {
        sum = hn::Add(sum, value[v]);
        hn::StoreU(value[v], d, out + c + v * lanes());
      });
    }
    for (; c + lanes() <= count; c += lanes()) {
      const VF value = f(hn::LoadU(d, in + c), row + r, first + c, count - c);
      sum = hn::Add(sum, value);
      hn::StoreU(value, d, out + c);
    }
    if (c < count) {
      const VF value = PartVector{count - c}.keep(f(load_tail(d, in + c, count - c), row + r, first + c, count - c));
      sum = hn::Add(sum, value);
      hn::StoreU(value, d, out + c);
    }
    if (sums != nullptr) sums[r] += sum_lanes(d, sum);
  }
}

// As pack_columns, of whole panels of tile_columns().
template <class F>
void pack_panels(const F& f, const float* x, int64_t leading, int64_t column, int64_t columns, int64_t first, int64_t count, float* to) {
  const F32 d;
  const int64_t width = tile_columns();
  const auto pack = [&](auto tokens, int64_t k) HWY_ATTR {
    constexpr int kTokens = decltype(tokens)::value;
    const float* in = x + (first + k) * leading + column;
    for (int64_t c = 0; c < columns; c += width) {
      VF value[kTokens * kWidth];
      each<kTokens>([&](int t) HWY_ATTR { each<kWidth>([&](int v) HWY_ATTR { value[t * kWidth + v] = hn::LoadU(d, in + t * leading + c + v * lanes()); }); });
      f.template side<kTokens, kWidth>(value, first + k, column + c);
      each<kTokens * kWidth>([&](int i) HWY_ATTR { hn::StoreU(value[i], d, to + c * count + k * width + i * lanes()); });
    }
  };
  constexpr int kTokens = Gelu::kSide / kWidth;
  int64_t k = 0;
  for (; k + kTokens <= count; k += kTokens) pack(std::integral_constant<int, kTokens>(), k);
  for (; k < count; ++k) pack(std::integral_constant<int, 1>(), k);
}

// Rows [first, first + count) of a matrix with contiguous rows, columns [column, column + columns), into panels of `width` columns, one after
// the other; panel p at to + p * step. Behind the columns stand zeros, and each panel may be followed by a vector of anything.
// sums: to which the sum of each column is added, or NULL.
template <class F>
void pack_columns(const F& f, const float* x, int64_t leading, int64_t column, int64_t columns, int64_t first, int64_t count, int64_t width,
                  float* to, int64_t step, float* sums) {
  const F32 d;
  for (int64_t k = 0; k < count; ++k) {
    const float* in = x + (first + k) * leading + column;
    for (int64_t p = 0; p * width < columns; ++p) {
      float* out = to + p * step + k * width;
      for (int64_t c = 0; c < width; c += lanes()) {
        const int64_t at = p * width + c, available = std::min(width - c, columns - at);
        // A whole vector where the row has one: what is beyond the panel is written over by its next row.
        VF value = at + lanes() <= columns ? f(hn::LoadU(d, in + at), first + k, column + at, lanes())
                                           : PartVector{std::max<int64_t>(available, 0)}.keep(f(load_some(in + at, available), first + k, column + at, available));
        hn::StoreU(value, d, out + c);
        if (sums != nullptr && available > 0) {
          float* s = sums + at;
          if (available >= lanes()) hn::StoreU(hn::Add(hn::LoadU(d, s), value), d, s);
          else store_tail(hn::Add(load_tail(d, s, available), value), d, s, available);
        }
      }
    }
  }
}

// sums[c] += the sum of column `column + c` over rows [first, first + count).
HWY_INLINE void add_columns(const float* x, int64_t leading, int64_t column, int64_t columns, int64_t first, int64_t count, float* sums) {
  const F32 d;
  constexpr int kSide = kRows / 2;  // divides the vectors of kInnerTiles tiles
  int64_t c = 0;
  for (; c + kSide * lanes() <= columns; c += kSide * lanes()) {
    VF sum[kSide];
    each<kSide>([&](int v) HWY_ATTR { sum[v] = hn::LoadU(d, sums + c + v * lanes()); });
    const float* in = x + first * leading + column + c;
    for (int64_t k = 0; k < count; ++k, in += leading) {
      each<kSide>([&](int v) HWY_ATTR { sum[v] = hn::Add(sum[v], hn::LoadU(d, in + v * lanes())); });
    }
    each<kSide>([&](int v) HWY_ATTR { hn::StoreU(sum[v], d, sums + c + v * lanes()); });
  }
  for_vectors(columns - c, [&](int64_t at, auto part) HWY_ATTR {
    VF sum = part.load(sums + c + at);
    const float* in = x + first * leading + column + c + at;
    for (int64_t k = 0; k < count; ++k) sum = hn::Add(sum, part.load(in + k * leading));
    part.store(sum, sums + c + at);
  });
}

#if HWY_TARGET == HWY_SCALAR
template <class F>
void pack_turned(const F& f, const float* x, int64_t leading, int64_t column, int64_t columns, int64_t first, int64_t count, int64_t width, float* to) {
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t c = 0; c < width; ++c) {
      const VF value = c < columns ? f(hn::LoadU(F32(), x + (column + c) * leading + first + k), first + k, column + c, 1) : hn::Zero(F32());
      hn::StoreU(value, F32(), to + k * width + c);
    }
  }
}
#else
using Quad = hn::FixedTag<float, 4>;

// Lane 4j + i of vector number i of a group: rows 4j + i, so that four 4 x 4 transpositions inside the quads turn 4 columns into vectors.
template <class D>
HWY_INLINE hn::Vec<D> gather_quads(D d, const float* x, int64_t leading, int64_t row, int64_t rows) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    static_cast<void>(d);
    return row < rows ? hn::LoadU(Quad(), x + row * leading) : hn::Zero(Quad());
  } else {
    const hn::Half<D> half;
    constexpr int64_t kHalf = static_cast<int64_t>(hn::MaxLanes(hn::Half<D>()));
    return hn::Combine(d, gather_quads(half, x, leading, row + kHalf, rows), gather_quads(half, x, leading, row, rows));
  }
}

// As pack_columns of one panel, of a matrix that is stored by columns: element (k, n) at x[n * leading + k].
template <class F>
void pack_turned(const F& f, const float* x, int64_t leading, int64_t column, int64_t columns, int64_t first, int64_t count, int64_t width, float* to) {
  const F32 d;
  const hn::Repartition<double, F32> pairs;
  for (int64_t c = 0; c < width; c += lanes()) {
    const float* in = x + (column + c) * leading + first;
    const int64_t rows = columns - c;
    int64_t k = 0;
    for (; k + 4 <= count; k += 4) {
      const VF v0 = gather_quads(d, in + k, leading, 0, rows), v1 = gather_quads(d, in + k, leading, 1, rows);
      const VF v2 = gather_quads(d, in + k, leading, 2, rows), v3 = gather_quads(d, in + k, leading, 3, rows);
      const auto low = hn::BitCast(pairs, hn::InterleaveLower(d, v0, v1)), high = hn::BitCast(pairs, hn::InterleaveUpper(d, v0, v1));
      const auto low2 = hn::BitCast(pairs, hn::InterleaveLower(d, v2, v3)), high2 = hn::BitCast(pairs, hn::InterleaveUpper(d, v2, v3));
      const VF turned[4] = {hn::BitCast(d, hn::InterleaveLower(pairs, low, low2)), hn::BitCast(d, hn::InterleaveUpper(pairs, low, low2)),
                            hn::BitCast(d, hn::InterleaveLower(pairs, high, high2)), hn::BitCast(d, hn::InterleaveUpper(pairs, high, high2))};
      for (int64_t i = 0; i < 4; ++i) hn::StoreU(f(turned[i], first + k + i, column + c, rows), d, to + (k + i) * width + c);
    }
    for (; k < count; ++k) {
      HWY_ALIGN float values[HWY_MAX_BYTES / sizeof(float)] = {};
      for (int64_t i = 0; i < std::min(lanes(), rows); ++i) values[i] = in[i * leading + k];
      hn::StoreU(f(hn::Load(d, values), first + k, column + c, rows), d, to + (k)*width + c);
    }
  }
}
#endif

// Rows [first, first + count) of B, columns [column, column + columns), into panels of tile_columns() columns (the last may have lanes()), one
// after the other with `count` rows each.
template <class F>
void pack_b_of(const F& f, const MatmulOperand& b, int64_t first, int64_t count, int64_t column, int64_t columns, float* to) {
  const int64_t whole = b.transposed ? 0 : columns / tile_columns() * tile_columns();
  if (whole > 0) pack_panels(f, b.data, b.leading, column, whole, first, count, to);
  for (int64_t n = whole; n < columns; n += tile_columns()) {
    const int64_t width = panel_columns(columns - n), here = std::min(width, columns - n);
    if (b.transposed) pack_turned(f, b.data, b.leading, column + n, here, first, count, width, to + n * count);
    else pack_columns(f, b.data, b.leading, column + n, here, first, count, width, to + n * count, 0, nullptr);
  }
}

HWY_INLINE void pack_b(const MatmulCall& call, int64_t first, int64_t count, int64_t column, int64_t columns, float* to) {
  switch (call.b.prologue) {
    case GATUN_MATMUL_LAYER_NORM: return pack_b_of(Normalize(call), call.b, first, count, column, columns, to);
    case GATUN_MATMUL_GELU: return pack_b_of(Activate{}, call.b, first, count, column, columns, to);
    default: return pack_b_of(AsIs{}, call.b, first, count, column, columns, to);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

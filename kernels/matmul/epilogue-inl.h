// SPDX-License-Identifier: Apache-2.0
// What is done to a part of the product before it is written. Re-included per instruction set.
#if defined(GATUN_MATMUL_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_MATMUL_EPILOGUE_INL_H_
#undef GATUN_MATMUL_EPILOGUE_INL_H_
#else
#define GATUN_MATMUL_EPILOGUE_INL_H_
#endif

#include "kernels/common/columns-inl.h"
#include "kernels/common/gelu-inl.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// Of kTokens x kVectors vectors from (row m, column) on: part is a WholeVector, or there is one.
template <int kActivation, int kTokens, int kVectors, class Part>
HWY_INLINE void finish(const MatmulCall& call, const float* from, int64_t step, int64_t m, int64_t column, int64_t each_factor, Part part) {
  const F32 d;
  VF x[kTokens * kVectors];
  const auto all = [&](const auto& f) HWY_ATTR {
    each<kTokens>([&](int t) HWY_ATTR { each<kVectors>([&](int v) HWY_ATTR { f(x[t * kVectors + v], m + t, column + v * lanes()); }); });
  };
  const auto product = [&](int64_t r, int64_t c) HWY_ATTR {
    const VF sum = part.load(from + (r - m) * step + c - column);
    return call.bias == nullptr ? sum : hn::Add(sum, part.load(call.bias + c));
  };
  if constexpr (kActivation == GATUN_MATMUL_GELU_GRADIENT) {
    // The derivative first: it takes all registers.
    all([&](VF& y, int64_t r, int64_t c) HWY_ATTR { y = part.load(call.hidden + r * call.ld_hidden + c); });
    Gelu::derivatives(d, x);
    all([&](VF& y, int64_t r, int64_t c) HWY_ATTR { y = hn::Mul(product(r, c), y); });
  } else {
    all([&](VF& y, int64_t r, int64_t c) HWY_ATTR { y = product(r, c); });
  }
  if constexpr (kActivation == GATUN_MATMUL_TO_GELU) {
    if (call.hidden != nullptr) all([&](VF& y, int64_t r, int64_t c) HWY_ATTR { part.store(y, call.hidden + r * call.ld_hidden + c); });
    Gelu::values(d, x);
  }
  if (call.factor_m.data != nullptr) all([&](VF& y, int64_t r, int64_t) HWY_ATTR { y = hn::Mul(y, hn::Set(d, call.factor_m.data[r / each_factor])); });
  if (call.factor_n != nullptr) all([&](VF& y, int64_t, int64_t c) HWY_ATTR { y = hn::Mul(y, part.load(call.factor_n + c)); });
  if (call.residual != nullptr) all([&](VF& y, int64_t r, int64_t c) HWY_ATTR { y = hn::Add(y, part.load(call.residual + r * call.ld_residual + c)); });
  all([&](VF& y, int64_t r, int64_t c) HWY_ATTR {
    float* out = call.c + r * call.ldc + c;
    part.store(call.accumulate ? hn::Add(y, part.load(out)) : y, out);
  });
}

template <int kActivation>
void epilogue_of(const MatmulCall& call, const float* from, int64_t step, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  constexpr int kTokens = Gelu::kSide / kWidth;
  const int64_t each_factor = call.factor_m.data == nullptr ? 1 : call.m / call.factor_m.count;
  const int64_t whole = columns / tile_columns() * tile_columns(), groups = rows / kTokens * kTokens;
  // Rows inside: the constants stay in registers over a tile.
  for (int64_t c = 0; c < whole; c += tile_columns()) {
    for (int64_t r = 0; r < groups; r += kTokens) {
      finish<kActivation, kTokens, kWidth>(call, from + r * step + c, step, row + r, column + c, each_factor, WholeVector{});
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t done = r < groups ? whole : 0;
    for_vectors(columns - done, [&](int64_t c, auto part) HWY_ATTR {
      finish<kActivation, 1, 1>(call, from + r * step + done + c, step, row + r, column + done + c, each_factor, part);
    });
  }
}

// c for `rows` x `columns` from (row, column) on, whose product stands in `from`.
HWY_INLINE void epilogue(const MatmulCall& call, const float* from, int64_t step, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  switch (call.activation) {
    case GATUN_MATMUL_TO_GELU: return epilogue_of<GATUN_MATMUL_TO_GELU>(call, from, step, row, rows, column, columns);
    case GATUN_MATMUL_GELU_GRADIENT: return epilogue_of<GATUN_MATMUL_GELU_GRADIENT>(call, from, step, row, rows, column, columns);
    default: return epilogue_of<GATUN_MATMUL_LINEAR>(call, from, step, row, rows, column, columns);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

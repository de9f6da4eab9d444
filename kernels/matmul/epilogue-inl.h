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

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

template <int kActivation>
void epilogue_of(const MatmulCall& call, const float* from, int64_t step, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  const F32 d;
  const int64_t each = call.factor_m.data == nullptr ? 1 : call.m / call.factor_m.count;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t m = row + r;
    const float* in = from + r * step;
    float* out = call.c + m * call.ldc + column;
    float* hidden = call.hidden == nullptr ? nullptr : call.hidden + m * call.ld_hidden + column;
    const float* residual = call.residual == nullptr ? nullptr : call.residual + m * call.ld_residual + column;
    const float* bias = call.bias == nullptr ? nullptr : call.bias + column;
    const float* factor = call.factor_n == nullptr ? nullptr : call.factor_n + column;
    const VF factor_m = hn::Set(d, call.factor_m.data == nullptr ? 1.0f : call.factor_m.data[m / each]);
    for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
      VF v = part.load(in + c);
      if (bias != nullptr) v = hn::Add(v, part.load(bias + c));
      if constexpr (kActivation == GATUN_MATMUL_TO_GELU) {
        if (hidden != nullptr) part.store(v, hidden + c);
        v = Gelu::value(d, v);
      } else if constexpr (kActivation == GATUN_MATMUL_GELU_GRADIENT) {
        v = Gelu::gradient(d, part.load(hidden + c), v);
      }
      if (call.factor_m.data != nullptr) v = hn::Mul(v, factor_m);
      if (factor != nullptr) v = hn::Mul(v, part.load(factor + c));
      if (residual != nullptr) v = hn::Add(v, part.load(residual + c));
      if (call.accumulate) v = hn::Add(v, part.load(out + c));
      part.store(v, out + c);
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

// Whether all there is to do can be added to the product as its tiles are written: a bias, and a residual or c itself.
HWY_INLINE bool sums_only(const MatmulCall& call) {
  return call.activation == GATUN_MATMUL_LINEAR && call.factor_m.data == nullptr && call.factor_n == nullptr &&
         (call.residual == nullptr || !call.accumulate);
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
#include "kernels/gather_rows/gather_rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gather_rows/gather_rows.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// to = base + scale * gamma * row, over one line of channels; base may be to itself
HWY_INLINE void add_line(const float* base, const float* row, float scale, const float* gamma, float* to, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  int64_t i = 0;
  if (gamma != nullptr) {
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(hn::MulAdd(hn::Mul(factor, hn::LoadU(d, gamma + i)), hn::LoadU(d, row + i), hn::LoadU(d, base + i)), d, to + i);
    }
    if (i < n) {
      const VF weight = hn::Mul(factor, load_tail(d, gamma + i, n - i));
      store_tail(hn::MulAdd(weight, load_tail(d, row + i, n - i), load_tail(d, base + i, n - i)), d, to + i, n - i);
    }
    return;
  }
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::MulAdd(factor, hn::LoadU(d, row + i), hn::LoadU(d, base + i)), d, to + i);
  if (i < n) store_tail(hn::MulAdd(factor, load_tail(d, row + i, n - i), load_tail(d, base + i, n - i)), d, to + i, n - i);
}

void scatter_add(int threads, const float* base, int64_t base_stride, Rows<const float> rows, const int32_t* indices, const RowScale& scale,
                 Rows<float> to) {
  // A task owns a run of destinations and looks through all indices, so that no two tasks write one row and the order of additions is
  // the order of the indices.
  const int64_t chunk = std::max<int64_t>(1, chunk_count(to.rows, 64));
  // An empty list of indices may come without a pointer, too.
  const bool direct = indices == nullptr && rows.rows == to.rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t begin = 0; begin < to.rows; begin += chunk) {
    const int64_t end = std::min(begin + chunk, to.rows);
    const bool fused = direct && base != nullptr;
    for (int64_t r = begin; r < end && !fused; ++r) {
      const float* from = base + r * base_stride;
      if (base == nullptr) std::fill_n(to.row(r), to.columns, 0.0f);
      else if (from != to.row(r)) std::copy_n(from, to.columns, to.row(r));
    }
    const int64_t first = direct ? begin : 0;
    const int64_t last = direct ? end : rows.rows;
    for (int64_t i = first; i < last; ++i) {
      const int64_t r = direct ? i : indices[i];
      if (r < begin || r >= end) continue;
      const float factor = scale.of(i);
      const float* source = fused ? base + r * base_stride : to.row(r);
      if (factor == 0.0f) {
        if (source != to.row(r)) std::copy_n(source, to.columns, to.row(r));
        continue;
      }
      for (int64_t c = 0; c < to.columns; c += scale.channels) {
        add_line(source + c, rows.row(i) + c, factor, scale.gamma, to.row(r) + c, scale.channels);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

void gather_rows(const Stream& stream, Rows<const uint8_t> from, const int32_t* indices, Rows<uint8_t> to) {
  const int threads = stream.threads();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < to.rows; ++i) std::memcpy(to.row(i), from.row(indices[i]), static_cast<size_t>(to.columns));
}

template <>
void scatter_add_rows(const Stream& stream, const Rows<const float>* base, Rows<const float> rows, const int32_t* indices,
                      const RowScale& scale, Rows<float> to) {
  if (to.columns == 0) return;
  GATUN_DISPATCH(scatter_add)(stream.threads(), base != nullptr ? base->data : nullptr, base != nullptr ? base->stride : 0, rows, indices,
                              scale, to);
}

}  // namespace gatun
#endif

// SPDX-License-Identifier: Apache-2.0
// A loop over the columns of a row in vectors, with one body for whole vectors and for the part at the end.
#if defined(GATUN_COLUMNS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_COLUMNS_INL_H_
#undef GATUN_COLUMNS_INL_H_
#else
#define GATUN_COLUMNS_INL_H_
#endif

#include "kernels/common/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

struct WholeVector {
  HWY_INLINE VF load(const float* p) const { return hn::LoadU(F32(), p); }
  HWY_INLINE void store(VF v, float* p) const { hn::StoreU(v, F32(), p); }
  // As load, with `other` behind the end of the row.
  HWY_INLINE VF load_or(const float* p, VF) const { return load(p); }
  // What belongs to the row, zero behind it.
  HWY_INLINE VF keep(VF v) const { return v; }
};
struct PartVector {
  int64_t n;
  HWY_INLINE VF load(const float* p) const { return load_tail(F32(), p, n); }
  HWY_INLINE void store(VF v, float* p) const { store_tail(v, F32(), p, n); }
  HWY_INLINE VF load_or(const float* p, VF other) const {
    return hn::IfThenElse(hn::FirstN(F32(), static_cast<size_t>(n)), load_tail(F32(), p, n), other);
  }
  HWY_INLINE VF keep(VF v) const { return hn::IfThenElseZero(hn::FirstN(F32(), static_cast<size_t>(n)), v); }
};

// body(column, WholeVector or PartVector); a lambda needs HWY_ATTR.
template <class Body>
HWY_INLINE void for_vectors(int64_t columns, const Body& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  int64_t c = 0;
  for (; c + lanes <= columns; c += lanes) body(c, WholeVector{});
  if (c < columns) body(c, PartVector{columns - c});
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

// SPDX-License-Identifier: Apache-2.0
// What a sweep does with a few rows at a time. Re-included for every instruction set.
//
// A sample's sum is one chain of multiply-adds, a prototype's goes from row to row: neither depends on how many rows are taken together, on
// whether powers are recomputed or were kept, or on threads.
#if defined(GATUN_SINKHORN_SWEEP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GATUN_SINKHORN_SWEEP_INL_H_
#undef GATUN_SINKHORN_SWEEP_INL_H_
#else
#define GATUN_SINKHORN_SWEEP_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {
namespace sinkhorn_sweep {

// e^((s - offset) / epsilon) as a power of 2, for exponents that are known to be in the range of floats: 11 instructions.
struct Powers {
  float offset;
  float rate;  // log2(e) / epsilon

  Powers(float offset, float epsilon) : offset(offset), rate(static_cast<float>(1.4426950408889634 / static_cast<double>(epsilon))) {}

  // 2^fraction in `fraction`'s place: the polynomial has a relative error of 9.4e-8, and of 1.6e-7 with its roundings. Not finite where s is not.
  HWY_INLINE VF mantissa(F32 d, VF s, VF& whole) const {
    const VF magic = hn::Set(d, 12582912.0f), distance = hn::Sub(s, hn::Set(d, offset));
    whole = hn::MulAdd(distance, hn::Set(d, rate), magic);
    const VF r = hn::MulSub(distance, hn::Set(d, rate), hn::Sub(whole, magic));
    VF p = hn::MulAdd(r, hn::Set(d, 1.326900907e-03f), hn::Set(d, 9.671313688e-03f));
    p = hn::MulAdd(p, r, hn::Set(d, 5.550712347e-02f));
    p = hn::MulAdd(p, r, hn::Set(d, 2.402224690e-01f));
    p = hn::MulAdd(p, r, hn::Set(d, 6.931470037e-01f));
    return hn::MulAdd(p, r, hn::Set(d, 1.0f));
  }
  static HWY_INLINE VF scaled(F32 d, VF p, VF whole) {
    const I32 di;
    return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, whole))));
  }
  HWY_INLINE VF operator()(F32 d, VF s) const {
    VF whole;
    const VF p = mantissa(d, s, whole);
    return scaled(d, p, whole);
  }
};

// Where a sweep after the first takes the powers from: the scores, or where the first left them.
struct Recomputed {
  static constexpr bool kKept = false;
  Powers powers;
  HWY_INLINE VF operator()(F32 d, VF s) const { return powers(d, s); }
};
struct Kept {
  static constexpr bool kKept = true;
  HWY_INLINE VF operator()(F32, VF p) const { return p; }
};

// Rows taken together: u is read and the sums of the prototypes are added to once for all of them. Sums begin at the last column, whose powers are still in
// the first-level cache, so that kept rows may be longer than it; recomputed ones are written to scratch as well.
constexpr int64_t kManyRowsColumns = 1024;
constexpr int kManyRows = 4, kFewRows = 2;

// As for_vectors, from the last column to the first.
template <class Body>
HWY_INLINE void for_vectors_backwards(int64_t columns, const Body& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  int64_t c = columns / lanes * lanes;
  if (c < columns) body(c, PartVector{columns - c});
  while (c > 0) body(c -= lanes, WholeVector{});
}

// Rows that come from memory: those that follow are asked for while these are worked on. The processor's own prefetching ends with each page, and rests
// while the prototypes' sums are made: half of the bandwidth.
template <bool kAhead>
HWY_INLINE void fetch_ahead(const float* next) {
  if constexpr (kAhead) __builtin_prefetch(next, 0, 2);
}

// The row as many further on as are taken together; the last ones fetch themselves.
HWY_INLINE const float* following(const Rows<const float>& rows, int64_t row, int64_t step) { return rows.row(std::min(row + step, rows.rows - 1)); }

// What the first sweep learns of the scores besides their sums. Min and Max may pass over a NaN, the sums do not.
struct Bounds {
  VF low, high;
};

// The first sweep: sums[k] += Σ P over kRows rows; kKeep: P is written to `kept`.
template <bool kKeep, int kRows>
HWY_INLINE void add_powers(const Powers& powers, const Rows<const float>& scores, int64_t row, const Rows<float>& kept, float* sums, Bounds& bounds) {
  const F32 d;
  const float* from[kRows];
  const float* next[kRows];
  float* to[kRows];
  for (int r = 0; r < kRows; ++r) {
    from[r] = scores.row(row + r);
    next[r] = following(scores, row + r, kRows);
    to[r] = kKeep ? kept.row(row + r) : nullptr;
  }
  for_vectors(scores.columns, [&](int64_t i, auto part) HWY_ATTR {
    VF sum = part.load(sums + i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const VF s = part.load(from[r] + i);
      fetch_ahead<!kKeep>(next[r] + i);
      bounds.low = hn::Min(part.load_or(from[r] + i, bounds.low), bounds.low);
      bounds.high = hn::Max(part.load_or(from[r] + i, bounds.high), bounds.high);
      VF whole;
      const VF p = powers.mantissa(d, s, whole);
      const VF power = powers.scaled(d, p, whole);
      if constexpr (kKeep) part.store(power, to[r] + i);
      sum = hn::Add(sum, power);
    }
    part.store(sum, sums + i);
  });
}

// A later sweep: v = 1 / Σ P u of each row, then sums[k] += Σ v P. scratch: kRows rows `width` apart, unless powers were kept.
template <int kRows, class Source>
HWY_INLINE void add_weighted(const Source& source, const Rows<const float>& rows, int64_t row, const float* u, float* sums, float* scratch,
                             int64_t width) {
  const F32 d;
  const float* from[kRows];
  const float* next[kRows];
  const float* powers[kRows];
  VF total[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    from[r] = rows.row(row + r);
    next[r] = following(rows, row + r, kRows);
    powers[r] = Source::kKept ? from[r] : scratch + r * width;
    total[r] = hn::Zero(d);
  }
  for_vectors(rows.columns, [&](int64_t i, auto part) HWY_ATTR {
    const VF scaling = part.load(u + i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const VF p = part.keep(source(d, part.load(from[r] + i)));
      fetch_ahead<!Source::kKept>(next[r] + i);
      if constexpr (!Source::kKept) part.store(p, scratch + r * width + i);
      total[r] = hn::MulAdd(p, scaling, total[r]);
    }
  });
  VF v[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) v[r] = hn::Set(d, 1.0f / sum_lanes(d, total[r]));
  for_vectors_backwards(rows.columns, [&](int64_t i, auto part) HWY_ATTR {
    VF sum = part.load(sums + i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sum = hn::MulAdd(part.load(powers[r] + i), v[r], sum);
    part.store(sum, sums + i);
  });
}

template <class Source>
void add_weighted_rows(const Source& source, const Rows<const float>& rows, int64_t begin, int64_t end, const float* u, float* sums, float* scratch,
                       int64_t width) {
  int64_t row = begin;
  if (Source::kKept || rows.columns <= kManyRowsColumns) {
    for (; row + kManyRows <= end; row += kManyRows) add_weighted<kManyRows>(source, rows, row, u, sums, scratch, width);
  }
  for (; row + kFewRows <= end; row += kFewRows) add_weighted<kFewRows>(source, rows, row, u, sums, scratch, width);
  for (; row < end; ++row) add_weighted<1>(source, rows, row, u, sums, scratch, width);
}

// One over the sum of lanes.
HWY_INLINE float inverse_sum(F32 d, VF lanes) {
  HWY_ALIGN float parts[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(lanes, d, parts);
  double whole = 0;
  for (size_t lane = 0; lane < hn::Lanes(d); ++lane) whole += static_cast<double>(parts[lane]);
  return static_cast<float>(1.0 / whole);
}

// Codes are P u of a row divided by their sum: in runs of this many vectors, then over runs, so that a sample's codes sum to 1 within 1e-6 for
// thousands of prototypes.
constexpr int64_t kRunVectors = 16;

// Codes of kRows rows whose powers wait in their place.
template <int kRows>
HWY_INLINE void write_kept(const Rows<float>& codes, int64_t row, const float* u) {
  const F32 d;
  const int64_t n = codes.columns, run = kRunVectors * static_cast<int64_t>(hn::Lanes(d));
  float* at[kRows];
  VF total[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    at[r] = codes.row(row + r);
    total[r] = hn::Zero(d);
  }
  for (int64_t begin = 0; begin < n; begin += run) {
    VF sum[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sum[r] = hn::Zero(d);
    for_vectors(std::min(run, n - begin), [&](int64_t i, auto part) HWY_ATTR {
      const VF scaling = part.load(u + begin + i);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) sum[r] = hn::Add(sum[r], part.keep(hn::Mul(part.load(at[r] + begin + i), scaling)));
    });
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) total[r] = hn::Add(total[r], sum[r]);
  }
  VF scale[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) scale[r] = hn::Set(d, inverse_sum(d, total[r]));
  for_vectors_backwards(n, [&](int64_t i, auto part) HWY_ATTR {
    const VF scaling = part.load(u + i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) part.store(hn::Mul(hn::Mul(part.load(at[r] + i), scaling), scale[r]), at[r] + i);
  });
}

// One row of codes from scores; P u waits in scratch. `passing`: the row goes past the caches, where it would only push out what is read next.
HWY_INLINE void write_codes(const Powers& powers, const float* from, const float* next, const float* u, float* codes, int64_t n, float* scratch, bool passing) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), run = kRunVectors * lanes;
  VF total = hn::Zero(d);
  for (int64_t begin = 0; begin < n; begin += run) {
    VF sum = hn::Zero(d);
    for_vectors(std::min(run, n - begin), [&](int64_t at, auto part) HWY_ATTR {
      const int64_t i = begin + at;
      fetch_ahead<true>(next + i);
      const VF value = part.keep(hn::Mul(powers(d, part.load(from + i)), part.load(u + i)));
      part.store(value, scratch + i);
      sum = hn::Add(sum, value);
    });
    total = hn::Add(total, sum);
  }
  const VF scale = hn::Set(d, inverse_sum(d, total));
  int64_t i = 0;
  if (passing) {
    const int64_t bytes = lanes * static_cast<int64_t>(sizeof(float));
    const int64_t over = static_cast<int64_t>(reinterpret_cast<uintptr_t>(codes)) % bytes;
    const int64_t head = over == 0 ? 0 : std::min(n, (bytes - over) / static_cast<int64_t>(sizeof(float)));
    if (head > 0) store_tail(hn::Mul(load_tail(d, scratch, head), scale), d, codes, head);
    for (i = head; i + lanes <= n; i += lanes) hn::Stream(hn::Mul(hn::LoadU(d, scratch + i), scale), d, codes + i);
  }
  for_vectors(n - i, [&](int64_t at, auto part) HWY_ATTR { part.store(hn::Mul(part.load(scratch + i + at), scale), codes + i + at); });
}

}  // namespace sinkhorn_sweep
}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#endif

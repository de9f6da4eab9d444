// SPDX-License-Identifier: Apache-2.0
#include "kernels/sinkhorn/sinkhorn.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sinkhorn/sinkhorn.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

#ifndef GATUN_SINKHORN_PARTS_
#define GATUN_SINKHORN_PARTS_
namespace gatun {

// Samples are cut into parts by their number alone; each part has its own partial sums, which are added in order.
struct SinkhornParts {
  static constexpr int64_t kMost = 64;
  static constexpr int64_t kFewestRows = 32;
  int64_t rows;   // of a part
  int64_t count;  // of parts
  int64_t width;  // prototypes, rounded up to whole cache lines
  SinkhornParts(int64_t samples, int64_t prototypes) {
    rows = std::max(kFewestRows, chunk_count(samples, kMost));
    count = chunk_count(samples, rows);
    width = chunk_count(prototypes, 16) * 16;
  }
};

}  // namespace gatun
#endif

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

// e^x for -80 <= x <= 1: what lies outside need not be looked at.
HWY_INLINE VF exp_inside(F32 d, VF x) {
  const I32 di;
  const VF n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  VF r = hn::NegMulAdd(n, hn::Set(d, 0.693145752f), x);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);
  VF p = hn::Set(d, 1.99178270e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.39460748e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.33326578e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16662693e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.66666672e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
  const auto exponent = hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127));
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(exponent)));
}

struct Exponential {
  float maximum;
  float inverse;
  HWY_INLINE VF operator()(F32 d, VF s) const {
    return exp_inside(d, hn::Mul(hn::Sub(s, hn::Set(d, maximum)), hn::Set(d, inverse)));
  }
};

// p = P of a row, returns the sum of P u
HWY_INLINE float weigh(const Exponential& e, const float* HWY_RESTRICT scores, const float* HWY_RESTRICT u, float* HWY_RESTRICT p, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VF first = hn::Zero(d);
  VF second = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const VF a = e(d, hn::LoadU(d, scores + i));
    const VF b = e(d, hn::LoadU(d, scores + i + lanes));
    hn::StoreU(a, d, p + i);
    hn::StoreU(b, d, p + i + lanes);
    first = hn::MulAdd(a, hn::LoadU(d, u + i), first);
    second = hn::MulAdd(b, hn::LoadU(d, u + i + lanes), second);
  }
  for (; i + lanes <= n; i += lanes) {
    const VF a = e(d, hn::LoadU(d, scores + i));
    hn::StoreU(a, d, p + i);
    first = hn::MulAdd(a, hn::LoadU(d, u + i), first);
  }
  if (i < n) {
    store_tail(e(d, load_tail(d, scores + i, n - i)), d, p + i, n - i);
    // Loaded again: behind the row's end there are zeros now, not whatever the exponential made of them.
    second = hn::MulAdd(load_tail(d, p + i, n - i), load_tail(d, u + i, n - i), second);
  }
  return sum_lanes(d, hn::Add(first, second));
}

// Sums over the rows of one part: sums[k] = Σ v P, v = 1 / Σ P u, or 1 in the first sweep (u is null).
void sum_part(Rows<const float> scores, int64_t begin, int64_t end, const Exponential& e, const float* u, float* sums, float* p) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t n = scores.columns;
  std::fill_n(sums, n, 0.0f);
  for (int64_t row = begin; row < end; ++row) {
    const float* s = scores.row(row);
    if (u == nullptr) {
      int64_t i = 0;
      for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Add(hn::LoadU(d, sums + i), e(d, hn::LoadU(d, s + i))), d, sums + i);
      if (i < n) store_tail(hn::Add(load_tail(d, sums + i, n - i), e(d, load_tail(d, s + i, n - i))), d, sums + i, n - i);
      continue;
    }
    const VF v = hn::Set(d, 1.0f / weigh(e, s, u, p, n));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::MulAdd(hn::LoadU(d, p + i), v, hn::LoadU(d, sums + i)), d, sums + i);
    if (i < n) store_tail(hn::MulAdd(load_tail(d, p + i, n - i), v, load_tail(d, sums + i, n - i)), d, sums + i, n - i);
  }
}

void sums(int threads, Rows<const float> scores, float maximum, float inverse, const float* u, float* result, float* workspace) {
  const SinkhornParts parts(scores.rows, scores.columns);
  const Exponential e{maximum, inverse};
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t part = 0; part < parts.count; ++part) {
    float* own = workspace + 2 * part * parts.width;
    const int64_t begin = part * parts.rows;
    sum_part(scores, begin, std::min(begin + parts.rows, scores.rows), e, u, own, own + parts.width);
  }
  for (int64_t k = 0; k < scores.columns; ++k) {
    double sum = 0;
    for (int64_t part = 0; part < parts.count; ++part) sum += static_cast<double>(workspace[2 * part * parts.width + k]);
    result[k] = static_cast<float>(sum);
  }
}

void finish(int threads, Rows<const float> scores, float maximum, float inverse, const float* u, Rows<float> codes) {
  const int64_t skipped = scores.rows - codes.rows;
  const Exponential e{maximum, inverse};
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t row = 0; row < codes.rows; ++row) {
    const F32 d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t n = scores.columns;
    const float* s = scores.row(skipped + row);
    float* q = codes.row(row);
    // Summed in short runs, so that a sample's codes sum to 1 within 1e-6 for thousands of prototypes.
    const int64_t run = std::max<int64_t>(64, 16 * lanes);
    double total = 0;
    int64_t i = 0;
    while (i + lanes <= n) {
      VF sum = hn::Zero(d);
      for (const int64_t stop = std::min(i + run, n - lanes + 1); i < stop; i += lanes) {
        const VF value = hn::Mul(e(d, hn::LoadU(d, s + i)), hn::LoadU(d, u + i));
        sum = hn::Add(sum, value);
        hn::StoreU(value, d, q + i);
      }
      total += static_cast<double>(sum_lanes(d, sum));
    }
    if (i < n) {
      store_tail(hn::Mul(e(d, load_tail(d, s + i, n - i)), load_tail(d, u + i, n - i)), d, q + i, n - i);
      total += static_cast<double>(sum_lanes(d, load_tail(d, q + i, n - i)));
    }
    const VF scale = hn::Set(d, static_cast<float>(1.0 / total));
    for (i = 0; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, q + i), scale), d, q + i);
    if (i < n) store_tail(hn::Mul(load_tail(d, q + i, n - i), scale), d, q + i, n - i);
  }
}

// Range of one part's rows; both bounds NaN where a score is not finite.
void range_part(Rows<const float> scores, int64_t begin, int64_t end, SinkhornRange* result) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t n = scores.columns;
  VF low = hn::Set(d, std::numeric_limits<float>::infinity());
  VF high = hn::Set(d, -std::numeric_limits<float>::infinity());
  // 0 * x is NaN for infinities and NaN, which Min and Max may drop.
  VF check = hn::Zero(d);
  const VF zero = hn::Zero(d);
  float tail_low = std::numeric_limits<float>::infinity(), tail_high = -tail_low, tail_check = 0;
  for (int64_t row = begin; row < end; ++row) {
    const float* s = scores.row(row);
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      const VF x = hn::LoadU(d, s + i);
      low = hn::Min(low, x);
      high = hn::Max(high, x);
      check = hn::MulAdd(x, zero, check);
    }
    for (; i < n; ++i) {
      tail_low = std::min(tail_low, s[i]);
      tail_high = std::max(tail_high, s[i]);
      tail_check += 0.0f * s[i];
    }
  }
  result->minimum = std::min(tail_low, hn::GetLane(hn::MinOfLanes(d, low)));
  result->maximum = std::max(tail_high, max_lanes(d, high));
  if (std::isnan(tail_check + sum_lanes(d, check))) result->minimum = result->maximum = std::numeric_limits<float>::quiet_NaN();
}

void range(int threads, Rows<const float> scores, SinkhornRange* parts_range) {
  const SinkhornParts parts(scores.rows, scores.columns);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t part = 0; part < parts.count; ++part) {
    const int64_t begin = part * parts.rows;
    range_part(scores, begin, std::min(begin + parts.rows, scores.rows), parts_range + part);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

namespace {

// The workspace of a sweep: u, sums of the one-call form, then two vectors a part. The wide form puts its f64 vectors in the same bytes.
float* scaling_of(void* workspace) { return static_cast<float*>(workspace); }
float* sums_of(void* workspace, int64_t width) { return scaling_of(workspace) + width; }
float* parts_of(void* workspace, int64_t width) { return scaling_of(workspace) + 2 * width; }

void invert(const float* sums, float* u, int64_t count) {
  for (int64_t k = 0; k < count; ++k) u[k] = 1.0f / sums[k];
}

bool finite(SinkhornRange range) { return !std::isnan(range.minimum) && !std::isnan(range.maximum); }

// For scores of any spread.
void wide(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, void* workspace) {
  // Logarithms of u and v. Finite f32 scores over a positive f32 epsilon are finite in f64, and so is every sum of a few of them.
  double* log_u = static_cast<double*>(workspace);
  double* log_v = log_u + scores.columns;
  const double inverse = 1.0 / static_cast<double>(epsilon);
  const int threads = stream.threads();
  std::fill_n(log_v, scores.rows, 0.0);
  constexpr int64_t kColumns = 16;
  for (int iteration = 0; iteration < iterations; ++iteration) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < scores.columns; first += kColumns) {
      const int64_t count = std::min(kColumns, scores.columns - first);
      double largest[kColumns], sum[kColumns];
      for (int64_t k = 0; k < count; ++k) largest[k] = -std::numeric_limits<double>::infinity(), sum[k] = 0;
      for (int64_t b = 0; b < scores.rows; ++b) {
        for (int64_t k = 0; k < count; ++k) {
          largest[k] = std::max(largest[k], static_cast<double>(scores.row(b)[first + k]) * inverse + log_v[b]);
        }
      }
      for (int64_t b = 0; b < scores.rows; ++b) {
        for (int64_t k = 0; k < count; ++k) {
          sum[k] += std::exp(static_cast<double>(scores.row(b)[first + k]) * inverse + log_v[b] - largest[k]);
        }
      }
      for (int64_t k = 0; k < count; ++k) log_u[first + k] = -largest[k] - std::log(sum[k]);
    }
    if (iteration == iterations - 1) break;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t b = 0; b < scores.rows; ++b) {
      const float* s = scores.row(b);
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (int64_t k = 0; k < scores.columns; ++k) largest = std::max(largest, static_cast<double>(s[k]) * inverse + log_u[k]);
      for (int64_t k = 0; k < scores.columns; ++k) sum += std::exp(static_cast<double>(s[k]) * inverse + log_u[k] - largest);
      log_v[b] = -largest - std::log(sum);
    }
  }
  const int64_t skipped = scores.rows - codes.rows;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t b = 0; b < codes.rows; ++b) {
    const float* s = scores.row(skipped + b);
    float* q = codes.row(b);
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t k = 0; k < scores.columns; ++k) largest = std::max(largest, static_cast<double>(s[k]) * inverse + log_u[k]);
    for (int64_t k = 0; k < scores.columns; ++k) sum += std::exp(static_cast<double>(s[k]) * inverse + log_u[k] - largest);
    for (int64_t k = 0; k < scores.columns; ++k) {
      q[k] = static_cast<float>(std::exp(static_cast<double>(s[k]) * inverse + log_u[k] - largest) / sum);
    }
  }
}

void fill(Rows<float> codes, float value) {
  for (int64_t row = 0; row < codes.rows; ++row) std::fill_n(codes.row(row), codes.columns, value);
}

}  // namespace

size_t sinkhorn_workspace(int64_t samples, int64_t prototypes) {
  const SinkhornParts parts(samples, prototypes);
  const size_t sweep = static_cast<size_t>((2 + 2 * parts.count) * parts.width) * sizeof(float) +
                       static_cast<size_t>(parts.count) * sizeof(SinkhornRange);
  return std::max(sweep, static_cast<size_t>(samples + prototypes) * sizeof(double));
}

void sinkhorn_range(const Stream& stream, Rows<const float> scores, SinkhornRange* range, void* workspace) {
  SinkhornRange* ranges = static_cast<SinkhornRange*>(workspace);
  const int64_t count = SinkhornParts(scores.rows, scores.columns).count;
  GATUN_DISPATCH(range)(stream.threads(), scores, ranges);
  SinkhornRange result{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (int64_t part = 0; part < count && finite(result); ++part) {
    if (finite(ranges[part])) {
      result.minimum = std::min(result.minimum, ranges[part].minimum);
      result.maximum = std::max(result.maximum, ranges[part].maximum);
    } else {
      result = ranges[part];
    }
  }
  *range = result;
}

void sinkhorn_sums(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* previous, float* sums,
                   void* workspace) {
  if (!finite(*range)) {
    std::fill_n(sums, scores.columns, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const int64_t width = SinkhornParts(scores.rows, scores.columns).width;
  float* u = nullptr;
  if (previous != nullptr) {
    u = scaling_of(workspace);
    invert(previous, u, scores.columns);
  }
  GATUN_DISPATCH(sums)(stream.threads(), scores, range->maximum, 1.0f / epsilon, u, sums, parts_of(workspace, width));
}

void sinkhorn_finish(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* sums,
                     Rows<float> codes, void* workspace) {
  if (!finite(*range)) {
    fill(codes, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  float* u = scaling_of(workspace);
  invert(sums, u, scores.columns);
  GATUN_DISPATCH(finish)(stream.threads(), scores, range->maximum, 1.0f / epsilon, u, codes);
}

void sinkhorn(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, void* workspace) {
  if (scores.rows == 0 || scores.columns == 0) return;
  SinkhornRange range;
  sinkhorn_range(stream, scores, &range, workspace);
  if ((static_cast<double>(range.maximum) - static_cast<double>(range.minimum)) / static_cast<double>(epsilon) > kSinkhornSpread) {
    wide(stream, scores, epsilon, iterations, codes, workspace);
    return;
  }
  float* sums = sums_of(workspace, SinkhornParts(scores.rows, scores.columns).width);
  for (int iteration = 0; iteration < iterations; ++iteration) {
    sinkhorn_sums(stream, scores, &range, epsilon, iteration == 0 ? nullptr : sums, sums, workspace);
  }
  sinkhorn_finish(stream, scores, &range, epsilon, sums, codes, workspace);
}

}  // namespace gatun
#endif

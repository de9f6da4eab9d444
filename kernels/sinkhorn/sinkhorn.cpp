// SPDX-License-Identifier: Apache-2.0
#include "kernels/sinkhorn/sinkhorn.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/cache_control.h"
#include "kernels/common/isa.h"
#include "kernels/common/spin_barrier.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sinkhorn/sinkhorn.cpp"
#include "hwy/foreach_target.h"
#include "kernels/sinkhorn/sinkhorn_sweep-inl.h"

#ifndef GATUN_SINKHORN_PARTS_
#define GATUN_SINKHORN_PARTS_
namespace gatun {

// Samples are cut into parts by the shape alone; each part has its own partial sums, which are added in order.
struct SinkhornParts {
  static constexpr int64_t kMost = 64;
  static constexpr int64_t kFewestRows = 16, kFewestElements = 131072;
  int64_t rows;   // of a part
  int64_t count;  // of parts
  int64_t width;  // prototypes, rounded up to whole cache lines
  SinkhornParts(int64_t samples, int64_t prototypes) {
    count = kMost;
    while (count > 1 && (samples < kFewestRows * count || samples * prototypes < kFewestElements * count)) count /= 2;
    rows = std::max<int64_t>(1, chunk_count(samples, count));
    count = chunk_count(samples, rows);
    width = chunk_count(prototypes, 16) * 16;
  }
};

// The workspace of sweeps: u, the sums of the one-call form, the sums of each part, a few rows for each thread (no more threads than parts), the range of
// each part. The wide form puts its f64 vectors in the same bytes.
struct SinkhornMemory {
  static constexpr int64_t kScratchRows = 4;
  float *u, *sums, *partial, *scratch;
  SinkhornRange* ranges;
  SinkhornMemory(const SinkhornParts& parts, void* workspace)
      : u(static_cast<float*>(workspace)),
        sums(u + parts.width),
        partial(sums + parts.width),
        scratch(partial + parts.count * parts.width),
        ranges(reinterpret_cast<SinkhornRange*>(scratch + parts.count * kScratchRows * parts.width)) {}
  static size_t bytes(const SinkhornParts& parts) {
    return static_cast<size_t>((2 + (1 + kScratchRows) * parts.count) * parts.width) * sizeof(float) +
           static_cast<size_t>(parts.count) * sizeof(SinkhornRange);
  }
};

inline bool finite(SinkhornRange range) { return !std::isnan(range.minimum) && !std::isnan(range.maximum); }

inline SinkhornRange join(const SinkhornRange* ranges, int64_t count) {
  SinkhornRange result{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (int64_t part = 0; part < count; ++part) {
    if (!finite(ranges[part])) return ranges[part];
    result.minimum = std::min(result.minimum, ranges[part].minimum);
    result.maximum = std::max(result.maximum, ranges[part].maximum);
  }
  return result;
}

inline double distance(float high, float low, float epsilon) {
  return (static_cast<double>(high) - static_cast<double>(low)) / static_cast<double>(epsilon);
}

// Powers are taken relative to the largest score of the first sample until the range is known: the first sweep finds both. What a score may be
// above it, in epsilon, without more than the first sums growing: beyond it the first sweep is made again.
constexpr double kSinkhornAbove = 16;

// Powers of this many bytes stay in caches and are kept where the codes will be; beyond it, recomputing them costs less than writing them.
constexpr int64_t kSinkhornKept = int64_t{8} << 20;

}  // namespace gatun
#endif

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace sinkhorn_sweep;  // NOLINT

// The parts of a thread, in turn forwards and backwards: a sweep begins with what the sweep before has left in the caches.
template <class F>
HWY_INLINE void for_parts(const SinkhornParts& parts, bool backwards, F&& f) {
  const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
  const int64_t begin = parts.count * thread / threads, end = parts.count * (thread + 1) / threads;
  for (int64_t i = begin; i < end; ++i) f(backwards ? begin + end - 1 - i : i);
}

HWY_INLINE int64_t part_end(const SinkhornParts& parts, int64_t part, int64_t rows) { return std::min(rows, (part + 1) * parts.rows); }

HWY_INLINE float* scratch_of(const SinkhornMemory& memory, const SinkhornParts& parts) {
  return memory.scratch + omp_get_thread_num() * SinkhornMemory::kScratchRows * parts.width;
}

template <bool kKeep>
void first_sweep(const SinkhornParts& parts, const Rows<const float>& scores, const Powers& powers, const Rows<float>& kept, const SinkhornMemory& memory) {
  for_parts(parts, false, [&](int64_t part) HWY_ATTR {
    const F32 d;
    float* own = memory.partial + part * parts.width;
    std::fill_n(own, parts.width, 0.0f);
    Bounds bounds{hn::Inf(d), hn::Neg(hn::Inf(d))};
    int64_t row = part * parts.rows;
    const int64_t end = part_end(parts, part, scores.rows);
    constexpr int kRows = kKeep ? kManyRows : kFewRows;
    for (; row + kRows <= end; row += kRows) add_powers<kKeep, kRows>(powers, scores, row, kept, own, bounds);
    for (; row < end; ++row) add_powers<kKeep, 1>(powers, scores, row, kept, own, bounds);
    const float low = hn::GetLane(hn::MinOfLanes(d, bounds.low)), high = max_lanes(d, bounds.high);
    // A NaN that both pass over is in the sums, and from there in every code.
    memory.ranges[part] = {std::isfinite(low) && std::isfinite(high) ? low : std::numeric_limits<float>::quiet_NaN(), high};
  });
}

template <class Source>
void later_sweep(const SinkhornParts& parts, bool backwards, const Rows<const float>& rows, const Source& source, const SinkhornMemory& memory) {
  for_parts(parts, backwards, [&](int64_t part) HWY_ATTR {
    float* own = memory.partial + part * parts.width;
    std::fill_n(own, parts.width, 0.0f);
    add_weighted_rows(source, rows, part * parts.rows, part_end(parts, part, rows.rows), memory.u, own, scratch_of(memory, parts), parts.width);
  });
}

// The thread's share of the prototypes: the sums of all parts, and the scalings that follow from them unless u is null.
void join_sums(const SinkhornParts& parts, const SinkhornMemory& memory, float* sums, float* u) {
  constexpr int64_t kBlock = 16;
  const int64_t blocks = parts.width / kBlock, thread = omp_get_thread_num(), threads = omp_get_num_threads();
  for (int64_t block = blocks * thread / threads; block < blocks * (thread + 1) / threads; ++block) {
    double total[kBlock] = {};
    const float* from = memory.partial + block * kBlock;
    for (int64_t part = 0; part < parts.count; ++part, from += parts.width) {
      for (int64_t k = 0; k < kBlock; ++k) total[k] += static_cast<double>(from[k]);
    }
    for (int64_t k = 0; k < kBlock; ++k) {
      const float sum = static_cast<float>(total[k]);
      if (sums != nullptr) sums[block * kBlock + k] = sum;
      if (u != nullptr) u[block * kBlock + k] = 1.0f / sum;
    }
  }
}

// From powers that wait where the codes will be.
void last_kept(const SinkhornParts& parts, bool backwards, const Rows<float>& codes, const SinkhornMemory& memory) {
  for_parts(parts, backwards, [&](int64_t part) HWY_ATTR {
    int64_t row = part * parts.rows;
    const int64_t end = part_end(parts, part, codes.rows);
    for (; row + kFewRows <= end; row += kFewRows) write_kept<kFewRows>(codes, row, memory.u);
    for (; row < end; ++row) write_kept<1>(codes, row, memory.u);
  });
}

// The codes of the last rows of the scores.
void last_sweep(const SinkhornParts& parts, bool backwards, const Rows<const float>& scores, const Powers& powers, const Rows<float>& codes, bool passing,
                const SinkhornMemory& memory) {
  float* scratch = scratch_of(memory, parts);
  const int64_t first = scores.rows - codes.rows;
  const auto write = [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      write_codes(powers, scores.row(first + row), following(scores, first + row, 1), memory.u, codes.row(row), codes.columns, scratch, passing);
    }
  };
  if (first == 0) {
    for_parts(parts, backwards, [&](int64_t part) HWY_ATTR { write(part * parts.rows, part_end(parts, part, codes.rows)); });
  } else {
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    write(codes.rows * thread / threads, codes.rows * (thread + 1) / threads);
  }
  if (passing) hwy::FlushStream();
}

int team_of(int threads, const SinkhornParts& parts) { return static_cast<int>(std::min<int64_t>(threads, parts.count)); }

// All of it, in one team of threads. Codes are only written where the range that it returns is finite and not too wide.
SinkhornRange in_one(int threads, const Rows<const float>& scores, float epsilon, int iterations, const Rows<float>& codes, const SinkhornMemory& memory) {
  const SinkhornParts parts(scores.rows, scores.columns);
  const float* const begin = scores.data;
  const float* const end = scores.row(scores.rows - 1) + scores.columns;
  const bool apart = codes.rows == 0 || codes.data >= end || codes.row(codes.rows - 1) + codes.columns <= begin;
  const int64_t bytes = scores.rows * scores.columns * static_cast<int64_t>(sizeof(float));
  const bool keep = apart && codes.rows == scores.rows && bytes <= kSinkhornKept;
  const bool passing = apart && bytes > kSinkhornKept;
  const Rows<const float> powers_kept(codes.data, {codes.rows, codes.columns, codes.stride});
  float offset = row_max(scores.row(0), scores.columns);
  SinkhornRange result;
  SpinBarrier barrier;
#pragma omp parallel num_threads(team_of(threads, parts))
  {
    Powers powers(offset, epsilon);
    const auto first = [&] {
      if (keep) first_sweep<true>(parts, scores, powers, codes, memory);
      else first_sweep<false>(parts, scores, powers, codes, memory);
    };
    first();
    barrier.wait();
    const SinkhornRange range = join(memory.ranges, parts.count);
    const bool possible = finite(range) && distance(range.maximum, range.minimum, epsilon) <= kSinkhornSpread;
    if (possible && distance(range.maximum, offset, epsilon) > kSinkhornAbove) {
      powers = Powers(range.maximum, epsilon);
      barrier.wait();
      first();
      barrier.wait();
    }
    for (int sweep = 1; possible && sweep <= iterations; ++sweep) {
      join_sums(parts, memory, nullptr, memory.u);
      barrier.wait();
      const bool backwards = sweep % 2 != 0;
      if (sweep == iterations) {
        if (keep) last_kept(parts, backwards, codes, memory);
        else last_sweep(parts, backwards, scores, powers, codes, passing, memory);
      } else {
        if (keep) later_sweep(parts, backwards, powers_kept, Kept{}, memory);
        else later_sweep(parts, backwards, scores, Recomputed{powers}, memory);
        barrier.wait();
      }
    }
#pragma omp master
    result = range;
  }
  return result;
}

void sums(int threads, const Rows<const float>& scores, float maximum, float epsilon, bool first, float* result, const SinkhornMemory& memory) {
  const SinkhornParts parts(scores.rows, scores.columns);
#pragma omp parallel num_threads(team_of(threads, parts))
  {
    const Powers powers(maximum, epsilon);
    if (first) first_sweep<false>(parts, scores, powers, {nullptr, {}}, memory);
    else later_sweep(parts, false, scores, Recomputed{powers}, memory);
#pragma omp barrier
    join_sums(parts, memory, memory.sums, nullptr);
  }
  std::copy_n(memory.sums, scores.columns, result);
}

void finish(int threads, const Rows<const float>& scores, float maximum, float epsilon, const Rows<float>& codes, const SinkhornMemory& memory) {
  const SinkhornParts parts(scores.rows, scores.columns);
#pragma omp parallel num_threads(team_of(threads, parts))
  last_sweep(parts, false, scores, Powers(maximum, epsilon), codes, false, memory);
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

void invert(const float* sums, float* u, int64_t count) {
  for (int64_t k = 0; k < count; ++k) u[k] = 1.0f / sums[k];
}

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
  return std::max(SinkhornMemory::bytes(SinkhornParts(samples, prototypes)), static_cast<size_t>(samples + prototypes) * sizeof(double));
}

void sinkhorn_range(const Stream& stream, Rows<const float> scores, SinkhornRange* range, void* workspace) {
  SinkhornRange* ranges = static_cast<SinkhornRange*>(workspace);
  GATUN_DISPATCH(range)(stream.threads(), scores, ranges);
  *range = join(ranges, SinkhornParts(scores.rows, scores.columns).count);
}

void sinkhorn_sums(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* previous, float* sums,
                   void* workspace) {
  if (!finite(*range)) {
    std::fill_n(sums, scores.columns, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const SinkhornMemory memory(SinkhornParts(scores.rows, scores.columns), workspace);
  if (scores.rows == 0) {
    std::fill_n(sums, scores.columns, 0.0f);
    return;
  }
  if (previous != nullptr) invert(previous, memory.u, scores.columns);
  GATUN_DISPATCH(sums)(stream.threads(), scores, range->maximum, epsilon, previous == nullptr, sums, memory);
}

void sinkhorn_finish(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* sums,
                     Rows<float> codes, void* workspace) {
  if (!finite(*range)) {
    fill(codes, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  if (codes.rows == 0) return;
  const SinkhornMemory memory(SinkhornParts(scores.rows, scores.columns), workspace);
  invert(sums, memory.u, scores.columns);
  GATUN_DISPATCH(finish)(stream.threads(), scores, range->maximum, epsilon, codes, memory);
}

void sinkhorn(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, void* workspace) {
  if (scores.rows == 0 || scores.columns == 0) return;
  const SinkhornMemory memory(SinkhornParts(scores.rows, scores.columns), workspace);
  SinkhornRange range = GATUN_DISPATCH(in_one)(stream.threads(), scores, epsilon, iterations, codes, memory);
  // A spread beyond all floats looks like an infinity there.
  if (!finite(range)) sinkhorn_range(stream, scores, &range, workspace);
  if (!finite(range)) fill(codes, std::numeric_limits<float>::quiet_NaN());
  else if (distance(range.maximum, range.minimum, epsilon) > kSinkhornSpread) wide(stream, scores, epsilon, iterations, codes, workspace);
}

}  // namespace gatun
#endif

// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduction/reduction.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduction/reduction.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kStrip = 512;

struct Sum {
  static constexpr double kStart = 0.0;
  static HWY_INLINE VF combine(VF a, VF b) { return hn::Add(a, b); }
  static HWY_INLINE double combine(double a, double b) { return a + b; }
  // Of n more elements, fewer than lanes.
  static HWY_INLINE VF combine_tail(VF a, const float* x, int64_t n) { return hn::Add(a, load_tail(F32(), x, n)); }
  static HWY_INLINE double lanes(VF v) {
#if HWY_TARGET == HWY_SCALAR
    return static_cast<double>(hn::GetLane(v));
#else
    // In f64, and in steps rather than lane by lane: short rows would wait for these additions alone.
    const hn::Half<F32> half;
    const hn::RepartitionToWide<F32> wide;
    return hn::GetLane(hn::SumOfLanes(wide, hn::Add(hn::PromoteTo(wide, hn::LowerHalf(half, v)), hn::PromoteTo(wide, hn::UpperHalf(half, v)))));
#endif
  }
};
struct Maximum {
  static constexpr double kStart = -std::numeric_limits<double>::infinity();
  static HWY_INLINE VF combine(VF a, VF b) { return maximum(a, b); }
  static HWY_INLINE double combine(double a, double b) { return std::isnan(a) || a > b ? a : b; }
  static HWY_INLINE VF combine_tail(VF a, const float* x, int64_t n) {
    const F32 d;
    return combine(a, hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(n)), load_tail(d, x, n), hn::Neg(hn::Inf(d))));
  }
  static HWY_INLINE double lanes(VF v) {
    const F32 d;
    HWY_ALIGN float parts[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(v, d, parts);
    double most = kStart;
    for (size_t lane = 0; lane < hn::Lanes(d); ++lane) most = combine(most, static_cast<double>(parts[lane]));
    return most;
  }
};

constexpr int64_t kRun = 2048;  // longest run of additions in f32; runs are added in f64

// n <= kRun neighbouring elements, in four independent sums that hide the latency of the addition.
template <class Op>
HWY_INLINE double reduce_run(const float* HWY_RESTRICT x, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VF start = hn::Set(d, static_cast<float>(Op::kStart));
  VF a0 = start, a1 = start, a2 = start, a3 = start;
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = Op::combine(a0, hn::LoadU(d, x + i));
    a1 = Op::combine(a1, hn::LoadU(d, x + i + lanes));
    a2 = Op::combine(a2, hn::LoadU(d, x + i + 2 * lanes));
    a3 = Op::combine(a3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = Op::combine(a0, hn::LoadU(d, x + i));
  if (i < n) a1 = Op::combine_tail(a1, x + i, n - i);
  return Op::lanes(Op::combine(Op::combine(a0, a1), Op::combine(a2, a3)));
}

HWY_INLINE void gather(const float* from, int64_t stride, int64_t n, float* HWY_RESTRICT to) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
}

// As reduce_run for elements `stride` apart.
template <class Op>
double reduce_strided(const float* x, int64_t stride, int64_t n) {
  double total = Op::kStart;
  if (stride == 1) {
    for (int64_t i = 0; i < n; i += kRun) total = Op::combine(total, reduce_run<Op>(x + i, std::min(kRun, n - i)));
    return total;
  }
  HWY_ALIGN float strip[kStrip];
  for (int64_t i = 0; i < n; i += kStrip) {
    const int64_t length = std::min(kStrip, n - i);
    gather(x + i * stride, stride, length, strip);
    total = Op::combine(total, reduce_run<Op>(strip, length));
  }
  return total;
}

// Rows of a matrix, each of which is one run: nothing to be found out row by row.
template <class Op>
void along_short_rows(int threads, const Reduction& plan, const float* x, float* y) {
  const int64_t n = plan.reduced.shape[0], outputs = plan.kept.shape[0], stride = plan.kept.stride[0][0], y_stride = plan.kept.stride[1][0];
  const double scale = plan.operation == GATUN_REDUCTION_MEAN ? static_cast<double>(n) : 1.0;
#pragma omp parallel for num_threads(threads_for(threads, n * outputs)) schedule(static)
  for (int64_t o = 0; o < outputs; ++o) y[o * y_stride] = static_cast<float>(Op::combine(Op::kStart, reduce_run<Op>(x + o * stride, n)) / scale);
}

template <class Op>
void along_rows(int threads, const Reduction& plan, const float* x, float* y, double* partial) {
  const int inner = plan.reduced.rank - 1;
  const int64_t n = plan.reduced.shape[inner], stride = plan.reduced.stride[0][inner];
  const int64_t count = plan.reduced.count(), outputs = plan.kept.count();
  const int64_t chunk = plan.chunk(), chunks = plan.chunks();
  const double scale = plan.operation == GATUN_REDUCTION_MEAN ? static_cast<double>(count) : 1.0;
#pragma omp parallel for num_threads(threads_for(threads, count * outputs)) schedule(static)
  for (int64_t task = 0; task < outputs * chunks; ++task) {
    const Position<2> output(plan.kept, 0, task / chunks);
    int64_t from = task % chunks * chunk;
    const int64_t to = std::min(count, from + chunk);
    double total = Op::kStart;
    Position<1> row(plan.reduced, 1, n > 0 ? from / n : 0);
    while (from < to) {
      const int64_t column = from % n;
      const int64_t length = std::min(n - column, to - from);
      total = Op::combine(total, reduce_strided<Op>(x + output.at[0] + row.at[0] + column * stride, stride, length));
      from += length;
      row.next();
    }
    if (chunks == 1) {
      y[output.at[1]] = static_cast<float>(total / scale);
    } else {
      partial[task] = total;
    }
  }
  if (chunks == 1) return;
  for (int64_t o = 0; o < outputs; ++o) {
    double total = Op::kStart;
    for (int64_t c = 0; c < chunks; ++c) total = Op::combine(total, partial[o * chunks + c]);
    y[Position<2>(plan.kept, 0, o).at[1]] = static_cast<float>(total / scale);
  }
}

// sums[c] = sums[c] + x[c] over `width` columns; four rows at a time halve the depth of the additions and the traffic of sums.
template <class Op>
HWY_INLINE void add_rows(const float* r0, const float* r1, const float* r2, const float* r3, float* HWY_RESTRICT sums, int64_t width) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= width; c += lanes) {
    const VF pairs = Op::combine(Op::combine(hn::LoadU(d, r0 + c), hn::LoadU(d, r1 + c)),
                                 Op::combine(hn::LoadU(d, r2 + c), hn::LoadU(d, r3 + c)));
    hn::StoreU(Op::combine(hn::LoadU(d, sums + c), pairs), d, sums + c);
  }
  if (c < width) {
    const int64_t n = width - c;
    const VF pairs = Op::combine(Op::combine(load_tail(d, r0 + c, n), load_tail(d, r1 + c, n)),
                                 Op::combine(load_tail(d, r2 + c, n), load_tail(d, r3 + c, n)));
    store_tail(Op::combine(load_tail(d, sums + c, n), pairs), d, sums + c, n);
  }
}

template <class Op>
HWY_INLINE void add_row(const float* r0, float* HWY_RESTRICT sums, int64_t width) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= width; c += lanes) hn::StoreU(Op::combine(hn::LoadU(d, sums + c), hn::LoadU(d, r0 + c)), d, sums + c);
  if (c < width) store_tail(Op::combine(load_tail(d, sums + c, width - c), load_tail(d, r0 + c, width - c)), d, sums + c, width - c);
}

template <class Op>
void along_columns(int threads, const Reduction& plan, const float* x, float* y, float* partial) {
  const int inner = plan.kept.rank - 1;
  const int64_t width = plan.kept.shape[inner], stride = plan.kept.stride[0][inner], y_stride = plan.kept.stride[1][inner];
  const int64_t rows = plan.reduced.count(), outputs = plan.kept.count();
  if (outputs == 0) return;
  const int64_t chunk = plan.chunk(), chunks = plan.chunks();
  const int64_t blocks = chunk_count(width, kStrip);
  const int64_t matrices = outputs / width;
  const float scale = plan.operation == GATUN_REDUCTION_MEAN ? static_cast<float>(rows) : 1.0f;
  const int team = threads_for(threads, rows * outputs);
#pragma omp parallel for num_threads(team) schedule(static)
  for (int64_t task = 0; task < matrices * blocks * chunks; ++task) {
    HWY_ALIGN float sums[kStrip], strip[kStrip];
    const int64_t matrix = task / (blocks * chunks);
    const int64_t first = task / chunks % blocks * kStrip;
    const int64_t length = std::min(kStrip, width - first);
    const Position<2> output(plan.kept, 1, matrix);
    std::fill_n(sums, length, static_cast<float>(Op::kStart));
    const float* base = x + output.at[0] + first * stride;
    int64_t row = task % chunks * chunk;
    const int64_t last = std::min(rows, row + chunk);
    const bool even = plan.reduced.rank == 1;
    if (stride == 1 && even) {
      const int64_t step = plan.reduced.stride[0][0];
      for (; row + 4 <= last; row += 4) {
        const float* r = base + row * step;
        add_rows<Op>(r, r + step, r + 2 * step, r + 3 * step, sums, length);
      }
    }
    Position<1> at(plan.reduced, 0, row);
    if (stride == 1 && !even) {
      for (; row + 4 <= last; row += 4) {
        const float* r[4];
        for (int k = 0; k < 4; ++k, at.next()) r[k] = base + at.at[0];
        add_rows<Op>(r[0], r[1], r[2], r[3], sums, length);
      }
    }
    for (; row < last; ++row, at.next()) {
      const float* r0 = base + at.at[0];
      if (stride != 1) {
        gather(r0, stride, length, strip);
        r0 = strip;
      }
      add_row<Op>(r0, sums, length);
    }
    if (chunks == 1) {
      float* out = y + output.at[1] + first * y_stride;
      for (int64_t c = 0; c < length; ++c) out[c * y_stride] = sums[c] / scale;
    } else {
      std::copy_n(sums, length, partial + (task % chunks) * outputs + matrix * width + first);
    }
  }
  if (chunks == 1) return;
#pragma omp parallel for num_threads(team) schedule(static)
  for (int64_t o = 0; o < outputs; ++o) {
    double total = Op::kStart;
    for (int64_t c = 0; c < chunks; ++c) total = Op::combine(total, static_cast<double>(partial[c * outputs + o]));
    y[Position<2>(plan.kept, 0, o).at[1]] = static_cast<float>(total / scale);
  }
}

template <class Op>
void reduce(int threads, const Reduction& plan, const float* x, float* y, void* workspace) {
  const bool matrix = plan.reduced.rank == 1 && plan.kept.rank == 1;
  if (plan.along_rows() && matrix && plan.reduced.stride[0][0] == 1 && plan.reduced.shape[0] <= kRun) {
    along_short_rows<Op>(threads, plan, x, y);
  } else if (plan.along_rows()) {
    along_rows<Op>(threads, plan, x, y, static_cast<double*>(workspace));
  } else {
    along_columns<Op>(threads, plan, x, y, static_cast<float*>(workspace));
  }
}

void dispatch(int threads, const Reduction& plan, const float* x, float* y, void* workspace) {
  if (plan.operation == GATUN_REDUCTION_MAXIMUM) {
    reduce<Maximum>(threads, plan, x, y, workspace);
  } else {
    reduce<Sum>(threads, plan, x, y, workspace);
  }
}

int64_t nonfinite_run(const float* x, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t count = 0;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) count += lanes - static_cast<int64_t>(hn::CountTrue(d, hn::IsFinite(hn::LoadU(d, x + i))));
  for (; i < n; ++i) count += !std::isfinite(x[i]);
  return count;
}

int64_t count_nonfinite(int threads, const Loops<1>& loops, const float* x) {
  constexpr int64_t kTask = 16384;
  const int inner = loops.rank - 1;
  const int64_t n = loops.shape[inner], stride = loops.stride[0][inner];
  if (loops.count() == 0) return 0;
  const int64_t blocks = chunk_count(n, kTask);
  int64_t count = 0;
#pragma omp parallel for num_threads(threads_for(threads, loops.count())) schedule(static) reduction(+ : count)
  for (int64_t task = 0; task < loops.count() / n * blocks; ++task) {
    HWY_ALIGN float strip[kStrip];
    const float* row = x + Position<1>(loops, 1, task / blocks).at[0];
    const int64_t from = task % blocks * kTask;
    const int64_t to = std::min(n, from + kTask);
    if (stride == 1) {
      count += nonfinite_run(row + from, to - from);
      continue;
    }
    for (int64_t i = from; i < to; i += kStrip) {
      const int64_t length = std::min(kStrip, to - i);
      gather(row + i * stride, stride, length, strip);
      count += nonfinite_run(strip, length);
    }
  }
  return count;
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

int64_t Reduction::chunk() const {
  if (along_rows()) return 8192;
  // At most 64 partial sums a column, so that the workspace stays small beside x.
  return std::max<int64_t>(64, chunk_count(reduced.count(), 64));
}

int64_t Reduction::chunks() const { return std::max<int64_t>(1, chunk_count(reduced.count(), chunk())); }

size_t Reduction::workspace_bytes() const {
  if (chunks() == 1) return 0;
  return static_cast<size_t>(chunks() * kept.count()) * (along_rows() ? sizeof(double) : sizeof(float));
}

template <>
void reduction<float>(const Stream& stream, const Reduction& plan, const float* x, void* y, void* workspace) {
  GATUN_DISPATCH(dispatch)(stream.threads(), plan, x, static_cast<float*>(y), workspace);
}

template <>
void reduction_count_nonfinite<float>(const Stream& stream, const Loops<1>& loops, const float* x, int32_t* count) {
  const int64_t found = GATUN_DISPATCH(count_nonfinite)(stream.threads(), loops, x);
  *count = static_cast<int32_t>(std::min<int64_t>(found, std::numeric_limits<int32_t>::max()));
}

}  // namespace gatun
#endif

// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels of Sinkhorn's iteration share: how samples are cut into parts, the exponential, reductions.
#pragma once

#include <algorithm>
#include <cfloat>

#include "kernels/common/cuda.h"
#include "kernels/sinkhorn/sinkhorn.h"

namespace gatun::sinkhorn_cuda {

// Samples are cut into parts by their number alone; each has partial sums of its own, which are added in order. No more parts than run
// at once: two blocks on each of an H200's 132 processors.
struct Parts {
  static constexpr int64_t kMost = 264;
  static constexpr int64_t kFewestRows = 16;  // partial sums are a sixteenth of the scores at most
  int64_t samples, prototypes;
  int64_t rows;   // of a part
  int64_t count;  // of parts
  int64_t width;  // prototypes, rounded up to whole cache lines
  Parts(int64_t samples, int64_t prototypes) : samples(samples), prototypes(prototypes) {
    rows = std::max(kFewestRows, chunk_count(samples, kMost));
    count = chunk_count(samples, rows);
    width = chunk_count(prototypes, 32) * 32;
  }
};

// e^((s - maximum) / epsilon), relative error about 2^-22: 2^x with x = n + r, where r comes from log2(e) / epsilon in two floats, so that
// the error does not grow with x. Right for x in [-126, 1]; garbage, but no fault, elsewhere.
struct Scale {
  float factor, rest;
  explicit Scale(float epsilon) {
    const double exact = std::min(1.4426950408889634 / static_cast<double>(epsilon), static_cast<double>(FLT_MAX));
    factor = static_cast<float>(exact);
    rest = static_cast<float>(exact - static_cast<double>(factor));
  }
  __device__ __forceinline__ float power(float difference) const {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const float shifted = __fmaf_rn(difference, factor, kRound), n = shifted - kRound;
    const float r = __fmaf_rn(difference, rest, __fmaf_rn(difference, factor, -n));
    return __uint_as_float(__float_as_uint(exp2_approximate(r)) + (__float_as_uint(shifted) << 23));
  }
};

struct View {
  const float* data;
  int64_t stride;
  int64_t rows, columns;
  bool vector;  // whether rows can be read 16 bytes at a time
};
inline View view(Rows<const float> rows) { return {rows.data, rows.stride, rows.rows, rows.columns, vectors(rows.data, rows.columns, rows.stride)}; }

// Four neighbouring elements of a row, `filler` where there are none.
__device__ __forceinline__ float4 load_four(const View& scores, int64_t row, int64_t column, bool inside, float filler) {
  const float* s = scores.data + row * scores.stride + column;
  float4 v = make_float4(filler, filler, filler, filler);
  if (!inside || column >= scores.columns) return v;
  if (scores.vector) return *reinterpret_cast<const float4*>(s);
  v.x = s[0];
  if (column + 1 < scores.columns) v.y = s[1];
  if (column + 2 < scores.columns) v.z = s[2];
  if (column + 3 < scores.columns) v.w = s[3];
  return v;
}

// Smallest and largest of what a thread has seen, and whether something was not finite: 0 * x is NaN then, which min and max drop.
struct Extremes {
  float low, high, check;
  __device__ __forceinline__ static Extremes of(float first) { return {first, first, 0.0f * first}; }
  __device__ __forceinline__ void add(float x) {
    low = fminf(low, x);
    high = fmaxf(high, x);
    check = __fmaf_rn(0.0f, x, check);
  }
  __device__ __forceinline__ void join(const Extremes& other) {
    low = fminf(low, other.low);
    high = fmaxf(high, other.high);
    check += other.check;
  }
  // As the range is kept in memory: both bounds NaN when something was not finite.
  __device__ __forceinline__ SinkhornRange range() const {
    return check == 0.0f ? SinkhornRange{low, high} : SinkhornRange{check, check};
  }
};

// All threads call it and receive the same. `shared`: one element a warp.
template <int Threads>
__device__ __forceinline__ Extremes block_extremes(Extremes own, Extremes* shared) {
  for (int offset = 16; offset > 0; offset /= 2) {
    Extremes other = own;
    other.low = __shfl_xor_sync(kFullMask, own.low, offset);
    other.high = __shfl_xor_sync(kFullMask, own.high, offset);
    other.check = __shfl_xor_sync(kFullMask, own.check, offset);
    own.join(other);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  __syncthreads();
  Extremes all = shared[0];
  for (int warp = 1; warp < Threads / 32; ++warp) all.join(shared[warp]);
  __syncthreads();
  return all;
}

// The range of all parts, by all threads of a block.
template <int Threads>
__device__ __forceinline__ SinkhornRange join_ranges(const SinkhornRange* ranges, int64_t count, Extremes* shared) {
  Extremes own{INFINITY, -INFINITY, 0.0f};
  for (int64_t part = threadIdx.x; part < count; part += Threads) {
    const SinkhornRange r = ranges[part];
    own.low = fminf(own.low, r.minimum);
    own.high = fmaxf(own.high, r.maximum);
    own.check = __fmaf_rn(0.0f, r.maximum, own.check);
  }
  return block_extremes<Threads>(own, shared).range();
}

__device__ __forceinline__ bool wide(const SinkhornRange& range, float epsilon) {
  return (static_cast<double>(range.maximum) - static_cast<double>(range.minimum)) / static_cast<double>(epsilon) > kSinkhornSpread;
}
__device__ __forceinline__ bool usable(const SinkhornRange& range, float epsilon) {
  return range.minimum == range.minimum && range.maximum == range.maximum && !wide(range, epsilon);  // NaN is not itself
}

constexpr int64_t kMostHeld = 16384;  // prototypes that a block can hold a row of
constexpr int64_t kChipBlocks = 132;

// What the calls keep in the workspace.
struct Workspace {
  Parts parts;
  float *sums, *row_scaling, *partial;
  SinkhornRange *range, *ranges;
  double* logarithms;  // of the wide form: prototypes, then samples
  unsigned* arrived;   // of grid_barrier
  size_t bytes;
  Workspace(void* memory, int64_t samples, int64_t prototypes) : parts(samples, prototypes) {
    Carve carve(static_cast<unsigned char*>(memory));
    const size_t most = static_cast<size_t>(std::max(parts.count, std::min(samples, kChipBlocks)));
    sums = carve.take<float>(static_cast<size_t>(parts.width));
    row_scaling = carve.take<float>(static_cast<size_t>(prototypes > kMostHeld ? samples : 0));
    partial = carve.take<float>(most * static_cast<size_t>(parts.width));
    range = carve.take<SinkhornRange>(1);
    ranges = carve.take<SinkhornRange>(most);
    logarithms = carve.take<double>(static_cast<size_t>(samples + prototypes));
    arrived = carve.take<unsigned>(1);
    bytes = carve.bytes();
  }
};

// With all rows on chip. False where they do not fit; codes are left alone, and the range is found, where scores are too far apart.
bool chip_codes(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, const Workspace& w);

// For scores of any spread: logarithms in f64. Does nothing where f32 does, which only the device knows.
void wide_codes(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, const Workspace& w);

}  // namespace gatun::sinkhorn_cuda

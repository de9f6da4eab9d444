// SPDX-License-Identifier: Apache-2.0
#include "kernels/kmeans/kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kmeans/kmeans.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

#ifndef GATUN_KMEANS_BLOCK_
#define GATUN_KMEANS_BLOCK_
namespace gatun {

// Packed centroids are padded to whole blocks of the widest level; three vectors of any level divide it.
constexpr int64_t kKmeansPadding = 48;

}  // namespace gatun
#endif

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

constexpr int64_t kVectors = 3;  // of centroids in a tile
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int64_t kTile = 8;  // rows in a tile: as many sums as 32 registers hold beside their operands
#else
constexpr int64_t kTile = 4;
#endif
constexpr int64_t kChunk = 64;   // rows that a task takes through all centroids

// Lane j of each vector is centroid first + j: packed[block][dimension][kVectors * lanes], so that a tile needs no horizontal sums and
// every pair of row and centroid is summed in the same order, wherever it stands: equal centroids have equal scores.
void pack(int threads, Rows<const float> centroids, float* packed) {
  const F32 d;
  const int64_t width = kVectors * static_cast<int64_t>(hn::Lanes(d));
  const int64_t blocks = chunk_count(centroids.rows, width);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t block = 0; block < blocks; ++block) {
    float* to = packed + block * width * centroids.columns;
    for (int64_t j = 0; j < width; ++j) {
      const int64_t k = block * width + j;
      // A NaN is better than nothing: centroids that only fill the block are never chosen.
      for (int64_t c = 0; c < centroids.columns; ++c) {
        to[c * width + j] = k < centroids.rows ? centroids.row(k)[c] : std::numeric_limits<float>::quiet_NaN();
      }
    }
  }
}

// What is best so far for each row of a chunk, per lane. Greater is better: distances are negated.
struct Best {
  HWY_ALIGN float value[kChunk][hn::MaxLanes(F32())];
  HWY_ALIGN int32_t index[kChunk][hn::MaxLanes(F32())];
};

template <bool kSpherical>
HWY_INLINE void tile(const float* const* rows, int64_t dimension, const float* packed, int32_t first, int64_t at, Best& best) {
  const F32 d;
  const I32 di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* in[kTile];
  VF sums[kTile][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kTile; ++r) {
    in[r] = rows[r];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  const auto add = [d](VF x, VF c, VF sum) HWY_ATTR {
    if constexpr (kSpherical) return hn::MulAdd(x, c, sum);
    const VF difference = hn::Sub(x, c);
    return hn::NegMulAdd(difference, difference, sum);
  };
  for (int64_t c = 0; c < dimension; ++c) {
    const float* block = packed + c * kVectors * lanes;
    const VF c0 = hn::Load(d, block), c1 = hn::Load(d, block + lanes), c2 = hn::Load(d, block + 2 * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < kTile; ++r) {
      const VF x = hn::Set(d, in[r][c]);
      sums[r][0] = add(x, c0, sums[r][0]);
      sums[r][1] = add(x, c1, sums[r][1]);
      sums[r][2] = add(x, c2, sums[r][2]);
    }
  }
  const auto step = hn::Set(di, static_cast<int32_t>(lanes)), begin = hn::Add(hn::Iota(di, 0), hn::Set(di, first));
#pragma GCC unroll 8
  for (int r = 0; r < kTile; ++r) {
    VF value = hn::Load(d, best.value[at + r]);
    auto index = hn::Load(di, best.index[at + r]);
    auto candidate = begin;
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      const auto better = hn::Gt(sums[r][v], value);
      value = hn::IfThenElse(better, sums[r][v], value);
      index = hn::IfThenElse(hn::RebindMask(di, better), candidate, index);
      candidate = hn::Add(candidate, step);
    }
    hn::Store(value, d, best.value[at + r]);
    hn::Store(index, di, best.index[at + r]);
  }
}

template <bool kSpherical>
void assign_all(int threads, Rows<const float> rows, int64_t centroids, const float* packed, int32_t* assignment, float* score) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t width = kVectors * lanes;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t begin = 0; begin < rows.rows; begin += kChunk) {
    const int64_t count = std::min(kChunk, rows.rows - begin);
    Best best;
    for (int64_t r = 0; r < kChunk; ++r) {
      std::fill_n(best.value[r], lanes, -std::numeric_limits<float>::infinity());
      std::fill_n(best.index[r], lanes, -1);
    }
    for (int64_t first = 0; first < centroids; first += width) {
      for (int64_t r = 0; r < count; r += kTile) {
        const float* in[kTile];
        // The last tile repeats the last row; what it finds for the copies is not looked at.
        for (int64_t t = 0; t < kTile; ++t) in[t] = rows.row(begin + std::min(r + t, count - 1));
        tile<kSpherical>(in, rows.columns, packed + first * rows.columns, static_cast<int32_t>(first), r, best);
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      float value = -std::numeric_limits<float>::infinity();
      int32_t index = -1;
      for (int64_t j = 0; j < lanes; ++j) {
        const float candidate = best.value[r][j];
        const int32_t k = best.index[r][j];
        if (k >= 0 && (index < 0 || candidate > value || (candidate == value && k < index))) value = candidate, index = k;
      }
      assignment[begin + r] = index;
      score[begin + r] = index < 0 ? std::numeric_limits<float>::quiet_NaN() : kSpherical ? value : -value;
    }
  }
}

void assign(int threads, Rows<const float> rows, Rows<const float> centroids, bool spherical, int32_t* assignment, float* score,
            float* workspace) {
  pack(threads, centroids, workspace);
  if (spherical) assign_all<true>(threads, rows, centroids.rows, workspace, assignment, score);
  else assign_all<false>(threads, rows, centroids.rows, workspace, assignment, score);
}

// A task owns some columns of all centroids and goes through all rows, so that every sum is made in the order of the rows.
void sums(int threads, Rows<const float> rows, const int32_t* assignment, int64_t centroids, float* result, double* workspace) {
  constexpr int64_t kColumns = 16;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t begin = 0; begin < rows.columns; begin += kColumns) {
    const int64_t count = std::min(kColumns, rows.columns - begin);
    double* totals = workspace + begin * centroids;
    std::fill_n(totals, centroids * count, 0.0);
    for (int64_t i = 0; i < rows.rows; ++i) {
      if (assignment[i] < 0) continue;
      const float* in = rows.row(i) + begin;
      double* total = totals + assignment[i] * count;
      if (count == kColumns) {
        for (int64_t c = 0; c < kColumns; ++c) total[c] += static_cast<double>(in[c]);
      } else {
        for (int64_t c = 0; c < count; ++c) total[c] += static_cast<double>(in[c]);
      }
    }
    for (int64_t k = 0; k < centroids; ++k) {
      for (int64_t c = 0; c < count; ++c) result[k * rows.columns + begin + c] = static_cast<float>(totals[k * count + c]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

size_t kmeans_assign_workspace(int64_t centroids, int64_t dimension) {
  return static_cast<size_t>(chunk_count(centroids, kKmeansPadding) * kKmeansPadding * dimension) * sizeof(float);
}

void kmeans_assign(const Stream& stream, Rows<const float> rows, Rows<const float> centroids, bool spherical, int32_t* assignment,
                   float* score, float* workspace) {
  GATUN_DISPATCH(assign)(stream.threads(), rows, centroids, spherical, assignment, score, workspace);
}

size_t kmeans_sums_workspace(int64_t centroids, int64_t dimension) {
  return static_cast<size_t>(centroids * dimension) * sizeof(double);
}

void kmeans_sums(const Stream& stream, Rows<const float> rows, const int32_t* assignment, int64_t centroids, float* sums, int64_t* counts,
                 double* workspace) {
  std::fill_n(counts, centroids, int64_t{0});
  for (int64_t i = 0; i < rows.rows; ++i) {
    if (assignment[i] >= 0) ++counts[assignment[i]];
  }
  GATUN_DISPATCH(sums)(stream.threads(), rows, assignment, centroids, sums, workspace);
}

// K x D numbers once an iteration: nothing to gain from vectors or threads.
void kmeans_update(const Stream&, Rows<const float> sums, int64_t* counts, Rows<float> centroids, bool spherical, bool split) {
  for (int64_t k = 0; k < centroids.rows; ++k) {
    if (counts[k] <= 0) continue;
    const double inverse = 1.0 / static_cast<double>(counts[k]);
    for (int64_t c = 0; c < centroids.columns; ++c) {
      centroids.row(k)[c] = static_cast<float>(static_cast<double>(sums.row(k)[c]) * inverse);
    }
  }
  for (int64_t k = 0; split && k < centroids.rows; ++k) {
    if (counts[k] > 0) continue;
    const int64_t largest = std::max_element(counts, counts + centroids.rows) - counts;
    if (counts[largest] < 2) break;
    constexpr float kEpsilon = 1.0f / 1024;
    for (int64_t c = 0; c < centroids.columns; ++c) {
      const float value = centroids.row(largest)[c];
      const float sign = c % 2 == 0 ? kEpsilon : -kEpsilon;
      centroids.row(k)[c] = value * (1.0f + sign);
      centroids.row(largest)[c] = value * (1.0f - sign);
    }
    counts[k] = counts[largest] / 2;
    counts[largest] -= counts[k];
  }
  for (int64_t k = 0; spherical && k < centroids.rows; ++k) {
    double squares = 0;
    for (int64_t c = 0; c < centroids.columns; ++c) squares += static_cast<double>(centroids.row(k)[c]) * static_cast<double>(centroids.row(k)[c]);
    if (squares == 0) continue;
    const double inverse = 1.0 / std::sqrt(squares);
    for (int64_t c = 0; c < centroids.columns; ++c) centroids.row(k)[c] = static_cast<float>(static_cast<double>(centroids.row(k)[c]) * inverse);
  }
}

}  // namespace gatun
#endif

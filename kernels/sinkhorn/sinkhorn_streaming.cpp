// SPDX-License-Identifier: Apache-2.0
// Both sides are packed once; a sweep takes a block of rows of one side through all chunks of the other, a tile of scores at a time.
#include "kernels/sinkhorn/sinkhorn_streaming.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sinkhorn/sinkhorn_streaming.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/columns-inl.h"
#include "kernels/common/gemm-inl.h"

#ifndef GATUN_SINKHORN_STREAMING_
#define GATUN_SINKHORN_STREAMING_
namespace gatun {

constexpr int64_t kStreamedRows = 64;     // of a tile
constexpr int64_t kStreamedColumns = 192;  // of a tile: whole panels of any instruction set

inline int64_t streamed_floats(int64_t rows, int64_t depth) { return chunk_count(rows, kStreamedColumns) * kStreamedColumns * depth; }

struct StreamedTile {
  alignas(64) float scores[kStreamedRows * kStreamedColumns];
};

}  // namespace gatun
#endif

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {
namespace {

// Rows as columns of a product: in chunks, each in panels as gemm_panels reads them.
void pack(int threads, Rows<const float> rows, float* packed) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F32()));
  const int64_t depth = rows.columns;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t first = 0; first < rows.rows; first += kStreamedColumns) {
    const int64_t count = std::min(kStreamedColumns, rows.rows - first);
    float* to = packed + first * depth;
    for (int64_t n = 0; n < count;) {
      const int64_t width = gemm_panel_vectors(count - n) * lanes;
      for (int64_t j = 0; j < width; ++j) {
        for (int64_t c = 0; c < depth; ++c) to[n * depth + c * width + j] = n + j < count ? rows.row(first + n + j)[c] : 0.0f;
      }
      n += width;
    }
  }
}

// The products of rows with a packed chunk of the others.
HWY_INLINE void product(Rows<const float> rows, int64_t begin, int64_t count, const float* packed, int64_t columns, float* scores) {
  int64_t from[kStreamedRows], to[kStreamedRows];
  for (int64_t r = 0; r < count; ++r) {
    from[r] = r * rows.stride;
    to[r] = r * kStreamedColumns;
  }
  gemm_panels(rows.row(begin), from, rows.columns, packed, scores, to, count, columns);
}

// potential = -log Σ e^(<row, other> scale + potential of the other); others: null for zeros.
void sweep(int threads, Rows<const float> rows, const float* packed, int64_t others, float scale, const float* potentials, float* result) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t begin = 0; begin < rows.rows; begin += kStreamedRows) {
    const F32 d;
    const int64_t count = std::min(kStreamedRows, rows.rows - begin);
    const VF factor = hn::Set(d, scale), lowest = hn::Neg(hn::Inf(d));
    StreamedTile tile;
    float largest[kStreamedRows], sum[kStreamedRows];
    std::fill_n(largest, count, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, count, 0.0f);
    for (int64_t first = 0; first < others; first += kStreamedColumns) {
      const int64_t columns = std::min(kStreamedColumns, others - first);
      product(rows, begin, count, packed + first * rows.columns, columns, tile.scores);
      for (int64_t r = 0; r < count; ++r) {
        float* s = tile.scores + r * kStreamedColumns;
        VF most = lowest;
        for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
          const VF added = potentials == nullptr ? hn::Zero(d) : part.load(potentials + first + c);
          const VF x = hn::MulAdd(part.load(s + c), factor, added);
          part.store(x, s + c);
          most = hn::Max(most, part.load_or(s + c, lowest));
        });
        const float next = std::max(largest[r], max_lanes(d, most));
        // With nothing but -inf so far any finite shift keeps the powers 0.
        const float shift = next == -std::numeric_limits<float>::infinity() ? 0.0f : next;
        VF total = hn::Zero(d);
        for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
          total = hn::Add(total, part.keep(exp(d, hn::Sub(part.load(s + c), hn::Set(d, shift)))));
        });
        sum[r] = sum[r] * std::exp(largest[r] - shift) + sum_lanes(d, total);
        largest[r] = next;
      }
    }
    for (int64_t r = 0; r < count; ++r) result[begin + r] = -(largest[r] + std::log(sum[r]));
  }
}

}  // namespace

void sinkhorn_streaming_cpu(int threads, Rows<const float> features, Rows<const float> prototypes, float scale, int iterations,
                            float* sample_potentials, float* prototype_potentials, float* workspace) {
  float* packed_features = workspace;
  float* packed_prototypes = workspace + streamed_floats(features.rows, features.columns);
  pack(threads, features, packed_features);
  pack(threads, prototypes, packed_prototypes);
  for (int iteration = 0; iteration < iterations; ++iteration) {
    sweep(threads, prototypes, packed_features, features.rows, scale, iteration == 0 ? nullptr : sample_potentials, prototype_potentials);
    sweep(threads, features, packed_prototypes, prototypes.rows, scale, prototype_potentials, sample_potentials);
  }
}

void sinkhorn_streaming_codes_cpu(int threads, Rows<const float> features, Rows<const float> prototypes, float scale,
                                  const float* sample_potentials, const float* prototype_potentials, Rows<float> codes, float* workspace) {
  pack(threads, prototypes, workspace);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t begin = 0; begin < features.rows; begin += kStreamedRows) {
    const F32 d;
    const int64_t count = std::min(kStreamedRows, features.rows - begin);
    StreamedTile tile;
    for (int64_t first = 0; first < prototypes.rows; first += kStreamedColumns) {
      const int64_t columns = std::min(kStreamedColumns, prototypes.rows - first);
      product(features, begin, count, workspace + first * features.columns, columns, tile.scores);
      for (int64_t r = 0; r < count; ++r) {
        const VF sample = hn::Set(d, sample_potentials[begin + r]);
        const float* s = tile.scores + r * kStreamedColumns;
        float* out = codes.row(begin + r) + first;
        for_vectors(columns, [&](int64_t c, auto part) HWY_ATTR {
          // In this order: what is added last is small, its rounding too.
          const VF x = hn::MulAdd(part.load(s + c), hn::Set(d, scale), part.load(prototype_potentials + first + c));
          part.store(exp(d, hn::Add(x, sample)), out + c);
        });
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

template <class T>
size_t sinkhorn_streaming_workspace(Rows<const T> features, Rows<const T> prototypes) {
  return static_cast<size_t>(streamed_floats(features.rows, features.columns) + streamed_floats(prototypes.rows, features.columns)) * sizeof(float);
}

template <class T>
void sinkhorn_streaming(const Stream& stream, Rows<const T> features, Rows<const T> prototypes, float epsilon, int iterations,
                        float* sample_potentials, float* prototype_potentials, void* workspace) {
  GATUN_DISPATCH(sinkhorn_streaming_cpu)(stream.threads(), features, prototypes, 1.0f / epsilon, iterations, sample_potentials,
                                         prototype_potentials, static_cast<float*>(workspace));
}

template <class T>
void sinkhorn_streaming_codes(const Stream& stream, Rows<const T> features, Rows<const T> prototypes, float epsilon,
                              const float* sample_potentials, const float* prototype_potentials, Rows<float> codes, void* workspace) {
  GATUN_DISPATCH(sinkhorn_streaming_codes_cpu)(stream.threads(), features, prototypes, 1.0f / epsilon, sample_potentials, prototype_potentials,
                                               codes, static_cast<float*>(workspace));
}

#define GATUN_INSTANTIATE(T)                                                                                                           \
  template size_t sinkhorn_streaming_workspace(Rows<const T>, Rows<const T>);                                                          \
  template void sinkhorn_streaming(const Stream&, Rows<const T>, Rows<const T>, float, int, float*, float*, void*);                    \
  template void sinkhorn_streaming_codes(const Stream&, Rows<const T>, Rows<const T>, float, const float*, const float*, Rows<float>, void*);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)

}  // namespace gatun
#endif

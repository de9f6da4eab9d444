// SPDX-License-Identifier: Apache-2.0
// Rows go through in chunks: their scores by the packed product, loss and gradient row by row in place, then the products of both gradients.
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/isa.h"
#include "kernels/matmul/matmul.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_cross_entropy/linear_cross_entropy.cpp"
#include "hwy/foreach_target.h"
#include "kernels/cross_entropy/cross_entropy_row-inl.h"

#ifndef GATUN_LINEAR_CROSS_ENTROPY_CHUNK_
#define GATUN_LINEAR_CROSS_ENTROPY_CHUNK_
namespace gatun {

// Rows from `begin` to `end` of the call, whose scores, or exponentials, become gradients.
struct ScoreChunk {
  int64_t begin, end;
  Rows<float> scores;
  float* scratch;  // a row for each thread, `width` apart: whole cache lines
  int64_t width;
};

}  // namespace gatun
#endif

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

using namespace cross_entropy_row;  // NOLINT

// One row: the exponentials wait in scratch, since masked targets need the scores a second time.
template <bool kSoft>
HWY_INLINE float loss_and_gradient(float* x, const float* t, int64_t label, int64_t n, float scale, float factor, float* scratch, const Next& next) {
  const float largest = row_max(x, n);
  if (label < 0 || (std::isinf(largest) && largest < 0)) {
    std::fill_n(x, n, 0.0f);
    return 0.0f;
  }
  if (label >= n) {
    std::fill_n(x, n, std::numeric_limits<float>::quiet_NaN());
    return std::numeric_limits<float>::quiet_NaN();
  }
  const RowSums sums = sums_of<kSoft, kSoft, true>(x, t, scratch, n, scale, largest, next);
  const float log_sum = std::log(sums.exps);
  const float loss = kSoft ? sums.targets * log_sum - sums.dot : log_sum - (x[label] - largest) * scale;
  gradient_from_powers<kSoft>(scratch, t, x, n, factor * scale, sums.targets / sums.exps);
  if constexpr (!kSoft) x[label] -= factor * scale;
  return loss;
}

void losses(int threads, const LinearCrossEntropyCall& call, const ScoreChunk& chunk) {
  const float scale = 1.0f / call.temperature;
  const int64_t n = call.prototypes.rows;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t r = chunk.begin; r < chunk.end; ++r) {
    float* const x = chunk.scores.row(r - chunk.begin);
    float* const scratch = chunk.scratch + omp_get_thread_num() * chunk.width;
    const int64_t at = r % call.target_rows, after = (at + 1) % call.target_rows;
    const float* const next_x = chunk.scores.row(std::min(r + 1, chunk.end - 1) - chunk.begin);
    if (call.targets.soft != nullptr) {
      const Next next{next_x, call.targets.soft + after * call.targets.soft_stride};
      call.loss[r] = loss_and_gradient<true>(x, call.targets.soft + at * call.targets.soft_stride, 0, n, scale, call.factor, scratch, next);
    } else {
      call.loss[r] = loss_and_gradient<false>(x, nullptr, call.targets.labels[at], n, scale, call.factor, scratch, {next_x, nullptr});
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

namespace {

// Scores of a chunk: 8 MB, of which a row's work finds most in the last cache, and products have rows enough.
constexpr int64_t kChunkElements = int64_t{2} << 20, kFewestRows = 64;

int64_t chunk_rows(const LinearCrossEntropyCall& call) {
  const int64_t most = std::max(kFewestRows, kChunkElements / call.prototypes.rows);
  return std::max<int64_t>(1, chunk_count(call.z.rows, chunk_count(std::max<int64_t>(1, call.z.rows), most)));
}

int64_t whole_lines(int64_t floats) { return chunk_count(floats, 16) * 16; }

MatmulCall product(int64_t m, int64_t n, int64_t k, const MatmulOperand& a, const MatmulOperand& b, const Rows<float>& c) {
  MatmulCall call{};
  call.m = m;
  call.n = n;
  call.k = k;
  call.a = a;
  call.b = b;
  call.c = c.data;
  call.ldc = c.stride;
  return call;
}

// The three products of a chunk of `rows` rows from `begin`.
MatmulCall scores_of(const LinearCrossEntropyCall& call, int64_t begin, int64_t rows, const Rows<float>& scores) {
  return product(rows, call.prototypes.rows, call.z.columns, {call.z.row(begin), call.z.stride, false, 0},
                 {call.prototypes.data, call.prototypes.stride, true, 0}, scores);
}
MatmulCall dz_of(const LinearCrossEntropyCall& call, int64_t begin, int64_t rows, const Rows<float>& scores) {
  return product(rows, call.z.columns, call.prototypes.rows, {scores.data, scores.stride, false, 0},
                 {call.prototypes.data, call.prototypes.stride, false, 0}, {call.dz.row(begin), {rows, call.z.columns, call.dz.stride}});
}
MatmulCall dprototypes_of(const LinearCrossEntropyCall& call, int64_t begin, int64_t rows, const Rows<float>& scores) {
  MatmulCall result = product(call.prototypes.rows, call.z.columns, rows, {scores.data, scores.stride, true, 0},
                              {call.z.row(begin), call.z.stride, false, 0}, call.dprototypes);
  result.accumulate = begin > 0;
  return result;
}

// In floats: a row for each thread, the scores of a chunk unless the caller has them, what a product needs.
struct Memory {
  int64_t width, scores_at, product_at, size;
  Memory(const Stream& stream, const LinearCrossEntropyCall& call) : width(whole_lines(call.prototypes.rows)) {
    const int64_t most = chunk_rows(call), rest = call.z.rows % most;
    scores_at = width * stream.threads();
    product_at = scores_at + (call.scores.data == nullptr ? most * width : 0);
    size_t bytes = 0;
    const Rows<float> scores(nullptr, {most, call.prototypes.rows, call.scores.data == nullptr ? width : call.scores.stride});
    for (const int64_t rows : {most, rest}) {
      if (rows == 0) continue;
      if (call.scores.data == nullptr) bytes = std::max(bytes, matmul_workspace(stream, scores_of(call, 0, rows, scores)));
      if (call.dz.data != nullptr) bytes = std::max(bytes, matmul_workspace(stream, dz_of(call, 0, rows, scores)));
      // Sums that are added to may need more than those that are written.
      for (const bool added : {false, true}) {
        MatmulCall sums = dprototypes_of(call, 0, rows, scores);
        sums.accumulate = added;
        if (call.dprototypes.data != nullptr) bytes = std::max(bytes, matmul_workspace(stream, sums));
      }
    }
    size = product_at + whole_lines(static_cast<int64_t>((bytes + sizeof(float) - 1) / sizeof(float)));
  }
};

}  // namespace

size_t linear_cross_entropy_workspace(const Stream& stream, const LinearCrossEntropyCall& call) {
  return static_cast<size_t>(Memory(stream, call).size) * sizeof(float);
}

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropyCall& call, float* workspace) {
  const Memory memory(stream, call);
  const int64_t step = chunk_rows(call), n = call.prototypes.rows;
  float* const work = workspace + memory.product_at;
  if (call.z.rows == 0 && call.dprototypes.data != nullptr) {
    for (int64_t k = 0; k < n; ++k) std::fill_n(call.dprototypes.row(k), call.z.columns, 0.0f);
  }
  for (int64_t begin = 0; begin < call.z.rows; begin += step) {
    const int64_t rows = std::min(step, call.z.rows - begin);
    const bool given = call.scores.data != nullptr;
    const Rows<float> scores(given ? call.scores.row(begin) : workspace + memory.scores_at, {rows, n, given ? call.scores.stride : memory.width});
    if (!given) matmul(stream, scores_of(call, begin, rows, scores), work);
    GATUN_DISPATCH(losses)(stream.threads(), call, {begin, begin + rows, scores, workspace, memory.width});
    if (call.dz.data != nullptr) matmul(stream, dz_of(call, begin, rows, scores), work);
    if (call.dprototypes.data != nullptr) matmul(stream, dprototypes_of(call, begin, rows, scores), work);
  }
}

}  // namespace gatun
#endif

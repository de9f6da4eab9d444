// SPDX-License-Identifier: Apache-2.0
// Sums over rows, cut into chunks: each chunk writes its own partial sums, which are then added in the order of the chunks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/common/stream.h"

namespace gatun {

// At most 64 chunks, so that partial sums stay small beside the rows; the size depends on the shape only.
constexpr int64_t partial_rows(int64_t rows) { return std::max<int64_t>(16, chunk_count(rows, 64)); }
constexpr int64_t partial_chunks(int64_t rows) { return chunk_count(rows, partial_rows(rows)); }

// sums[c] = Σ over chunks of partial[chunk * step + c]
inline void add_partials(int threads, const float* partial, int64_t chunks, int64_t step, int64_t columns, float* sums) {
  constexpr int64_t kBlock = 64;
#pragma omp parallel for num_threads(chunks * columns < 8192 ? 1 : threads) schedule(static)
  for (int64_t first = 0; first < columns; first += kBlock) {
    const int64_t width = std::min(kBlock, columns - first);
    double total[kBlock] = {};
    for (int64_t k = 0; k < chunks; ++k) {
      const float* from = partial + k * step + first;
      for (int64_t c = 0; c < width; ++c) total[c] += static_cast<double>(from[c]);
    }
    for (int64_t c = 0; c < width; ++c) sums[first + c] = static_cast<float>(total[c]);
  }
}

}  // namespace gatun

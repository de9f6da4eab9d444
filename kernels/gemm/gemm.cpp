// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm/gemm.h"

#include <omp.h>

#include <algorithm>

namespace gatun {

namespace {

// Every tile packs its part of a and b again, so the first cuts, which give a second thread something to do, may make smaller
// and narrower tiles than the later ones. Measured on one thread: a 256 x 512 x 128 product in 16 tiles of 64 x 128 lost
// a fifth of its speed, in 4 tiles a tenth.
constexpr double kSmallest = 1e6;  // multiply-adds a tile, times the number of tiles so far up to 4
constexpr int64_t kNarrow = 64;    // rows or columns of a tile while there are fewer than 4
constexpr int64_t kWide = 128;     // and beyond
constexpr int64_t kMostTiles = 16;
// Tile edges at multiples of the libraries' register blocks.
constexpr int64_t kGrain = 16;

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

}  // namespace

GemmTile gemm_tile(const GemmShape& shape) {
  const double work = static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  int64_t rows = 1;
  int64_t columns = 1;
  while (rows * columns < kMostTiles) {
    const int64_t tiles = rows * columns;
    // halve the longer edge: squarer tiles pack less
    const int64_t height = shape.m / rows;
    const int64_t width = shape.n / columns;
    if (work / static_cast<double>(2 * tiles) < kSmallest * static_cast<double>(std::min<int64_t>(tiles, 4))) break;
    if (std::max(height, width) < 2 * (tiles < 4 ? kNarrow : kWide)) break;
    (height >= width ? rows : columns) *= 2;
  }
  return {round_up((shape.m + rows - 1) / rows, kGrain), round_up((shape.n + columns - 1) / columns, kGrain)};
}

int gemm(const Stream& stream, Sgemm sgemm, const GemmCall& call) {
  const GemmShape& shape = call.shape;
  const auto* a = static_cast<const float*>(call.a.data);
  const auto* b = static_cast<const float*>(call.b.data);
  auto* c = static_cast<float*>(call.c);
  if (shape.m == 0 || shape.n == 0) return 0;
  if (shape.k == 0) {
    // A library may leave c as it was.
    for (int64_t row = 0; row < shape.m; ++row) {
      for (int64_t column = 0; column < shape.n; ++column) {
        float& value = c[row * call.ldc + column];
        value = call.beta == 0 ? 0 : call.beta * value;
      }
    }
    return 0;
  }
  const GemmTile tile = gemm_tile(shape);
  const int64_t down = chunk_count(shape.m, tile.rows);
  const int64_t across = chunk_count(shape.n, tile.columns);
  const int threads = static_cast<int>(std::min<int64_t>(stream.threads(), down * across));
  // Outside an active region the library would use as many threads as OpenMP has, and cut the tile by them.
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  int status = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1) reduction(max : status)
  for (int64_t t = 0; t < down * across; ++t) {
    const int64_t row = t / across * tile.rows;
    const int64_t column = t % across * tile.columns;
    const int64_t rows = std::min(tile.rows, shape.m - row);
    const int64_t columns = std::min(tile.columns, shape.n - column);
    const int result = sgemm(call.a.transposed ? 'T' : 'N', call.b.transposed ? 'T' : 'N', rows, columns, shape.k, call.alpha,
                             a + (call.a.transposed ? row : row * call.a.leading), call.a.leading,
                             b + (call.b.transposed ? column * call.b.leading : column), call.b.leading, call.beta,
                             c + row * call.ldc + column, call.ldc);
    status = std::max(status, result);
  }
  omp_set_num_threads(before);
  return status;
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// The order in which blocks take the tiles of c.
#pragma once

#include "kernels/common/cuda.h"

namespace gatun {

struct TilePlace {
  int row, column;
};

// Blocks that run together make a band of 8 tile rows column by column, so that the tiles of a and b that they read stay in the L2.
__device__ __forceinline__ TilePlace tile_place(int block, int rows, int columns) {
  constexpr int kBand = 8;
  const int band = block / (kBand * columns), inside = block % (kBand * columns);
  const int height = min(rows - band * kBand, kBand);
  return {band * kBand + inside % height, inside / height};
}

inline unsigned tile_count(int m, int n, int tile) {
  return static_cast<unsigned>(static_cast<int64_t>((m + tile - 1) / tile) * ((n + tile - 1) / tile));
}

}  // namespace gatun

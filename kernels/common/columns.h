// SPDX-License-Identifier: Apache-2.0
// What operations along columns share. A thread owns a few neighbouring columns and walks down rows: what belongs to a channel stays in its
// registers. Rows are cut into chunks by the shape alone; each chunk leaves partial sums, which are added in the order of the chunks.
#pragma once

#include "kernels/common/packs.h"

namespace gatun {

inline constexpr int kColumnBlock = 256;
// Blocks that a sweep is cut into: one wave of four blocks a multiprocessor on 132 of them. Fixed, so that the bits are the same everywhere.
inline constexpr int64_t kColumnUnits = 528;

// How (rows, packs of columns) are cut: a block is `width` threads along the columns times `slots` rows, a unit is one tile of columns and one
// chunk of rows.
struct ColumnGrid {
  int64_t rows, packs, tiles, chunk, chunks;
  int width, slots;

  ColumnGrid(int64_t rows, int64_t packs, int64_t units = kColumnUnits) : rows(rows), packs(packs), width(1) {
    while (width < 32 && width < packs) width *= 2;
    slots = kColumnBlock / width;
    tiles = chunk_count(packs, width);
    const int64_t wanted = units / (tiles > 0 ? tiles : 1), most = chunk_count(rows, slots);
    const int64_t cut = wanted < 1 ? 1 : wanted > most && most > 0 ? most : wanted;
    chunk = rows > 0 ? chunk_count(rows, cut) : 1;
    chunks = chunk_count(rows, chunk);
  }
  int64_t units() const { return tiles * chunks; }
};

// A thread's place in a ColumnGrid.
struct ColumnPlace {
  int thread, slot;   // within the block
  int64_t pack;       // of columns
  int64_t chunk, first, last;  // rows

  __device__ __forceinline__ ColumnPlace(const ColumnGrid& grid, int64_t unit)
      : thread(static_cast<int>(threadIdx.x) % grid.width), slot(static_cast<int>(threadIdx.x) / grid.width),
        pack(unit % grid.tiles * grid.width + thread), chunk(unit / grid.tiles), first(chunk * grid.chunk),
        last(first + grid.chunk < grid.rows ? first + grid.chunk : grid.rows) {}
};

}  // namespace gatun

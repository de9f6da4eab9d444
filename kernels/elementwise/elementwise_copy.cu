// SPDX-License-Identifier: Apache-2.0
// Copies between two layouts, by the size of an element. Inner dimensions that both have contiguous go 16 bytes at a time; a transposition
// goes through tiles in shared memory, so that both sides are read and written in whole sectors; the rest element by element along y.
#include <array>

#include "kernels/common/divider.h"
#include "kernels/elementwise/elementwise.h"

namespace gatun {
namespace {

constexpr int kBlock = 256, kUnroll = 4;
constexpr int kTile = 32, kTileRows = 8;
// Counted with 32 bits; beyond this a copy becomes several launches. Low on the emulated device, to be tested.
constexpr int64_t kMostUnits = kMaxGrid < 1000 ? 4096 : int64_t{1} << 30;

struct CopyLoops {
  uint32_t units;
  int rank;
  Divider by[GATUN_MAX_RANK];
  int64_t x_stride[GATUN_MAX_RANK], y_stride[GATUN_MAX_RANK];

  __device__ __forceinline__ void locate(uint32_t unit, int64_t& x, int64_t& y) const {
    x = y = 0;
    for (int i = rank - 1; i > 0; --i) {
      uint32_t index;
      unit = by[i].divide(unit, index);
      x += index * x_stride[i];
      y += index * y_stride[i];
    }
    x += unit * x_stride[0];
    y += unit * y_stride[0];
  }
};

template <class U>
__global__ void __launch_bounds__(kBlock) copy_kernel(const U* x, U* y, const CopyLoops loops) {
  constexpr uint32_t kStep = kBlock * kUnroll;
  for (uint32_t first = blockIdx.x * kStep + threadIdx.x; first < loops.units; first += gridDim.x * kStep) {
    U value[kUnroll];
    int64_t to[kUnroll];
    GATUN_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      int64_t from;
      if (first + j * kBlock >= loops.units) continue;
      loops.locate(first + j * kBlock, from, to[j]);
      value[j] = x[from];
    }
    GATUN_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      if (first + j * kBlock < loops.units) y[to[j]] = value[j];
    }
  }
}

// Loops are those of whole tiles: the outer ones, then tiles down (along which x is contiguous) and across (along which y is).
struct TileLoops {
  CopyLoops tiles;
  int64_t down, across;      // elements
  int64_t x_across, y_down;  // strides
};

template <class U>
__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(const U* x, U* y, const TileLoops loops) {
  __shared__ U tile[kTile][kTile + 1];  // one column more: no bank conflicts
  const int lane = static_cast<int>(threadIdx.x % kTile), line = static_cast<int>(threadIdx.x / kTile);
  const int last = loops.tiles.rank - 1;
  for (uint32_t unit = blockIdx.x; unit < loops.tiles.units; unit += gridDim.x) {
    int64_t from, to;
    loops.tiles.locate(unit, from, to);
    uint32_t tile_across, tile_down;
    loops.tiles.by[last - 1].divide(loops.tiles.by[last].divide(unit, tile_across), tile_down);
    const int64_t down = loops.down - int64_t{tile_down} * kTile, across = loops.across - int64_t{tile_across} * kTile;
    for (int i = line; i < kTile; i += kTileRows) {
      if (i < across && lane < down) tile[i][lane] = x[from + i * loops.x_across + lane];
    }
    __syncthreads();
    for (int i = line; i < kTile; i += kTileRows) {
      if (i < down && lane < across) y[to + i * loops.y_down + lane] = tile[lane][i];
    }
    __syncthreads();
  }
}

CopyLoops copy_loops(const Loops<3>& loops) {
  CopyLoops result{};
  result.rank = loops.rank;
  result.units = static_cast<uint32_t>(loops.count());
  for (int i = 0; i < loops.rank; ++i) {
    result.by[i] = Divider(loops.shape[i]);
    result.x_stride[i] = loops.stride[kX][i];
    result.y_stride[i] = loops.stride[kY][i];
  }
  return result;
}

// The dimension along which x is contiguous while y is along the innermost, or -1.
int transposed_dimension(const Loops<3>& loops) {
  const int inner = loops.rank - 1;
  if (loops.stride[kY][inner] != 1 || loops.stride[kX][inner] <= 1) return -1;
  for (int i = 0; i < inner; ++i) {
    if (loops.stride[kX][i] == 1 && loops.shape[i] >= 8 && loops.shape[inner] >= 8) return i;
  }
  return -1;
}

template <class U>
void copy_units(const Stream& stream, const Loops<3>& loops, const void* from, void* to) {
  const U* x = static_cast<const U*>(from);
  U* y = static_cast<U*>(to);
  const int64_t count = loops.count();
  if (count > kMostUnits) {
    const int widest = static_cast<int>(std::max_element(loops.shape, loops.shape + loops.rank) - loops.shape);
    Loops<3> part = loops;
    const int64_t half = loops.shape[widest] / 2;
    part.shape[widest] = half;
    copy_units<U>(stream, part, x, y);
    part.shape[widest] = loops.shape[widest] - half;
    copy_units<U>(stream, part, x + half * loops.stride[kX][widest], y + half * loops.stride[kY][widest]);
    return;
  }
  if constexpr (sizeof(U) <= 8) {
    const int down = transposed_dimension(loops);
    if (down >= 0) {
      const int inner = loops.rank - 1;
      Loops<3> tiles;
      for (int i = 0; i < inner; ++i) {
        if (i != down) tiles.add(loops.shape[i], {loops.stride[kX][i], 0, loops.stride[kY][i]});
      }
      tiles.add((loops.shape[down] + kTile - 1) / kTile, {kTile, 0, loops.stride[kY][down] * kTile});
      tiles.add((loops.shape[inner] + kTile - 1) / kTile, {loops.stride[kX][inner] * kTile, 0, kTile});
      const TileLoops plan{copy_loops(tiles), loops.shape[down], loops.shape[inner], loops.stride[kX][inner], loops.stride[kY][down]};
      return enqueue(stream, transpose_kernel<U>, grid_for(tiles.count(), 1), kTile * kTileRows, 0, x, y, plan);
    }
  }
  enqueue(stream, copy_kernel<U>, grid_for(count, kBlock * kUnroll), kBlock, 0, x, y, copy_loops(loops));
}

// Whether both operands' inner dimension can be moved in units of `bytes`.
bool units_fit(const Loops<3>& loops, int64_t element_bytes, int64_t bytes, const void* x, const void* y) {
  const int inner = loops.rank - 1;
  bool fit = loops.stride[kX][inner] == 1 && loops.stride[kY][inner] == 1 && loops.shape[inner] * element_bytes % bytes == 0 &&
             reinterpret_cast<uintptr_t>(x) % static_cast<uintptr_t>(bytes) == 0 && reinterpret_cast<uintptr_t>(y) % static_cast<uintptr_t>(bytes) == 0;
  for (int i = 0; i < inner && fit; ++i) {
    fit = loops.stride[kX][i] * element_bytes % bytes == 0 && loops.stride[kY][i] * element_bytes % bytes == 0;
  }
  return fit;
}

}  // namespace

void strided_copy(const Stream& stream, const Loops<3>& loops, int64_t element_bytes, const void* x, void* y) {
  if (loops.count() == 0) return;
  const int inner = loops.rank - 1;
  // A line whose end is not whole goes in two.
  const int64_t per_unit = 16 / element_bytes, odd = loops.rank == 1 && loops.stride[kX][0] == 1 && loops.stride[kY][0] == 1 ? loops.shape[0] % per_unit : 0;
  if (odd != 0 && odd != loops.shape[0]) {
    Loops<3> part = loops;
    part.shape[0] = loops.shape[0] - odd;
    strided_copy(stream, part, element_bytes, x, y);
    const int64_t skip = part.shape[0] * element_bytes;
    part.shape[0] = odd;
    return strided_copy(stream, part, element_bytes, static_cast<const char*>(x) + skip, static_cast<char*>(y) + skip);
  }
  int64_t bytes = 16;
  while (bytes > element_bytes && !units_fit(loops, element_bytes, bytes, x, y)) bytes /= 2;
  Loops<3> units = loops;
  const int64_t ratio = bytes / element_bytes;
  if (ratio > 1) {
    units.shape[inner] /= ratio;
    for (int i = 0; i < inner; ++i) {
      for (int k : {kX, kY}) units.stride[k][i] /= ratio;
    }
  }
  if (bytes == 16) copy_units<uint4>(stream, units, x, y);
  else if (bytes == 8) copy_units<uint64_t>(stream, units, x, y);
  else if (bytes == 4) copy_units<uint32_t>(stream, units, x, y);
  else if (bytes == 2) copy_units<uint16_t>(stream, units, x, y);
  else copy_units<uint8_t>(stream, units, x, y);
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Rows are copied in the largest units, up to 16 bytes, that fit their length, spacing and addresses.
#include "kernels/gather_rows/gather_rows.h"

#include "kernels/common/divider.h"

namespace gatun {
namespace {

constexpr int kBlock = 256, kUnroll = 4;
// Units of a launch, counted with 32 bits. Low on the emulated device, to be tested.
constexpr int64_t kMostUnits = kMaxGrid < 1000 ? 4096 : int64_t{1} << 30;

struct GatherShape {
  uint32_t units;  // of all rows
  Divider row_units;
  int64_t from_rows, from_stride, to_stride;  // strides in units
};

template <class U>
__device__ __forceinline__ U all_ones() {
  if constexpr (sizeof(U) == 16) return make_uint4(~0u, ~0u, ~0u, ~0u);
  else return static_cast<U>(~U{0});
}

template <class U>
__global__ void __launch_bounds__(kBlock) gather_kernel(const U* __restrict__ from, const int32_t* __restrict__ indices, U* __restrict__ to,
                                                        const GatherShape shape) {
  constexpr uint32_t kStep = kBlock * kUnroll;
  for (uint32_t first = blockIdx.x * kStep + threadIdx.x; first < shape.units; first += gridDim.x * kStep) {
    U value[kUnroll];
    GATUN_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      const uint32_t unit = first + j * kBlock;
      if (unit >= shape.units) continue;
      uint32_t column;
      const int64_t index = indices[shape.row_units.divide(unit, column)];
      value[j] = index >= 0 && index < shape.from_rows ? from[index * shape.from_stride + column] : all_ones<U>();
    }
    GATUN_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      const uint32_t unit = first + j * kBlock;
      if (unit >= shape.units) continue;
      uint32_t column;
      const int64_t row = shape.row_units.divide(unit, column);
      to[row * shape.to_stride + column] = value[j];
    }
  }
}

template <class U>
void gather_units(const Stream& stream, const Rows<const uint8_t>& from, const int32_t* indices, const Rows<uint8_t>& to) {
  constexpr int64_t kBytes = sizeof(U);
  // Columns in bands, and of each band as many rows as a launch can count.
  const int64_t width = to.columns / kBytes;
  for (int64_t left = 0; left < width; left += kMostUnits) {
    const int64_t band = width - left < kMostUnits ? width - left : kMostUnits, most_rows = kMostUnits / band;
    for (int64_t first = 0; first < to.rows; first += most_rows) {
      const int64_t rows = to.rows - first < most_rows ? to.rows - first : most_rows;
      const GatherShape shape{static_cast<uint32_t>(rows * band), Divider(band), from.rows, from.stride / kBytes, to.stride / kBytes};
      enqueue(stream, gather_kernel<U>, grid_for(rows * band, kBlock * kUnroll), kBlock, 0, reinterpret_cast<const U*>(from.data) + left,
              indices + first, reinterpret_cast<U*>(to.row(first)) + left, shape);
    }
  }
}

bool fits(const void* data, int64_t columns, int64_t stride, int64_t bytes) {
  return (static_cast<int64_t>(reinterpret_cast<uintptr_t>(data)) | columns | stride) % bytes == 0;
}

}  // namespace

void gather_rows(const Stream& stream, Rows<const uint8_t> from, const int32_t* indices, Rows<uint8_t> to) {
  if (to.rows == 0 || to.columns == 0) return;
  const auto unit = [&](int64_t bytes) { return fits(from.data, from.columns, from.stride, bytes) && fits(to.data, to.columns, to.stride, bytes); };
  if (unit(16)) gather_units<uint4>(stream, from, indices, to);
  else if (unit(8)) gather_units<uint64_t>(stream, from, indices, to);
  else if (unit(4)) gather_units<uint32_t>(stream, from, indices, to);
  else if (unit(2)) gather_units<uint16_t>(stream, from, indices, to);
  else gather_units<uint8_t>(stream, from, indices, to);
}

}  // namespace gatun

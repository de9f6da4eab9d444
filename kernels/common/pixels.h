// SPDX-License-Identifier: Apache-2.0
// Images as kernels see them.
#pragma once

#include <cstdint>

namespace gatun {

// The pixels of an image batch; a pixel's channels are contiguous. Strides in elements.
struct PixelGrid {
  int64_t height;
  int64_t width;
  int64_t batch_stride;
  int64_t row_stride;
  int64_t pixel_stride;
  int64_t offset(int64_t b, int64_t i, int64_t j) const { return b * batch_stride + i * row_stride + j * pixel_stride; }
};

}  // namespace gatun

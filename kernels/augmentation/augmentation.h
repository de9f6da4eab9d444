// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "gatun/augmentation.h"
#include "kernels/common/stream.h"

namespace gatun {

// A call after its checks: what is ragged, absent or strided has become numbers.
struct Augmentation {
  const gatun_augmentation_desc* settings;
  gatun_random_key key;
  const uint8_t* images;
  int64_t image_height, image_width;  // of equal images; of ragged ones the largest
  const int64_t* offsets;             // null: equal images
  const int32_t* heights;
  const int32_t* widths;
  const int32_t* rows;  // may be null
  const int64_t* ids;   // may be null
  const float* mean;
  const float* deviation;
  float* batch;
  int64_t views, height, width, channels, stride;
  float* parameters;  // may be null

  int64_t image(int64_t view) const { return rows == nullptr ? view : rows[view]; }
  int64_t height_of(int64_t image) const { return offsets == nullptr ? image_height : heights[image]; }
  int64_t width_of(int64_t image) const { return offsets == nullptr ? image_width : widths[image]; }
  const uint8_t* pixels(int64_t image) const {
    return images + (offsets == nullptr ? image * image_height * image_width * channels : offsets[image]);
  }
};

size_t augmentation_workspace_bytes(const Augmentation& a);
void augmentation(const Stream& stream, const Augmentation& a, void* workspace);

// The GATUN_AUGMENTATION_PARAMETERS numbers of one view of an image.
void augmentation_draw(const gatun_augmentation_desc& settings, const gatun_random_key& key, uint64_t id, int64_t image_height,
                       int64_t image_width, int64_t height, int64_t width, float* parameters);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "gatun/augmentation.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"
#include "kernels/random/random.h"

namespace gatun {

// A call after its checks: what is ragged, absent or strided has become numbers. On CUDA all pointers are device memory.
struct Augmentation {
  gatun_augmentation_desc settings;
  const gatun_random_key* key;
  const uint8_t* images;
  int64_t image_height, image_width;  // of equal images; of ragged ones the largest
  const int64_t* offsets;             // null: equal images
  const int32_t* heights;
  const int32_t* widths;
  const int32_t* rows;  // may be null
  const int64_t* ids;   // may be null
  const float* mean;
  const float* deviation;
  void* batch;  // in a storage type
  int64_t views, height, width, channels, stride;
  float* parameters;  // may be null

  GATUN_RANDOM_INLINE int64_t image_count() const { return settings.images.rank == 1 ? settings.offsets.shape[0] - 1 : settings.images.shape[0]; }
  GATUN_RANDOM_INLINE int64_t image(int64_t view) const { return rows == nullptr ? view : rows[view]; }
  GATUN_RANDOM_INLINE uint64_t id(int64_t view) const { return ids == nullptr ? static_cast<uint64_t>(view) : static_cast<uint64_t>(ids[view]); }
  GATUN_RANDOM_INLINE int64_t height_of(int64_t image) const { return offsets == nullptr ? image_height : heights[image]; }
  GATUN_RANDOM_INLINE int64_t width_of(int64_t image) const { return offsets == nullptr ? image_width : widths[image]; }
  GATUN_RANDOM_INLINE int64_t offset_of(int64_t image) const {
    return offsets == nullptr ? image * image_height * image_width * channels : offsets[image];
  }
};

size_t augmentation_workspace_bytes(const Augmentation& a);
template <class T>
void augmentation(const Stream& stream, const Augmentation& a, void* workspace);

}  // namespace gatun

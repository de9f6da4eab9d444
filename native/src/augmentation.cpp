// SPDX-License-Identifier: Apache-2.0
#include "gatun/augmentation.h"

#include <algorithm>
#include <cmath>

#include "abi.h"
#include "check.h"
#include "kernels/augmentation/augmentation.h"

namespace gatun {

namespace {

void check_between(const char* name, float value, float low, float high) {
  if (!(value >= low && value <= high)) {
    invalid("%s is %g, allowed is %g to %g", name, static_cast<double>(value), static_cast<double>(low), static_cast<double>(high));
  }
}

void check_settings(const gatun_augmentation_desc& d) {
  if (d.crop != GATUN_AUGMENTATION_RANDOM_CROP && d.crop != GATUN_AUGMENTATION_CENTRAL_CROP) {
    invalid("crop is %d, allowed are 0 (random) and 1 (central)", d.crop);
  }
  if (d.crop == GATUN_AUGMENTATION_RANDOM_CROP) {
    check_between("area_high", d.area_high, 1e-6f, 1.0f);
    check_between("area_low", d.area_low, 1e-6f, d.area_high);
    check_between("aspect_high", d.aspect_high, 0.01f, 100.0f);
    check_between("aspect_low", d.aspect_low, 0.01f, d.aspect_high);
  }
  check_between("flip", d.flip, 0.0f, 1.0f);
  check_between("jitter", d.jitter, 0.0f, 1.0f);
  check_between("brightness", d.brightness, 0.0f, 1.0f);
  check_between("contrast", d.contrast, 0.0f, 1.0f);
  check_between("blur", d.blur, 0.0f, 1.0f);
  if (d.blur > 0.0f) {
    check_between("sigma_high", d.sigma_high, 1e-3f, 100.0f);
    check_between("sigma_low", d.sigma_low, 1e-3f, d.sigma_high);
    if (d.blur_taps < 1 || d.blur_taps > 63 || d.blur_taps % 2 == 0) {
      invalid("blur_taps is %d, allowed are odd numbers from 1 to 63", d.blur_taps);
    }
  }
  check_between("noise", d.noise, 0.0f, 1000.0f);
}

void check_absent(const char* name, const gatun_layout& layout) {
  if (present(layout)) invalid("%s is for ragged images only; these images are of equal size", name);
}

// Shapes and constants; leaves the pointers of the result empty.
Augmentation check_layouts(const gatun_augmentation_desc& d) {
  check_settings(d);
  Augmentation a{};
  a.settings = d;
  check_storage("batch", d.batch, 4);
  check_no_overlap("batch", d.batch);
  a.views = d.batch.shape[0];
  a.height = d.batch.shape[1];
  a.width = d.batch.shape[2];
  a.channels = d.batch.shape[3];
  a.stride = d.batch.stride[0];
  if (a.height < 1 || a.width < 1 || a.channels < 1) invalid("batch has no pixels: %s", describe(d.batch).c_str());
  if ((a.height > 1 && d.batch.stride[1] != a.width * a.channels) || (a.width > 1 && d.batch.stride[2] != a.channels)) {
    invalid("each view of batch must be contiguous: %s", describe(d.batch).c_str());
  }
  if (d.crop == GATUN_AUGMENTATION_CENTRAL_CROP && d.resize != 0 && d.resize < std::max(a.height, a.width)) {
    invalid("resize is %d, allowed are 0 and at least the %lld pixels of a side of the view", d.resize,
            static_cast<long long>(std::max(a.height, a.width)));
  }
  if (d.images.rank == 1) {
    check_layout("images", d.images, GATUN_U8, 1);
    check_layout("offsets", d.offsets, GATUN_I64, 1);
    if (d.offsets.shape[0] < 1) invalid("offsets is empty; it has one entry more than there are images");
    const int64_t count = d.offsets.shape[0] - 1;
    check_layout("heights", d.heights, GATUN_I32, 1);
    check_shape("heights", d.heights, {count});
    check_layout("widths", d.widths, GATUN_I32, 1);
    check_shape("widths", d.widths, {count});
    if (d.max_height < 1 || d.max_width < 1) {
      invalid("max_height is %d and max_width is %d, both must be positive", d.max_height, d.max_width);
    }
    a.image_height = d.max_height;
    a.image_width = d.max_width;
  } else {
    check_layout("images", d.images, GATUN_U8, 4);
    check_absent("offsets", d.offsets);
    check_absent("heights", d.heights);
    check_absent("widths", d.widths);
    if (d.images.shape[3] != a.channels) {
      invalid("images has %lld channels, batch has %lld", static_cast<long long>(d.images.shape[3]), static_cast<long long>(a.channels));
    }
    int64_t expected = 1;
    for (int i = 3; i >= 0; --i) {
      if (d.images.shape[i] > 1 && d.images.stride[i] != expected) invalid("images must be contiguous: %s", describe(d.images).c_str());
      expected *= std::max<int64_t>(d.images.shape[i], 1);
    }
    a.image_height = d.images.shape[1];
    a.image_width = d.images.shape[2];
    if (a.views > 0 && (a.image_height < 1 || a.image_width < 1)) invalid("images has no pixels: %s", describe(d.images).c_str());
  }
  if (a.image_height > 65535 || a.image_width > 65535 || a.height > 65535 || a.width > 65535) {
    invalid("a side of an image is above 65535 pixels: images is %s, batch is %s", describe(d.images).c_str(), describe(d.batch).c_str());
  }
  // Rows are indexed with 32 bits.
  if (a.channels > INT32_MAX / 8 / (std::max(a.image_width, a.width) + 2)) {
    invalid("%lld channels are too many", static_cast<long long>(a.channels));
  }
  if (present(d.rows)) {
    check_layout("rows", d.rows, GATUN_I32, 1);
    check_shape("rows", d.rows, {a.views});
  }
  if (present(d.ids)) {
    check_layout("ids", d.ids, GATUN_I64, 1);
    check_shape("ids", d.ids, {a.views});
  }
  check_layout("mean", d.mean, GATUN_F32, 1);
  check_shape("mean", d.mean, {a.channels});
  check_layout("deviation", d.deviation, GATUN_F32, 1);
  check_shape("deviation", d.deviation, {a.channels});
  if (present(d.parameters)) {
    check_layout("parameters", d.parameters, GATUN_F32, 2);
    check_shape("parameters", d.parameters, {a.views, GATUN_AUGMENTATION_PARAMETERS});
    if (a.views > 1 && d.parameters.stride[0] != GATUN_AUGMENTATION_PARAMETERS) {
      invalid("parameters must be contiguous: %s", describe(d.parameters).c_str());
    }
  }
  return a;
}

#if !defined(GATUN_CUDA)
// Every image that will be read lies within the buffer.
void check_images(const Augmentation& a) {
  const gatun_augmentation_desc& d = a.settings;
  const int64_t images = a.image_count();
  for (int64_t b = 0; b < a.views; ++b) {
    const int64_t i = a.image(b);
    if (i < 0 || i >= images) {
      invalid("rows[%lld] is %lld, there are %lld images", static_cast<long long>(b), static_cast<long long>(i), static_cast<long long>(images));
    }
    if (a.offsets == nullptr) continue;
    if (a.heights[i] < 1 || a.heights[i] > d.max_height || a.widths[i] < 1 || a.widths[i] > d.max_width) {
      invalid("image %lld is %d x %d, allowed is 1 to max_height %d and max_width %d", static_cast<long long>(i), a.heights[i], a.widths[i],
              d.max_height, d.max_width);
    }
    const int64_t begin = a.offsets[i];
    const int64_t end = a.offsets[i + 1];
    const int64_t bytes = static_cast<int64_t>(a.heights[i]) * a.widths[i] * a.channels;
    if (begin < 0 || end > d.images.shape[0] || begin > end || bytes > end - begin) {
      invalid("image %lld of %d x %d x %lld bytes does not fit offsets %lld to %lld of %lld bytes", static_cast<long long>(i), a.heights[i],
              a.widths[i], static_cast<long long>(a.channels), static_cast<long long>(begin), static_cast<long long>(end),
              static_cast<long long>(d.images.shape[0]));
    }
  }
}

void check_deviation(const Augmentation& a) {
  for (int64_t c = 0; c < a.channels; ++c) {
    if (!(a.deviation[c] > 0.0f)) {
      invalid("deviation[%lld] is %g, it must be positive", static_cast<long long>(c), static_cast<double>(a.deviation[c]));
    }
  }
}
#endif

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_augmentation_workspace(const gatun_augmentation_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("augmentation_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = augmentation_workspace_bytes(check_layouts(*desc));
  });
}

gatun_status gatun_augmentation(gatun_stream* stream, const gatun_augmentation_desc* desc, const void* images, const void* offsets,
                                const void* heights, const void* widths, const void* rows, const void* ids, const gatun_random_key* key,
                                const void* mean, const void* deviation, void* batch, void* parameters, void* workspace,
                                size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("augmentation", error, [&] {
    check_call(stream, desc);
    Augmentation a = check_layouts(*desc);
    check_pointer("images", desc->images, images);
    check_pointer("offsets", desc->offsets, offsets);
    check_pointer("heights", desc->heights, heights);
    check_pointer("widths", desc->widths, widths);
    check_pointer("rows", desc->rows, rows);
    check_pointer("ids", desc->ids, ids);
    check_pointer("mean", desc->mean, mean);
    check_pointer("deviation", desc->deviation, deviation);
    check_pointer("batch", desc->batch, batch);
    check_pointer("parameters", desc->parameters, parameters);
    if (key == nullptr) invalid("key is NULL");
    if (reinterpret_cast<uintptr_t>(key) % alignof(gatun_random_key) != 0) invalid("key is not aligned to 8 bytes");
    check_workspace(workspace, workspace_bytes, augmentation_workspace_bytes(a));
    a.key = key;
    a.images = static_cast<const uint8_t*>(images);
    a.offsets = static_cast<const int64_t*>(offsets);
    a.heights = static_cast<const int32_t*>(heights);
    a.widths = static_cast<const int32_t*>(widths);
    a.rows = static_cast<const int32_t*>(rows);
    a.ids = static_cast<const int64_t*>(ids);
    a.mean = static_cast<const float*>(mean);
    a.deviation = static_cast<const float*>(deviation);
    a.batch = batch;
    a.parameters = static_cast<float*>(parameters);
#if !defined(GATUN_CUDA)
    check_images(a);
    check_deviation(a);
#endif
    with_storage(desc->batch.dtype, [&](auto storage) { augmentation<typename decltype(storage)::Type>(*stream, a, workspace); });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(augmentation);
GATUN_ABI_FUNCTION(gatun_augmentation_workspace);
GATUN_ABI_FUNCTION(gatun_augmentation);
GATUN_ABI_STRUCT(gatun_augmentation_desc, GATUN_ABI_FIELD(gatun_augmentation_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, crop), GATUN_ABI_FIELD(gatun_augmentation_desc, resize),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, antialias), GATUN_ABI_FIELD(gatun_augmentation_desc, area_low),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, area_high), GATUN_ABI_FIELD(gatun_augmentation_desc, aspect_low),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, aspect_high), GATUN_ABI_FIELD(gatun_augmentation_desc, flip),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, jitter), GATUN_ABI_FIELD(gatun_augmentation_desc, brightness),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, contrast), GATUN_ABI_FIELD(gatun_augmentation_desc, blur),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, sigma_low), GATUN_ABI_FIELD(gatun_augmentation_desc, sigma_high),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, noise), GATUN_ABI_FIELD(gatun_augmentation_desc, blur_taps),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, max_height), GATUN_ABI_FIELD(gatun_augmentation_desc, max_width),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, reserved), GATUN_ABI_FIELD(gatun_augmentation_desc, images),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, offsets), GATUN_ABI_FIELD(gatun_augmentation_desc, heights),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, widths), GATUN_ABI_FIELD(gatun_augmentation_desc, rows),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, ids), GATUN_ABI_FIELD(gatun_augmentation_desc, mean),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, deviation), GATUN_ABI_FIELD(gatun_augmentation_desc, batch),
                 GATUN_ABI_FIELD(gatun_augmentation_desc, parameters));

// SPDX-License-Identifier: Apache-2.0
/**
 * @file augmentation.h
 * Views of images for self-supervised learning: random resized crop, horizontal flip, brightness and contrast, Gaussian blur, noise,
 * normalisation, from stored uint8 images straight into the batch. One call makes one view of a batch; the view's index is the
 * stream of the random key.
 *
 * Steps, on pixels scaled to [0, 1]:
 *  1. Crop. Random (Inception's, as torchvision has it): up to ten tries of an area, uniform in [area_low, area_high] of the image's,
 *     and an aspect width/height, uniform in the logarithm; height and width are rounded to pixels; the first that fits gets a uniform
 *     offset. If none fits, the largest central crop with an aspect within the bounds. Or a central crop for evaluation, see `crop`.
 *  2. Resize to (h, w): bilinear between pixel centres, edges repeated. With `antialias` a reduction uses a triangle as wide as the
 *     reduction, so that no source pixel is skipped; without it two pixels a side are read, whatever the reduction.
 *  3. Flip left to right with probability `flip`.
 *  4. With probability `jitter`: brightness x * b with b in 1 +- brightness, and contrast m + c(x - m) with c in 1 +- contrast and m the
 *     mean of the crop (of its luma .299 R + .587 G + .114 B if it has three channels); in random order, clamped to [0, 1] after each.
 *  5. With probability `blur`: a separable Gaussian of blur_taps taps a side and a uniform sigma in pixels of the view; borders reflected.
 *  6. Noise: normal, of standard deviation `noise`, not clamped.
 *  7. (x - mean) / std of the channel.
 *
 * Random numbers (random.h: draw i of the sample's id under the key): try t: 4t area, 4t+1 aspect, 4t+2 top, 4t+3 left; 40 flip,
 * 41 jitter, 42 brightness, 43 contrast, 44 order, 45 blur, 46 sigma; element e of the view: normal number of column 64 + e.
 * The decisions are the same bits on every device, instruction set and thread count.
 */
#ifndef GATUN_AUGMENTATION_H
#define GATUN_AUGMENTATION_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  GATUN_AUGMENTATION_RANDOM_CROP = 0,
  /** The image resized to a shorter side of `resize`, its centre cut out; with resize 0 the whole image, stretched to (h, w). */
  GATUN_AUGMENTATION_CENTRAL_CROP = 1
};

/** Columns of `parameters`: what was drawn for a view. */
enum {
  GATUN_AUGMENTATION_TOP = 0,            /**< of the crop, in source pixels */
  GATUN_AUGMENTATION_LEFT = 1,
  GATUN_AUGMENTATION_HEIGHT = 2,
  GATUN_AUGMENTATION_WIDTH = 3,
  GATUN_AUGMENTATION_FLIP = 4,           /**< 0 or 1 */
  GATUN_AUGMENTATION_BRIGHTNESS = 5,     /**< factor, 1 without jitter */
  GATUN_AUGMENTATION_CONTRAST = 6,       /**< factor, 1 without jitter */
  GATUN_AUGMENTATION_CONTRAST_FIRST = 7, /**< 1 if the contrast changed before the brightness, else 0 */
  GATUN_AUGMENTATION_SIGMA = 8,          /**< of the blur; 0 = not blurred */
  GATUN_AUGMENTATION_PARAMETERS = 9
};

typedef struct gatun_augmentation_desc {
  uint32_t struct_size;
  int32_t crop;       /**< GATUN_AUGMENTATION_RANDOM_CROP or GATUN_AUGMENTATION_CENTRAL_CROP */
  int32_t resize;     /**< central crop only: 0, or at least max(h, w) */
  int32_t antialias;  /**< not 0: a reduction averages over all pixels it covers */
  float area_low;     /**< in (0, 1]; the area and aspect bounds are not looked at for central crops */
  float area_high;    /**< in [area_low, 1] */
  float aspect_low;   /**< width over height, in [0.01, 100] */
  float aspect_high;  /**< in [aspect_low, 100] */
  float flip;         /**< probability */
  float jitter;       /**< probability */
  float brightness;   /**< in [0, 1] */
  float contrast;     /**< in [0, 1] */
  float blur;         /**< probability */
  float sigma_low;    /**< in (0, 100]; the sigma bounds are looked at when blur is above 0 */
  float sigma_high;   /**< in [sigma_low, 100] */
  float noise;        /**< standard deviation on pixels in [0, 1], >= 0 */
  int32_t blur_taps;  /**< odd, 1 to 63 */
  int32_t max_height; /**< ragged images: no image is higher; else not looked at */
  int32_t max_width;  /**< ragged images: no image is wider */
  uint32_t reserved;
  gatun_layout images;     /**< u8 (N, H, W, C) contiguous: images of equal size; or u8 (bytes): ragged images, each (height, width, C) */
  gatun_layout offsets;    /**< i64 (N + 1), ragged only: image i starts at byte offsets[i] and ends before offsets[i + 1] */
  gatun_layout heights;    /**< i32 (N), ragged only */
  gatun_layout widths;     /**< i32 (N), ragged only */
  gatun_layout rows;       /**< i32 (B): image of each view; none: image b for view b */
  gatun_layout ids;        /**< i64 (B): sample id of each view, for its random numbers; none: b */
  gatun_layout mean;       /**< f32 (C), of pixels in [0, 1] */
  gatun_layout deviation;  /**< f32 (C): standard deviation, > 0 */
  gatun_layout batch;      /**< f32, on CUDA also bf16 or f16 (B, h, w, C), written; each view contiguous, any stride between views */
  gatun_layout parameters; /**< f32 (B, GATUN_AUGMENTATION_PARAMETERS) contiguous, written: what was drawn; or none */
} gatun_augmentation_desc;

/** Bytes of workspace that gatun_augmentation needs. */
GATUN_API gatun_status gatun_augmentation_workspace(const gatun_augmentation_desc* desc, size_t* bytes, gatun_error* error);

/**
 * Makes one view of each image of a batch.
 * On the CPU, rows, offsets, heights, widths and deviation are checked before anything is read. On CUDA they are device memory, and so
 * is the key: a view of an image that does not lie within the buffer becomes NaN (its parameters too), and so does a channel whose
 * deviation is not positive.
 * @param key read when the operation runs; its stream is the index of the view
 * @param workspace aligned to 64 bytes
 */
GATUN_API gatun_status gatun_augmentation(gatun_stream* stream, const gatun_augmentation_desc* desc, const void* images,
                                          const void* offsets, const void* heights, const void* widths, const void* rows,
                                          const void* ids, const gatun_random_key* key, const void* mean, const void* deviation,
                                          void* batch, void* parameters, void* workspace, size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

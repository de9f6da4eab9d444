// SPDX-License-Identifier: Apache-2.0
// The random decisions and where the pixels of a view lie, for CPU and CUDA kernels alike. Decisions are made with random.h's arithmetic
// (no product that feeds a sum), so that they are the same bits everywhere.
#pragma once

#include <cmath>
#include <cstdint>

#include "gatun/augmentation.h"
#include "kernels/random/random.h"

namespace gatun {

struct AugmentationBox {
  float top, left, height, width;
};

// Where the pixels of one side of a view lie in the source: output o is centred at origin + (o + 1/2) * scale.
struct AugmentationAxis {
  double origin, scale;
  int64_t low, high;  // source pixels that may be read
  bool wide;          // antialiased reduction
  int64_t taps;

  // A random crop is resized by itself; a central one is cut from the resized image, which sees the pixels around it.
  GATUN_RANDOM_INLINE AugmentationAxis(float start, float extent, int64_t count, int64_t source, const gatun_augmentation_desc& s)
      : origin(start),
        scale(static_cast<double>(extent) / static_cast<double>(count)),
        low(s.crop == GATUN_AUGMENTATION_RANDOM_CROP ? static_cast<int64_t>(start) : 0),
        high(s.crop == GATUN_AUGMENTATION_RANDOM_CROP ? static_cast<int64_t>(start + extent) : source),
        wide(s.antialias != 0 && scale > 1.0),
        taps(wide ? static_cast<int64_t>(2 * scale) + 2 : 2) {}

  GATUN_RANDOM_INLINE double height(int64_t pixel, double center) const {
    const double distance = std::fabs(static_cast<double>(pixel) + 0.5 - center);
    return distance < scale ? scale - distance : 0.0;
  }

  // The weights, weights[t * stride] with zeros behind the last, of the source pixels from the returned one on that make output o.
  GATUN_RANDOM_INLINE int64_t find(int64_t o, float* weights, int64_t stride) const {
    const double center = origin + (static_cast<double>(o) + 0.5) * scale;
    if (!wide) {
      const double position = center - 0.5;
      const double whole = std::floor(position);
      const int64_t first = static_cast<int64_t>(whole);
      const bool inside = first >= low && first + 1 < high;
      const float second = inside ? static_cast<float>(position - whole) : 0.0f;
      weights[0] = 1.0f - second;
      weights[stride] = second;
      return first < low ? low : first > high - 1 ? high - 1 : first;
    }
    const int64_t reach = static_cast<int64_t>(std::floor(center - scale + 0.5));
    const int64_t end = static_cast<int64_t>(std::floor(center + scale + 0.5));
    const int64_t first = reach < low ? low : reach;
    const int64_t last = end < high ? end : high;
    double total = 0;
    for (int64_t j = first; j < last; ++j) total += height(j, center);
    for (int64_t t = 0; t < taps; ++t) {
      weights[t * stride] = first + t < last ? static_cast<float>(height(first + t, center) / total) : 0.0f;
    }
    return first;
  }

  // Most taps of any view.
  static int64_t most_taps(int64_t from, int64_t to, bool antialias) { return antialias && from > to ? 2 * from / to + 3 : 2; }
};

// Source position i repeated into [0, n) by reflection that does not repeat the border: -1 is 1.
GATUN_RANDOM_INLINE int64_t augmentation_reflect(int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  const int64_t folded = (i < 0 ? -i : i) % period;
  return folded < n ? folded : period - folded;
}

// What jitter does to a pixel: before * x, then the contrast about the mean, then * after; clamped each time.
struct AugmentationJitter {
  float before, contrast, after;
  GATUN_RANDOM_INLINE explicit AugmentationJitter(const float* parameters) {
    const bool contrast_first = parameters[GATUN_AUGMENTATION_CONTRAST_FIRST] != 0.0f;
    const float brightness = parameters[GATUN_AUGMENTATION_BRIGHTNESS];
    before = contrast_first ? 1.0f : brightness;
    contrast = parameters[GATUN_AUGMENTATION_CONTRAST];
    after = contrast_first ? brightness : 1.0f;
  }
};

GATUN_RANDOM_INLINE bool augmentation_jitters(const float* parameters) {
  return parameters[GATUN_AUGMENTATION_BRIGHTNESS] != 1.0f || parameters[GATUN_AUGMENTATION_CONTRAST] != 1.0f;
}

constexpr int kAugmentationTries = 10;
constexpr uint64_t kAugmentationNoiseDraws = 64;  // see gatun/augmentation.h

GATUN_RANDOM_INLINE float augmentation_round(float x) { return static_cast<float>(static_cast<int64_t>(x + 0.5f)); }

GATUN_RANDOM_INLINE AugmentationBox augmentation_central(float image_height, float image_width, float height, float width) {
  return {(image_height - height) * 0.5f, (image_width - width) * 0.5f, height, width};
}

GATUN_RANDOM_INLINE AugmentationBox augmentation_random_crop(const gatun_augmentation_desc& s, const RandomSource& source, uint64_t id,
                                                             int64_t image_height, int64_t image_width) {
  const float h = static_cast<float>(image_height);
  const float w = static_cast<float>(image_width);
  const float log_low = random_log(s.aspect_low);
  const float log_high = random_log(s.aspect_high);
  for (uint64_t t = 0; t < kAugmentationTries; ++t) {
    const RandomWords words = random_block(source, id, t);
    const float area = random_product(random_product(h, w), random_uniform_of(words.word[0], s.area_low, s.area_high));
    const float aspect = random_exp(random_uniform_of(words.word[1], log_low, log_high));
    const int64_t width = static_cast<int64_t>(augmentation_round(random_square_root(random_product(area, aspect))));
    const int64_t height = static_cast<int64_t>(augmentation_round(random_square_root(random_quotient(area, aspect))));
    if (width < 1 || height < 1 || width > image_width || height > image_height) continue;
    const uint32_t top = random_below(source, id, 4 * t + 2, static_cast<uint32_t>(image_height - height + 1));
    const uint32_t left = random_below(source, id, 4 * t + 3, static_cast<uint32_t>(image_width - width + 1));
    return {static_cast<float>(top), static_cast<float>(left), static_cast<float>(height), static_cast<float>(width)};
  }
  float height = h, width = w;
  const float aspect = random_quotient(w, h);
  if (aspect < s.aspect_low) {
    height = augmentation_round(random_quotient(w, s.aspect_low));
    height = height < 1.0f ? 1.0f : height > h ? h : height;
  }
  if (aspect > s.aspect_high) {
    width = augmentation_round(random_product(h, s.aspect_high));
    width = width < 1.0f ? 1.0f : width > w ? w : width;
  }
  AugmentationBox box = augmentation_central(h, w, height, width);
  box.top = static_cast<float>(static_cast<int64_t>(box.top));
  box.left = static_cast<float>(static_cast<int64_t>(box.left));
  return box;
}

GATUN_RANDOM_INLINE AugmentationBox augmentation_central_crop(const gatun_augmentation_desc& s, int64_t image_height, int64_t image_width,
                                                              int64_t height, int64_t width) {
  const float h = static_cast<float>(image_height);
  const float w = static_cast<float>(image_width);
  if (s.resize == 0) return {0, 0, h, w};
  const float scale = random_quotient(h < w ? h : w, static_cast<float>(s.resize));
  return augmentation_central(h, w, random_product(scale, static_cast<float>(height)), random_product(scale, static_cast<float>(width)));
}

// The GATUN_AUGMENTATION_PARAMETERS numbers of one view of an image.
GATUN_RANDOM_INLINE void augmentation_draw(const gatun_augmentation_desc& s, const RandomSource& source, uint64_t id, int64_t image_height,
                                           int64_t image_width, int64_t height, int64_t width, float* parameters) {
  const AugmentationBox box = s.crop == GATUN_AUGMENTATION_RANDOM_CROP
                                  ? augmentation_random_crop(s, source, id, image_height, image_width)
                                  : augmentation_central_crop(s, image_height, image_width, height, width);
  const RandomWords first = random_block(source, id, kAugmentationTries);
  const RandomWords second = random_block(source, id, kAugmentationTries + 1);
  const bool jitter = random_bernoulli_of(first.word[1], s.jitter);
  const bool blur = random_bernoulli_of(second.word[1], s.blur);
  parameters[GATUN_AUGMENTATION_TOP] = box.top;
  parameters[GATUN_AUGMENTATION_LEFT] = box.left;
  parameters[GATUN_AUGMENTATION_HEIGHT] = box.height;
  parameters[GATUN_AUGMENTATION_WIDTH] = box.width;
  parameters[GATUN_AUGMENTATION_FLIP] = random_bernoulli_of(first.word[0], s.flip) ? 1.0f : 0.0f;
  parameters[GATUN_AUGMENTATION_BRIGHTNESS] =
      jitter ? random_uniform_of(first.word[2], 1.0f - s.brightness, 1.0f + s.brightness) : 1.0f;
  parameters[GATUN_AUGMENTATION_CONTRAST] = jitter ? random_uniform_of(first.word[3], 1.0f - s.contrast, 1.0f + s.contrast) : 1.0f;
  parameters[GATUN_AUGMENTATION_CONTRAST_FIRST] = jitter && (second.word[0] >> 31) != 0 ? 1.0f : 0.0f;
  parameters[GATUN_AUGMENTATION_SIGMA] = blur ? random_uniform_of(second.word[2], s.sigma_low, s.sigma_high) : 0.0f;
}

}  // namespace gatun

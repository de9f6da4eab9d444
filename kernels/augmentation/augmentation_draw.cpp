// SPDX-License-Identifier: Apache-2.0
// The random decisions. One build for every instruction set: with random.h's arithmetic the numbers are the same everywhere.
#include <algorithm>

#include "kernels/augmentation/augmentation.h"
#include "kernels/random/random.h"

namespace gatun {

namespace {

constexpr int kTries = 10;
constexpr uint64_t kAfterTries = 4 * kTries;

float round_half_up(float x) { return static_cast<float>(static_cast<int64_t>(x + 0.5f)); }

struct Box {
  float top, left, height, width;
};

Box central(float image_height, float image_width, float height, float width) {
  return {(image_height - height) * 0.5f, (image_width - width) * 0.5f, height, width};
}

Box random_crop(const gatun_augmentation_desc& s, const RandomSource& source, uint64_t id, int64_t image_height, int64_t image_width) {
  const float pixels = static_cast<float>(image_height) * static_cast<float>(image_width);
  const float log_low = random_log(s.aspect_low);
  const float log_high = random_log(s.aspect_high);
  for (uint64_t t = 0; t < kTries; ++t) {
    const RandomWords words = random_block(source, id, t);
    const float area = pixels * random_uniform_of(words.word[0], s.area_low, s.area_high);
    const float aspect = random_exp(random_uniform_of(words.word[1], log_low, log_high));
    const int64_t width = static_cast<int64_t>(round_half_up(random_square_root(area * aspect)));
    const int64_t height = static_cast<int64_t>(round_half_up(random_square_root(area / aspect)));
    if (width < 1 || height < 1 || width > image_width || height > image_height) continue;
    const uint32_t top = random_below(source, id, 4 * t + 2, static_cast<uint32_t>(image_height - height + 1));
    const uint32_t left = random_below(source, id, 4 * t + 3, static_cast<uint32_t>(image_width - width + 1));
    return {static_cast<float>(top), static_cast<float>(left), static_cast<float>(height), static_cast<float>(width)};
  }
  const float h = static_cast<float>(image_height);
  const float w = static_cast<float>(image_width);
  const float height = w / h < s.aspect_low ? std::clamp(round_half_up(w / s.aspect_low), 1.0f, h) : h;
  const float width = w / h > s.aspect_high ? std::clamp(round_half_up(h * s.aspect_high), 1.0f, w) : w;
  Box box = central(h, w, height, width);
  box.top = static_cast<float>(static_cast<int64_t>(box.top));
  box.left = static_cast<float>(static_cast<int64_t>(box.left));
  return box;
}

Box central_crop(const gatun_augmentation_desc& s, int64_t image_height, int64_t image_width, int64_t height, int64_t width) {
  const float h = static_cast<float>(image_height);
  const float w = static_cast<float>(image_width);
  if (s.resize == 0) return {0, 0, h, w};
  const float scale = std::min(h, w) / static_cast<float>(s.resize);
  return central(h, w, scale * static_cast<float>(height), scale * static_cast<float>(width));
}

}  // namespace

void augmentation_draw(const gatun_augmentation_desc& s, const gatun_random_key& key, uint64_t id, int64_t image_height,
                       int64_t image_width, int64_t height, int64_t width, float* parameters) {
  const RandomSource source = random_source(key);
  const Box box = s.crop == GATUN_AUGMENTATION_RANDOM_CROP ? random_crop(s, source, id, image_height, image_width)
                                                          : central_crop(s, image_height, image_width, height, width);
  const RandomWords first = random_block(source, id, kAfterTries / 4);
  const RandomWords second = random_block(source, id, kAfterTries / 4 + 1);
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

// SPDX-License-Identifier: Apache-2.0
// The mathematics of augmentation after its random decisions, as plainly as it can be written. T = double is the truth, T = float the
// yardstick of rounding.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "gatun/augmentation.h"

namespace gatun {

// Weight of each of `source` pixels in output o of `count`, which covers [start, start + extent).
template <class T>
std::vector<T> augmentation_weights_reference(T start, T extent, int64_t count, int64_t o, int64_t source, bool random_crop, bool antialias) {
  std::vector<T> weights(static_cast<size_t>(source), T(0));
  const int64_t low = random_crop ? static_cast<int64_t>(start) : 0;
  const int64_t high = random_crop ? static_cast<int64_t>(start + extent) : source;
  const T scale = extent / static_cast<T>(count);
  const T center = start + (static_cast<T>(o) + T(0.5)) * scale;
  const T radius = antialias && scale > 1 ? scale : T(1);
  T total = 0;
  for (int64_t i = low; i < high; ++i) {
    weights[static_cast<size_t>(i)] = std::max(T(0), 1 - std::abs(static_cast<T>(i) + T(0.5) - center) / radius);
    total += weights[static_cast<size_t>(i)];
  }
  for (T& weight : weights) weight /= total;
  return weights;
}

inline int64_t augmentation_reflect_reference(int64_t i, int64_t n) {
  while (n > 1 && (i < 0 || i >= n)) i = i < 0 ? -i : 2 * (n - 1) - i;
  return n == 1 ? 0 : i;
}

// image: (image_height, image_width, channels); parameters: GATUN_AUGMENTATION_PARAMETERS numbers; noise: as the view, already scaled,
// or null; view: (height, width, channels)
template <class T>
void augmentation_reference(const uint8_t* image, int64_t image_height, int64_t image_width, int64_t channels, const float* parameters,
                            bool random_crop, bool antialias, int64_t blur_taps, const T* noise, const T* mean, const T* deviation,
                            T* view, int64_t height, int64_t width) {
  const auto clamp = [](T x) { return std::min(std::max(x, T(0)), T(1)); };
  const auto at = [&](int64_t y, int64_t x, int64_t c) { return static_cast<size_t>((y * width + x) * channels + c); };
  std::vector<T> pixels(static_cast<size_t>(height * width * channels));
  const bool flip = parameters[GATUN_AUGMENTATION_FLIP] != 0;
  for (int64_t y = 0; y < height; ++y) {
    const std::vector<T> rows = augmentation_weights_reference<T>(parameters[GATUN_AUGMENTATION_TOP], parameters[GATUN_AUGMENTATION_HEIGHT],
                                                                  height, y, image_height, random_crop, antialias);
    for (int64_t x = 0; x < width; ++x) {
      const std::vector<T> columns =
          augmentation_weights_reference<T>(parameters[GATUN_AUGMENTATION_LEFT], parameters[GATUN_AUGMENTATION_WIDTH], width,
                                            flip ? width - 1 - x : x, image_width, random_crop, antialias);
      for (int64_t c = 0; c < channels; ++c) {
        T sum = 0;
        for (int64_t j = 0; j < image_height; ++j) {
          for (int64_t i = 0; i < image_width; ++i) {
            const T weight = rows[static_cast<size_t>(j)] * columns[static_cast<size_t>(i)];
            if (weight != 0) sum += weight * static_cast<T>(image[(j * image_width + i) * channels + c]) / 255;
          }
        }
        pixels[at(y, x, c)] = sum;
      }
    }
  }
  const T brightness = parameters[GATUN_AUGMENTATION_BRIGHTNESS];
  const T contrast = parameters[GATUN_AUGMENTATION_CONTRAST];
  const auto brighten = [&] {
    for (T& x : pixels) x = clamp(x * brightness);
  };
  const auto contrasted = [&] {
    T sum = 0;
    for (size_t i = 0; i < pixels.size(); ++i) {
      const T luma[] = {T(0.299), T(0.587), T(0.114)};
      sum += pixels[i] * (channels == 3 ? luma[i % 3] : 1 / static_cast<T>(channels));
    }
    const T average = sum / static_cast<T>(height * width);
    for (T& x : pixels) x = clamp(average + contrast * (x - average));
  };
  if (brightness != 1 || contrast != 1) {
    if (parameters[GATUN_AUGMENTATION_CONTRAST_FIRST] != 0) contrasted();
    brighten();
    if (parameters[GATUN_AUGMENTATION_CONTRAST_FIRST] == 0) contrasted();
  }
  const T sigma = parameters[GATUN_AUGMENTATION_SIGMA];
  if (sigma > 0) {
    const int64_t radius = blur_taps / 2;
    const std::vector<T> sharp = pixels;
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        for (int64_t c = 0; c < channels; ++c) {
          T sum = 0, total = 0;
          for (int64_t j = -radius; j <= radius; ++j) {
            for (int64_t i = -radius; i <= radius; ++i) {
              const T weight = std::exp(-static_cast<T>(j * j + i * i) / (2 * sigma * sigma));
              total += weight;
              sum += weight * sharp[at(augmentation_reflect_reference(y + j, height), augmentation_reflect_reference(x + i, width), c)];
            }
          }
          pixels[at(y, x, c)] = sum / total;
        }
      }
    }
  }
  for (size_t i = 0; i < pixels.size(); ++i) {
    const size_t c = i % static_cast<size_t>(channels);
    view[i] = (pixels[i] + (noise == nullptr ? T(0) : noise[i]) - mean[c]) / deviation[c];
  }
}

}  // namespace gatun

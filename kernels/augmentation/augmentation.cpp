// SPDX-License-Identifier: Apache-2.0
#include "kernels/augmentation/augmentation.h"

#include <algorithm>
#include <cmath>

#include "kernels/augmentation/augmentation_draw.h"
#include "kernels/common/isa.h"

#ifndef GATUN_AUGMENTATION_ONCE_
#define GATUN_AUGMENTATION_ONCE_
namespace gatun {

// Views are dealt to at most this many slots of workspace, so that its size does not depend on the number of threads.
constexpr int64_t kSlots = 64;

constexpr int64_t padded(int64_t count) { return (count + 15) / 16 * 16; }

// Where things lie in the workspace, in floats; every part starts on a cache line.
struct AugmentationPlan {
  int64_t row;           // elements of a row of the view
  int64_t row_stride;    // the same, padded to whole vectors
  int64_t column_taps;   // most taps along a row
  int64_t row_taps;
  int64_t source;        // floats of a row of the source with room behind it
  int64_t radius;        // of the blur
  int64_t slots;
  // shared: drawn parameters, then three numbers for each element of a row
  int64_t parameters, luma, scale, shift;
  // of a slot, relative to its start
  int64_t shared_size, slot_size;
  int64_t slot_source, slot_index, slot_weights, slot_row_weights, slot_noise, slot_border, slot_ring;

  explicit AugmentationPlan(const Augmentation& a) {
    const gatun_augmentation_desc& s = a.settings;
    row = a.width * a.channels;
    row_stride = padded(row);
    column_taps = AugmentationAxis::most_taps(a.image_width, a.width, s.antialias != 0);
    row_taps = AugmentationAxis::most_taps(a.image_height, a.height, s.antialias != 0);
    source = padded((a.image_width + column_taps) * a.channels);
    radius = s.blur > 0.0f ? s.blur_taps / 2 : 0;
    slots = std::min(kSlots, a.views);
    int64_t at = 0;
    const auto place = [&](int64_t floats) {
      const int64_t start = at;
      at += padded(floats);
      return start;
    };
    parameters = place(a.views * GATUN_AUGMENTATION_PARAMETERS);
    luma = place(row_stride);
    scale = place(row_stride);
    shift = place(row_stride);
    shared_size = at;
    at = 0;
    slot_source = place(source);
    slot_index = place(row_stride);
    slot_weights = place(row_stride * column_taps);
    slot_row_weights = place(row_taps);
    slot_noise = place(s.noise > 0.0f ? row_stride : 0);
    slot_border = place(s.blur > 0.0f ? row_stride + 2 * radius * a.channels : 0);
    slot_ring = place(s.blur > 0.0f ? row_stride * (2 * radius + 1) : 0);
    slot_size = at;
  }
  int64_t size() const { return shared_size + slots * slot_size; }
};

// One view with the workspace of its slot.
struct View {
  const Augmentation& a;
  const AugmentationPlan& plan;
  const float* parameters;
  const float* shared;
  float* slot;
  float* out;
  int64_t index;  // in the batch
  RandomSource random;
  uint64_t id;

  bool jitter() const { return augmentation_jitters(parameters); }
  bool blur() const { return parameters[GATUN_AUGMENTATION_SIGMA] > 0.0f; }
};

}  // namespace gatun
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/augmentation/augmentation.cpp"
#include "hwy/foreach_target.h"
#include "kernels/common/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gatun {
namespace HWY_NAMESPACE {

HWY_INLINE VF load_pixels(const uint8_t* p) {
  return hn::ConvertTo(F32(), hn::PromoteTo(I32(), hn::LoadU(hn::Rebind<uint8_t, F32>(), p)));
}

HWY_INLINE void store(VF x, float* p, int64_t n) {
  const F32 d;
  if (n >= static_cast<int64_t>(hn::Lanes(d))) hn::StoreU(x, d, p);
  else store_tail(x, d, p, n);
}

HWY_INLINE VF load(const float* p, int64_t n) {
  const F32 d;
  return n >= static_cast<int64_t>(hn::Lanes(d)) ? hn::LoadU(d, p) : load_tail(d, p, n);
}

HWY_INLINE VF clamp(VF x) { return hn::Min(hn::Max(x, hn::Zero(F32())), hn::Set(F32(), 1.0f)); }

// The columns' taps as one table for all rows: element e of a row of the view sums weights[t][e] * source[index[e] + t * channels].
// Returns the first source column; a flip only turns the table round.
HWY_INLINE int64_t make_columns(const View& v, const AugmentationAxis& axis) {
  const int64_t channels = v.a.channels;
  const int64_t stride = v.plan.row_stride;
  int32_t* HWY_RESTRICT index = reinterpret_cast<int32_t*>(v.slot + v.plan.slot_index);
  float* HWY_RESTRICT weights = v.slot + v.plan.slot_weights;
  float* HWY_RESTRICT tap = v.slot + v.plan.slot_source;  // not in use yet
  const bool flip = v.parameters[GATUN_AUGMENTATION_FLIP] != 0.0f;
  const int64_t begin = axis.find(0, tap, 1);
  for (int64_t o = 0; o < v.a.width; ++o) {
    const int64_t first = axis.find(o, tap, 1) - begin;
    const int64_t e = (flip ? v.a.width - 1 - o : o) * channels;
    for (int64_t c = 0; c < channels; ++c) index[e + c] = static_cast<int32_t>(first * channels + c);
    for (int64_t t = 0; t < axis.taps; ++t) {
      for (int64_t c = 0; c < channels; ++c) weights[t * stride + e + c] = tap[t];
    }
  }
  // Padding: an index that may be read, and numbers that may be summed with weight 0.
  std::fill(index + v.plan.row, index + stride, 0);
  for (int64_t t = 0; t < axis.taps; ++t) std::fill(weights + t * stride + v.plan.row, weights + (t + 1) * stride, 0.0f);
  return begin;
}

// source[i] = sum over taps of weights[t] * pixels[i + t * pitch]
HWY_INLINE void mix_rows(const uint8_t* HWY_RESTRICT pixels, int64_t pitch, const float* HWY_RESTRICT weights, int64_t taps,
                         float* HWY_RESTRICT source, int64_t n) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  if (n < lanes) {
    for (int64_t i = 0; i < n; ++i) {
      float sum = 0;
      for (int64_t t = 0; t < taps; ++t) sum += weights[t] * static_cast<float>(pixels[t * pitch + i]);
      source[i] = sum;
    }
    return;
  }
  // The last vector is moved back instead of reading behind the image.
  for (int64_t i = 0; i < n; i += lanes) {
    const int64_t at = std::min(i, n - lanes);
    VF sum = hn::Mul(load_pixels(pixels + at), hn::Set(d, weights[0]));
    for (int64_t t = 1; t < taps; ++t) sum = hn::MulAdd(load_pixels(pixels + t * pitch + at), hn::Set(d, weights[t]), sum);
    hn::StoreU(sum, d, source + at);
  }
}

HWY_INLINE VF mix_columns(const float* HWY_RESTRICT source, const int32_t* HWY_RESTRICT index, const float* HWY_RESTRICT weights,
                          int64_t stride, int64_t taps, int64_t channels) {
  const F32 d;
  const auto at = hn::LoadU(I32(), index);
  VF sum = hn::Mul(hn::GatherIndex(d, source, at), hn::LoadU(d, weights));
  for (int64_t t = 1; t < taps; ++t) {
    sum = hn::MulAdd(hn::GatherIndex(d, source + t * channels, at), hn::LoadU(d, weights + t * stride), sum);
  }
  return sum;
}

HWY_INLINE VF adjust(VF x, const AugmentationJitter& jitter, float average) {
  const F32 d;
  const VF mean = hn::Set(d, average);
  x = clamp(hn::MulAdd(hn::Set(d, jitter.contrast), hn::Sub(x, mean), mean));
  return clamp(hn::Mul(x, hn::Set(d, jitter.after)));
}

// Noise of row y. Four elements share a block of random numbers, a vector of blocks is drawn together in loops that the compiler vectorises;
// a row need not start at a multiple of four.
HWY_INLINE void make_noise(const View& v, int64_t y) {
  const float deviation = v.a.settings.noise;
  if (!(deviation > 0.0f)) return;
  constexpr int64_t kBlocks = static_cast<int64_t>(hn::MaxLanes(F32()));
  float* HWY_RESTRICT noise = v.slot + v.plan.slot_noise;
  const int64_t begin = y * v.plan.row;
  const int64_t end = begin + v.plan.row;
  for (int64_t block = begin / 4; block * 4 < end; block += kBlocks) {
    uint32_t words[4][kBlocks];
    float z[4][kBlocks];
    float values[4 * kBlocks];
    for (int64_t i = 0; i < kBlocks; ++i) {
      const RandomWords drawn = random_block(v.random, v.id, static_cast<uint64_t>(block + i) + kAugmentationNoiseDraws / 4);
      for (int j = 0; j < 4; ++j) words[j][i] = drawn.word[j];
    }
    for (int j = 0; j < 4; j += 2) {
      for (int64_t i = 0; i < kBlocks; ++i) random_normal_of(words[j][i], words[j + 1][i], &z[j][i], &z[j + 1][i]);
    }
    for (int64_t i = 0; i < kBlocks; ++i) {
      for (int j = 0; j < 4; ++j) values[4 * i + j] = deviation * z[j][i];
    }
    const int64_t low = std::max(begin, block * 4);
    const int64_t high = std::min(end, (block + kBlocks) * 4);
    std::copy_n(values + (low - block * 4), high - low, noise + (low - begin));
  }
}

HWY_INLINE VF finish(const View& v, VF x, int64_t e) {
  const F32 d;
  if (v.a.settings.noise > 0.0f) x = hn::Add(x, hn::LoadU(d, v.slot + v.plan.slot_noise + e));
  return hn::MulAdd(x, hn::LoadU(d, v.shared + v.plan.scale + e), hn::LoadU(d, v.shared + v.plan.shift + e));
}

// Crop, resize and flip; the first factor of the jitter, whose mean is returned; all the rest as well when nothing comes between.
HWY_INLINE float resample(const View& v, float before) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Augmentation& a = v.a;
  const AugmentationPlan& plan = v.plan;
  const float* p = v.parameters;
  const int64_t image = a.image(v.index);
  const int64_t image_width = a.width_of(image);
  const AugmentationAxis rows(p[GATUN_AUGMENTATION_TOP], p[GATUN_AUGMENTATION_HEIGHT], a.height, a.height_of(image), a.settings);
  const AugmentationAxis columns(p[GATUN_AUGMENTATION_LEFT], p[GATUN_AUGMENTATION_WIDTH], a.width, image_width, a.settings);
  float* source = v.slot + plan.slot_source;
  float* weights = v.slot + plan.slot_row_weights;
  const int64_t left = make_columns(v, columns);
  const int64_t right = std::min(columns.high, columns.find(a.width - 1, source, 1) + columns.taps);
  const int64_t n = (right - left) * a.channels;
  // Columns behind the border have weight 0, and 0 times garbage could be NaN.
  std::fill_n(source + n, columns.taps * a.channels, 0.0f);
  const int64_t pitch = image_width * a.channels;
  const uint8_t* pixels = a.images + a.offset_of(image) + left * a.channels;
  const bool jitter = v.jitter();
  const bool done = !jitter && !v.blur();
  VF sum = hn::Zero(d);
  for (int64_t y = 0; y < a.height; ++y) {
    const int64_t top = rows.find(y, weights, 1);
    const int64_t taps = std::min(rows.taps, rows.high - top);
    for (int64_t t = 0; t < taps; ++t) weights[t] *= 1.0f / 255.0f;
    mix_rows(pixels + top * pitch, pitch, weights, taps, source, n);
    if (done) make_noise(v, y);
    float* out = v.out + y * plan.row;
    for (int64_t e = 0; e < plan.row; e += lanes) {
      VF x = mix_columns(source, reinterpret_cast<const int32_t*>(v.slot + plan.slot_index) + e, v.slot + plan.slot_weights + e,
                         plan.row_stride, columns.taps, a.channels);
      if (jitter) {
        x = clamp(hn::Mul(x, hn::Set(d, before)));
        sum = hn::MulAdd(x, hn::LoadU(d, v.shared + plan.luma + e), sum);
      }
      if (done) x = finish(v, x, e);
      store(x, out + e, plan.row - e);
    }
  }
  return sum_lanes(d, sum);
}

// Row y of the resampled view, jittered, with its reflections at both ends, blurred along the row into its place in the ring.
HWY_INLINE void blur_row(const View& v, const AugmentationJitter& jitter, float mean, int64_t y, const float* HWY_RESTRICT kernel, int64_t radius) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t channels = v.a.channels;
  float* HWY_RESTRICT border = v.slot + v.plan.slot_border;
  float* HWY_RESTRICT middle = border + radius * channels;
  const float* HWY_RESTRICT in = v.out + y * v.plan.row;
  float* HWY_RESTRICT out = v.slot + v.plan.slot_ring + y % (2 * radius + 1) * v.plan.row_stride;
  for (int64_t e = 0; e < v.plan.row; e += lanes) {
    const int64_t left = v.plan.row - e;
    const VF x = load(in + e, left);
    store(v.jitter() ? adjust(x, jitter, mean) : x, middle + e, left);
  }
  for (int64_t i = 1; i <= radius; ++i) {
    for (int64_t c = 0; c < channels; ++c) {
      middle[-i * channels + c] = middle[augmentation_reflect(-i, v.a.width) * channels + c];
      middle[(v.a.width - 1 + i) * channels + c] = middle[augmentation_reflect(v.a.width - 1 + i, v.a.width) * channels + c];
    }
  }
  for (int64_t e = 0; e < v.plan.row; e += lanes) {
    const int64_t left = v.plan.row - e;
    VF sum = hn::Mul(load(border + e, left), hn::Set(d, kernel[0]));
    for (int64_t k = 1; k <= 2 * radius; ++k) sum = hn::MulAdd(load(border + e + k * channels, left), hn::Set(d, kernel[k]), sum);
    hn::StoreU(sum, d, out + e);
  }
}

// In place: a row of the view is overwritten when the last row that needs it is in the ring.
HWY_INLINE void blur(const View& v, const AugmentationJitter& jitter, float mean) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t radius = v.plan.radius;
  const int64_t height = v.a.height;
  float kernel[64];
  const double sigma = v.parameters[GATUN_AUGMENTATION_SIGMA];
  double total = 0;
  for (int64_t k = -radius; k <= radius; ++k) total += std::exp(-0.5 * static_cast<double>(k * k) / (sigma * sigma));
  for (int64_t k = -radius; k <= radius; ++k) {
    kernel[k + radius] = static_cast<float>(std::exp(-0.5 * static_cast<double>(k * k) / (sigma * sigma)) / total);
  }
  int64_t ready = 0;
  for (int64_t y = 0; y < height; ++y) {
    for (; ready < std::min(height, y + radius + 1); ++ready) blur_row(v, jitter, mean, ready, kernel, radius);
    make_noise(v, y);
    const float* rows[64];
    for (int64_t k = 0; k <= 2 * radius; ++k) {
      rows[k] = v.slot + v.plan.slot_ring + augmentation_reflect(y + k - radius, height) % (2 * radius + 1) * v.plan.row_stride;
    }
    float* out = v.out + y * v.plan.row;
    for (int64_t e = 0; e < v.plan.row; e += lanes) {
      VF sum = hn::Mul(hn::LoadU(d, rows[0] + e), hn::Set(d, kernel[0]));
      for (int64_t k = 1; k <= 2 * radius; ++k) sum = hn::MulAdd(hn::LoadU(d, rows[k] + e), hn::Set(d, kernel[k]), sum);
      store(finish(v, sum, e), out + e, v.plan.row - e);
    }
  }
}

HWY_INLINE void make_view(const View& v) {
  const F32 d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const AugmentationJitter jitter(v.parameters);
  const float mean = resample(v, jitter.before);
  if (v.blur()) {
    blur(v, jitter, mean);
  } else if (v.jitter()) {
    for (int64_t y = 0; y < v.a.height; ++y) {
      make_noise(v, y);
      float* out = v.out + y * v.plan.row;
      for (int64_t e = 0; e < v.plan.row; e += lanes) {
        const int64_t left = v.plan.row - e;
        store(finish(v, adjust(load(out + e, left), jitter, mean), e), out + e, left);
      }
    }
  }
}

void make_views(int threads, const Augmentation& a, const AugmentationPlan& plan, float* workspace) {
  const RandomSource random = random_source(*a.key);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t s = 0; s < plan.slots; ++s) {
    float* slot = workspace + plan.shared_size + s * plan.slot_size;
    for (int64_t b = a.views * s / plan.slots; b < a.views * (s + 1) / plan.slots; ++b) {
      make_view({a, plan, workspace + plan.parameters + b * GATUN_AUGMENTATION_PARAMETERS, workspace, slot,
                 static_cast<float*>(a.batch) + b * a.stride, b, random, a.id(b)});
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gatun
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gatun {

size_t augmentation_workspace_bytes(const Augmentation& a) { return static_cast<size_t>(AugmentationPlan(a).size()) * sizeof(float); }

template <>
void augmentation<float>(const Stream& stream, const Augmentation& a, void* workspace) {
  if (a.views == 0 || a.height * a.width * a.channels == 0) return;
  const AugmentationPlan plan(a);
  float* shared = static_cast<float*>(workspace);
  const float pixels = static_cast<float>(a.height * a.width);
  constexpr float kLuma[] = {0.299f, 0.587f, 0.114f};
  for (int64_t e = 0; e < plan.row_stride; ++e) {
    const int64_t c = e % a.channels;
    const bool inside = e < plan.row;
    shared[plan.luma + e] = inside ? (a.channels == 3 ? kLuma[c] : 1.0f / static_cast<float>(a.channels)) / pixels : 0.0f;
    shared[plan.scale + e] = inside ? 1.0f / a.deviation[c] : 0.0f;
    shared[plan.shift + e] = inside ? -a.mean[c] / a.deviation[c] : 0.0f;
  }
  float* parameters = shared + plan.parameters;
  const RandomSource random = random_source(*a.key);
#pragma omp parallel for num_threads(stream.threads()) schedule(static)
  for (int64_t b = 0; b < a.views; ++b) {
    const int64_t image = a.image(b);
    augmentation_draw(a.settings, random, a.id(b), a.height_of(image), a.width_of(image), a.height, a.width,
                      parameters + b * GATUN_AUGMENTATION_PARAMETERS);
  }
  if (a.parameters != nullptr) std::copy_n(parameters, a.views * GATUN_AUGMENTATION_PARAMETERS, a.parameters);
  GATUN_DISPATCH(make_views)(stream.threads(), a, plan, shared);
}

}  // namespace gatun
#endif

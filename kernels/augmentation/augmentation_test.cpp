// SPDX-License-Identifier: Apache-2.0
#include "kernels/augmentation/augmentation_reference.h"

#include "kernels/random/random.h"
#include "kernels/testing/checks.h"
#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr int64_t kColumns = GATUN_AUGMENTATION_PARAMETERS;

std::vector<uint8_t> bytes(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<uint8_t> values(static_cast<size_t>(count));
  for (uint8_t& value : values) value = static_cast<uint8_t>(generator() >> 24);
  return values;
}

// Images and what is asked of them. Everything random is off until a test switches it on.
struct Setting {
  gatun_augmentation_desc desc{};
  std::vector<uint8_t> images;
  std::vector<int64_t> offsets;
  std::vector<int32_t> heights, widths, rows;
  std::vector<int64_t> ids;
  std::vector<float> mean, deviation;
  gatun_random_key key{42, 7, 1, 0};
  int64_t views, height, width, channels;

  // Equal images
  Setting(int64_t count, int64_t image_height, int64_t image_width, int64_t channels, int64_t views, int64_t height, int64_t width)
      : images(bytes(count * image_height * image_width * channels, 5)), views(views), height(height), width(width), channels(channels) {
    desc.images = layout(GATUN_U8, {count, image_height, image_width, channels});
    heights.assign(static_cast<size_t>(count), static_cast<int32_t>(image_height));
    widths.assign(static_cast<size_t>(count), static_cast<int32_t>(image_width));
    for (int64_t i = 0; i <= count; ++i) offsets.push_back(i * image_height * image_width * channels);
    finish(count);
  }

  // Ragged images of the given (height, width), with a few bytes between them
  Setting(const std::vector<std::pair<int32_t, int32_t>>& sizes, int64_t channels, int64_t views, int64_t height, int64_t width)
      : views(views), height(height), width(width), channels(channels) {
    offsets.push_back(3);
    for (const auto& [h, w] : sizes) {
      heights.push_back(h);
      widths.push_back(w);
      offsets.push_back(offsets.back() + h * w * channels + 5);
      desc.max_height = std::max(desc.max_height, h);
      desc.max_width = std::max(desc.max_width, w);
    }
    images = bytes(offsets.back(), 6);
    desc.images = layout(GATUN_U8, {offsets.back()});
    ragged();
    finish(static_cast<int64_t>(sizes.size()));
  }

  void ragged() {
    desc.offsets = layout(GATUN_I64, {static_cast<int64_t>(offsets.size())});
    desc.heights = desc.widths = layout(GATUN_I32, {static_cast<int64_t>(heights.size())});
  }

  void finish(int64_t count) {
    desc.struct_size = sizeof desc;
    desc.area_low = 0.3f;
    desc.area_high = 1.0f;
    desc.aspect_low = 0.75f;
    desc.aspect_high = 4.0f / 3;
    desc.sigma_low = 0.1f;
    desc.sigma_high = 2.0f;
    desc.blur_taps = 3;
    for (int64_t b = 0; b < views; ++b) {
      rows.push_back(static_cast<int32_t>((b * 7 + 1) % std::max<int64_t>(count, 1)));
      ids.push_back(1000000000000 + 3 * b);
    }
    for (int64_t c = 0; c < channels; ++c) {
      mean.push_back(0.3f + 0.05f * static_cast<float>(c));
      deviation.push_back(0.35f - 0.04f * static_cast<float>(c));
    }
    desc.rows = layout(GATUN_I32, {views});
    desc.ids = layout(GATUN_I64, {views});
    desc.mean = desc.deviation = layout(GATUN_F32, {channels});
    desc.batch = layout(GATUN_F32, {views, height, width, channels});
    desc.parameters = layout(GATUN_F32, {views, kColumns});
  }

  // The protocol of the Fashion-MNIST runs, with noise
  void everything() {
    desc.flip = 0.5f;
    desc.jitter = 0.8f;
    desc.brightness = desc.contrast = 0.4f;
    desc.blur = 0.5f;
    desc.noise = 0.1f;
  }
};

struct Result {
  std::vector<float> batch, parameters;
};

// What the operation writes, stored as T; gaps between the views are checked and left out.
template <class T = float>
std::vector<T> run_stored(const Setting& s, int threads, int64_t gap, std::vector<float>& parameters) {
  Device device(threads);
  const int64_t size = s.height * s.width * s.channels;
  gatun_augmentation_desc desc = s.desc;
  desc.batch.dtype = kDtype<T>;
  desc.batch.stride[0] = size + gap;
  const Memory<uint8_t> images(s.images);
  const Memory<int64_t> offsets(s.offsets), ids(s.ids);
  const Memory<int32_t> heights(s.heights), widths(s.widths), rows(s.rows);
  const Memory<float> mean(s.mean), deviation(s.deviation);
  const Memory<gatun_random_key> key({s.key});
  Memory<T> batch(static_cast<size_t>(s.views * (size + gap)), T(7.0f));
  Memory<float> drawn(static_cast<size_t>(s.views * kColumns), 7.0f);
  size_t needed = 0;
  run([&](gatun_error* e) { return gatun_augmentation_workspace(&desc, &needed, e); });
  void* workspace = nullptr;
  require_ok([&](gatun_error* e) { return gatun_memory_allocate(device.context(), needed, &workspace, e); });
  // Whatever lies in the workspace must not matter.
  const std::vector<uint8_t> garbage(needed, 0xff);
  run([&](gatun_error* e) { return gatun_memory_copy(device.stream(), workspace, garbage.data(), needed, e); });
  const bool ragged = desc.offsets.dtype != GATUN_NONE;
  run([&](gatun_error* e) {
    return gatun_augmentation(device.stream(), &desc, images.data(), ragged ? offsets.data() : nullptr, ragged ? heights.data() : nullptr,
                              ragged ? widths.data() : nullptr, rows.data(), ids.data(), key.data(), mean.data(), deviation.data(),
                              batch.data(), drawn.data(), workspace, needed, e);
  });
  parameters = drawn.values();
  const std::vector<T> all = batch.values();
  gatun_memory_free(device.context(), workspace, nullptr);
  std::vector<T> result;
  for (int64_t b = 0; b < s.views; ++b) {
    const auto view = all.begin() + b * (size + gap);
    result.insert(result.end(), view, view + size);
    for (int64_t i = 0; i < gap; ++i) CHECK(static_cast<float>(view[size + i]) == 7.0f);
  }
  return result;
}

Result run_kernel(const Setting& s, int threads = 2, int64_t gap = 0) {
  Result result;
  result.batch = run_stored(s, threads, gap, result.parameters);
  return result;
}

template <class T>
std::vector<T> reference(const Setting& s, const std::vector<float>& parameters) {
  const int64_t size = s.height * s.width * s.channels;
  std::vector<T> batch(static_cast<size_t>(s.views * size));
  const std::vector<T> mean(s.mean.begin(), s.mean.end()), deviation(s.deviation.begin(), s.deviation.end());
  const RandomSource source = random_source(s.key);
  for (int64_t b = 0; b < s.views; ++b) {
    const size_t i = static_cast<size_t>(s.rows[static_cast<size_t>(b)]);
    std::vector<T> noise(static_cast<size_t>(size));
    for (int64_t e = 0; e < size; ++e) {
      const uint64_t id = static_cast<uint64_t>(s.ids[static_cast<size_t>(b)]);
      noise[static_cast<size_t>(e)] = T(s.desc.noise) * T(random_normal(source, id, static_cast<uint64_t>(e) + 64));
    }
    augmentation_reference<T>(s.images.data() + s.offsets[i], s.heights[i], s.widths[i], s.channels, parameters.data() + b * kColumns,
                              s.desc.crop == GATUN_AUGMENTATION_RANDOM_CROP, s.desc.antialias != 0, s.desc.blur_taps, noise.data(),
                              mean.data(), deviation.data(), batch.data() + b * size, s.height, s.width);
  }
  return batch;
}

void check_against_reference(const Setting& s, int64_t gap = 0) {
  const Result result = run_kernel(s, 2, gap);
  check_close(result.batch, reference<double>(s, result.parameters), reference<float>(s, result.parameters));
}

}  // namespace

TEST_CASE("augmentation matches the double reference: sizes, channels, antialiasing, blur") {
  struct Shape {
    int64_t image_height, image_width, channels, height, width;
    int32_t blur_taps;
  };
  for (const Shape& shape : std::vector<Shape>{{28, 28, 1, 28, 28, 3},
                                               {37, 23, 3, 11, 13, 5},
                                               {5, 7, 1, 19, 17, 3},
                                               {64, 48, 3, 8, 8, 9},
                                               {9, 9, 4, 3, 2, 63},
                                               {1, 1, 1, 1, 1, 3},
                                               {2, 31, 2, 5, 40, 1}}) {
    for (const int32_t antialias : {0, 1}) {
      for (const bool everything : {false, true}) {
        CAPTURE(shape.image_height);
        CAPTURE(shape.height);
        CAPTURE(antialias);
        CAPTURE(everything);
        Setting s(4, shape.image_height, shape.image_width, shape.channels, 9, shape.height, shape.width);
        s.desc.antialias = antialias;
        s.desc.blur_taps = shape.blur_taps;
        s.desc.aspect_high = 1.7f;
        if (everything) s.everything();
        check_against_reference(s, everything ? 5 : 0);
      }
    }
  }
}

TEST_CASE_TEMPLATE("augmentation writes its batch in each storage type", T, GATUN_STORAGES) {
  for (const bool everything : {false, true}) {
    CAPTURE(everything);
    Setting s(4, 37, 23, 3, 5, 11, 13);
    s.desc.antialias = 1;
    if (everything) s.everything();
    std::vector<float> parameters;
    const std::vector<T> batch = run_stored<T>(s, 2, 3, parameters);
    check_stored<T>(batch, reference<double>(s, parameters), reference<float>(s, parameters));
  }
}

TEST_CASE("augmentation of wide rows, cut into chunks and segments, matches the reference") {
  // A reduction by 60: a chunk of the view reads a row of the source in several pieces.
  Setting reduced(2, 5, 2500, 1, 3, 2, 41);
  reduced.desc.antialias = 1;
  reduced.desc.crop = GATUN_AUGMENTATION_CENTRAL_CROP;
  check_against_reference(reduced);
  Setting wide(2, 20, 100, 3, 3, 5, 120);
  wide.everything();
  check_against_reference(wide);
}

#if defined(GATUN_CUDA)
TEST_CASE("augmentation makes views of images that cannot be read NaN, and only those") {
  const auto check = [](const Setting& s, const Setting& good, size_t bad) {
    const Result result = run_kernel(s), expected = run_kernel(good);
    const size_t size = static_cast<size_t>(s.height * s.width * s.channels);
    for (size_t i = 0; i < result.batch.size(); ++i) {
      CHECK(std::isnan(result.batch[i]) == (i / size == bad));
      if (i / size != bad) CHECK(result.batch[i] == expected.batch[i]);
    }
    for (size_t i = 0; i < result.parameters.size(); ++i) CHECK(std::isnan(result.parameters[i]) == (i / kColumns == bad));
  };
  Setting equal(3, 8, 8, 1, 4, 4, 4);
  equal.everything();
  for (const int32_t row : {3, -1, 1 << 30}) {
    Setting s = equal;
    s.rows[2] = row;
    check(s, equal, 2);
  }
  Setting ragged({{8, 8}, {5, 9}, {6, 6}}, 1, 3, 4, 4);
  ragged.everything();
  ragged.rows = {0, 1, 2};
  const auto attempt = [&](size_t bad, auto&& change) {
    Setting s = ragged;
    change(s);
    check(s, ragged, bad);
  };
  attempt(2, [](Setting& s) { s.offsets[3] = 1 << 20; });
  attempt(0, [](Setting& s) { s.offsets[0] = -1; });
  attempt(1, [](Setting& s) { s.heights[1] = 8; });
  attempt(1, [](Setting& s) { s.widths[1] = 10; });
  attempt(0, [](Setting& s) { s.widths[0] = 0; });
  Setting zero(1, 4, 4, 2, 1, 2, 2);
  zero.deviation[1] = 0;
  const Result divided = run_kernel(zero);
  for (size_t i = 0; i < divided.batch.size(); ++i) CHECK(std::isnan(divided.batch[i]) == (i % 2 == 1));
}
#endif

TEST_CASE("augmentation of ragged images matches the reference, and that of equal ones given as ragged is the same") {
  for (const int32_t crop : {GATUN_AUGMENTATION_RANDOM_CROP, GATUN_AUGMENTATION_CENTRAL_CROP}) {
    for (const int32_t antialias : {0, 1}) {
      Setting s({{17, 40}, {33, 12}, {9, 9}, {1, 21}, {50, 50}}, 3, 10, 8, 6);
      s.desc.crop = crop;
      s.desc.resize = 9;
      s.desc.antialias = antialias;
      s.desc.flip = 0.5f;
      check_against_reference(s);
    }
  }
  Setting equal(3, 20, 30, 1, 6, 10, 10);
  equal.everything();
  const Result expected = run_kernel(equal);
  equal.desc.images = layout(GATUN_U8, {3 * 20 * 30});
  equal.desc.max_height = 25;
  equal.desc.max_width = 33;
  equal.ragged();
  const Result given = run_kernel(equal);
  CHECK(same_bits(expected.batch, given.batch));
  CHECK(same_bits(expected.parameters, given.parameters));
}

TEST_CASE("augmentation with everything off is the image, normalised") {
  Setting s(5, 28, 28, 1, 5, 28, 28);
  s.desc.crop = GATUN_AUGMENTATION_CENTRAL_CROP;
  const Result whole = run_kernel(s);
  for (size_t b = 0; b < 5; ++b) {
    for (size_t i = 0; i < 784; ++i) {
      const double expected = (s.images[static_cast<size_t>(s.rows[b]) * 784 + i] / 255.0 - s.mean[0]) / s.deviation[0];
      REQUIRE(whole.batch[b * 784 + i] == doctest::Approx(expected).epsilon(1e-6));
    }
  }
  // A shorter side of 14 halves a 28 x 42 image; the centre of 8 x 8 starts at (6, 13) there. Two pixels a side are averaged.
  Setting half(1, 28, 42, 1, 1, 8, 8);
  half.rows = {0};
  half.desc.crop = GATUN_AUGMENTATION_CENTRAL_CROP;
  half.desc.resize = 14;
  const Result centre = run_kernel(half);
  const float box[] = {6, 13, 16, 16};
  for (size_t i = 0; i < 4; ++i) CHECK(centre.parameters[i] == box[i]);
  const auto pixel = [&](int y, int x) { return half.images[static_cast<size_t>(y * 42 + x)] / 255.0; };
  const double first = (pixel(6, 13) + pixel(6, 14) + pixel(7, 13) + pixel(7, 14)) / 4;
  CHECK(centre.batch[0] == doctest::Approx((first - half.mean[0]) / half.deviation[0]).epsilon(1e-6));
}

TEST_CASE("augmentation draws the same for any number of threads, any batch, and as it did before") {
  Setting s(10, 28, 28, 1, 150, 28, 28);
  s.everything();
  const Result two = run_kernel(s, 2);
  for (const int threads : {1, 3}) {
    const Result other = run_kernel(s, threads);
    CHECK(same_bits(two.batch, other.batch));
    CHECK(same_bits(two.parameters, other.parameters));
  }
  // A sample's view depends on its id, not on its place in the batch.
  Setting alone(10, 28, 28, 1, 1, 28, 28);
  alone.everything();
  alone.rows = {s.rows[77]};
  alone.ids = {s.ids[77]};
  const Result one = run_kernel(alone);
  CHECK(same_bits(one.batch, {two.batch.begin() + 77 * 784, two.batch.begin() + 78 * 784}));
  Setting other_view = alone;
  other_view.key.stream = 2;
  CHECK_FALSE(same_bits(one.parameters, run_kernel(other_view).parameters));
  // FNV-1a of the drawn parameters: the decisions are part of the interface, the same on every instruction set.
  uint64_t hash = 0xcbf29ce484222325u;
  for (const float value : two.parameters) hash = (hash ^ random_bits_of(value)) * 0x100000001b3u;
  CHECK(hash == 5806519715905356092u);
}

#if !defined(GATUN_CUDA)  // bits that have been compared need no statistics of their own
TEST_CASE("augmentation draws from the distributions it promises") {
  // The largest crop that can be drawn fits, so that no try is rejected and the area stays uniform.
  const int64_t n = 4000;
  Setting s(1, 1000, 1000, 1, n, 1, 1);
  s.everything();
  s.desc.noise = 0;
  s.desc.area_high = 0.6f;
  const Result result = run_kernel(s);
  struct Moments {
    double sum = 0, squares = 0;
    int64_t count = 0;
    void add(double x) {
      sum += x;
      squares += x * x;
      ++count;
    }
    double mean() const { return sum / static_cast<double>(count); }
  } area, aspect, top, left, flip, jitter, brightness, contrast, order, blur, sigma;
  for (int64_t b = 0; b < n; ++b) {
    const float* p = result.parameters.data() + b * kColumns;
    const double height = p[GATUN_AUGMENTATION_HEIGHT], width = p[GATUN_AUGMENTATION_WIDTH];
    area.add(height * width / 1e6);
    aspect.add(std::log(width / height));
    REQUIRE(width / height <= 4.0 / 3 * 1.003);
    REQUIRE(width / height >= 0.75 / 1.003);
    REQUIRE(height * width / 1e6 >= 0.3 - 2e-3);
    REQUIRE(height * width / 1e6 <= 0.6 + 2e-3);
    REQUIRE(p[GATUN_AUGMENTATION_TOP] + height <= 1000);
    REQUIRE(p[GATUN_AUGMENTATION_LEFT] + width <= 1000);
    top.add(p[GATUN_AUGMENTATION_TOP] / (1000 - height));
    left.add(p[GATUN_AUGMENTATION_LEFT] / (1000 - width));
    flip.add(p[GATUN_AUGMENTATION_FLIP]);
    const bool jittered = p[GATUN_AUGMENTATION_BRIGHTNESS] != 1;
    jitter.add(jittered);
    if (jittered) {
      brightness.add(p[GATUN_AUGMENTATION_BRIGHTNESS]);
      contrast.add(p[GATUN_AUGMENTATION_CONTRAST]);
      order.add(p[GATUN_AUGMENTATION_CONTRAST_FIRST]);
    }
    blur.add(p[GATUN_AUGMENTATION_SIGMA] > 0);
    if (p[GATUN_AUGMENTATION_SIGMA] > 0) sigma.add(p[GATUN_AUGMENTATION_SIGMA]);
  }
  // Uniform on [low, high] has deviation (high - low) / sqrt(12); means are allowed four standard errors, `slack` is rounding to pixels.
  const auto uniform = [](const Moments& m, double low, double high, double slack = 0) {
    const double sd = (high - low) / std::sqrt(12.0);
    const double error = sd / std::sqrt(static_cast<double>(m.count));
    CHECK(std::abs(m.mean() - (low + high) / 2) <= 4 * error + slack);
    const double variance = m.squares / static_cast<double>(m.count) - m.mean() * m.mean();
    // the fourth moment of a uniform gives the variance a relative error of sqrt(0.8 / count)
    CHECK(std::abs(variance / (sd * sd) - 1) <= 4 * std::sqrt(0.8 / static_cast<double>(m.count)) + 10 * slack);
  };
  const auto rate = [](const Moments& m, double p) {
    CHECK(std::abs(m.mean() - p) <= 4 * std::sqrt(p * (1 - p) / static_cast<double>(m.count)));
  };
  uniform(area, 0.3, 0.6, 1e-3);
  uniform(aspect, std::log(0.75), std::log(4.0 / 3), 1e-3);
  uniform(top, 0, 1, 1e-3);
  uniform(left, 0, 1, 1e-3);
  rate(flip, 0.5);
  rate(jitter, 0.8);
  uniform(brightness, 0.6, 1.4);
  uniform(contrast, 0.6, 1.4);
  rate(order, 0.5);
  rate(blur, 0.5);
  uniform(sigma, 0.1, 2.0);
}
#endif

TEST_CASE("augmentation falls back to the largest central crop within the aspects when ten tries fail") {
  // A crop of 90 % and more of a 10 x 100 image with an aspect near 1 never fits.
  Setting s(1, 10, 100, 1, 3, 4, 4);
  s.desc.area_low = 0.9f;
  s.desc.aspect_low = 0.75f;
  s.desc.aspect_high = 1.25f;
  const Result wide = run_kernel(s);
  const float expected[] = {0, 43, 10, 13};  // 10 * 1.25 rounds up; (100 - 13) / 2 rounds down
  for (size_t i = 0; i < 4; ++i) CHECK(wide.parameters[i] == expected[i]);
  Setting t(1, 100, 10, 1, 3, 4, 4);
  t.desc.area_low = 0.9f;
  const Result high = run_kernel(t);
  const float tall[] = {43, 0, 13, 10};  // 10 / .75 = 13.3
  for (size_t i = 0; i < 4; ++i) CHECK(high.parameters[i] == tall[i]);
}

TEST_CASE("augmentation refuses what would read or write outside a buffer, naming the operand") {
  Device device;
  CHECK(run_kernel(Setting(1, 4, 4, 1, 0, 4, 4)).batch.empty());
  const auto attempt = [&](Setting s, const char* part) {
    std::vector<float> batch(4096), parameters(4096);
    std::vector<uint8_t> space(1 << 20);
    void* workspace = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(space.data()) + 63) / 64 * 64);
    const bool ragged = s.desc.offsets.dtype != GATUN_NONE;
    refused(part, [&](gatun_error* e) {
      return gatun_augmentation(device.stream(), &s.desc, s.images.data(), ragged ? s.offsets.data() : nullptr,
                                ragged ? s.heights.data() : nullptr, ragged ? s.widths.data() : nullptr, s.rows.data(), s.ids.data(),
                                &s.key, s.mean.data(), s.deviation.data(), batch.data(), parameters.data(), workspace, (1 << 20) - 64, e);
    });
  };
  const Setting equal(3, 8, 8, 1, 2, 4, 4), ragged({{8, 8}, {5, 9}}, 1, 2, 4, 4);
  const auto with = [](Setting s, auto&& change) {
    change(s);
    return s;
  };
  attempt(with(equal, [](Setting& s) {
            s.desc.batch = layout(GATUN_F32, {0, 0, 4, 1});
            s.desc.antialias = 1;
          }), "batch has no pixels");
#if !defined(GATUN_CUDA)  // what only the device can read
  attempt(with(equal, [](Setting& s) { s.rows[1] = 3; }), "rows[1] is 3, there are 3 images");
  attempt(with(equal, [](Setting& s) { s.rows[0] = -1; }), "rows[0] is -1");
  attempt(with(equal, [](Setting& s) { s.deviation[0] = 0; }), "deviation[0] is 0");
  attempt(with(ragged, [](Setting& s) { s.offsets[2] = 1 << 20; }), "image 1 of 5 x 9 x 1 bytes does not fit");
  attempt(with(ragged, [](Setting& s) { s.offsets[0] = -1; }), "image 0 of 8 x 8 x 1 bytes does not fit");
  attempt(with(ragged, [](Setting& s) { s.heights[1] = 8; }), "image 1 of 8 x 9 x 1 bytes does not fit");
  attempt(with(ragged, [](Setting& s) { s.widths[1] = 10; }), "image 1 is 5 x 10, allowed is 1 to max_height 8 and max_width 9");
#endif
  attempt(with(equal, [](Setting& s) { s.desc.area_low = 0; }), "area_low is 0");
  attempt(with(equal, [](Setting& s) { s.desc.area_high = 1.5f; }), "area_high is 1.5");
  attempt(with(equal, [](Setting& s) { s.desc.aspect_low = 2; }), "aspect_low is 2");
  attempt(with(equal, [](Setting& s) { s.desc.flip = std::nanf(""); }), "flip is nan");
  attempt(with(equal, [](Setting& s) { s.desc.blur = 1, s.desc.blur_taps = 4; }), "blur_taps is 4");
  attempt(with(equal, [](Setting& s) { s.desc.blur = 1, s.desc.blur_taps = 65; }), "blur_taps is 65");
  attempt(with(equal, [](Setting& s) { s.desc.crop = 1, s.desc.resize = 3; }), "resize is 3");
  attempt(with(equal, [](Setting& s) { s.desc.images.shape[3] = 3; }), "images has 3 channels, batch has 1");
  attempt(with(equal, [](Setting& s) { s.desc.batch.stride[0] = 32, s.desc.batch.stride[1] = 5; }), "each view of batch must be contiguous");
  attempt(with(equal, [](Setting& s) { s.desc.batch.stride[0] = 15; }), "batch is written, but its elements overlap");
  attempt(with(equal, [](Setting& s) { s.desc.heights = layout(GATUN_I32, {3}); }), "heights is for ragged images only");
  attempt(with(ragged, [](Setting& s) { s.desc.max_width = 0; }), "max_width is 0");
  refused("the workspace has 0 bytes", [&](gatun_error* e) {
    std::vector<float> batch(32), parameters(18);
    return gatun_augmentation(device.stream(), &equal.desc, equal.images.data(), nullptr, nullptr, nullptr, equal.rows.data(),
                              equal.ids.data(), &equal.key, equal.mean.data(), equal.deviation.data(), batch.data(), parameters.data(),
                              nullptr, 0, e);
  });
}

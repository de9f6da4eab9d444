// SPDX-License-Identifier: Apache-2.0
#include "kernels/augmentation/augmentation_draw.h"
#include "kernels/augmentation/augmentation_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr int64_t kColumns = GATUN_AUGMENTATION_PARAMETERS;

struct Shape {
  int64_t count, image_height, image_width, height, width, channels;
};

// Random crops with flips; with `everything` also jitter, blur and noise.
gatun_augmentation_desc desc_of(const Shape& s, int32_t dtype, bool everything, int32_t blur_taps) {
  gatun_augmentation_desc d{};
  d.struct_size = sizeof d;
  d.antialias = 1;
  d.area_low = 0.14f;
  d.area_high = 1;
  d.aspect_low = 0.75f;
  d.aspect_high = 4.0f / 3;
  d.flip = 0.5f;
  d.sigma_low = 0.1f;
  d.sigma_high = 2;
  d.blur_taps = blur_taps;
  if (everything) {
    d.jitter = 0.8f;
    d.brightness = d.contrast = 0.4f;
    d.blur = 0.5f;
  }
  d.images = layout(GATUN_U8, {s.count, s.image_height, s.image_width, s.channels});
  d.mean = d.deviation = layout(GATUN_F32, {s.channels});
  d.batch = layout(dtype, {s.count, s.height, s.width, s.channels});
  d.parameters = layout(GATUN_F32, {s.count, kColumns});
  return d;
}

size_t workspace_bytes(const gatun_augmentation_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_augmentation_workspace(&desc, &bytes, e); });
  return bytes;
}

std::vector<uint8_t> bytes_of(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<uint8_t> values(static_cast<size_t>(count));
  for (uint8_t& value : values) value = static_cast<uint8_t>(generator() >> 24);
  return values;
}

template <class T>
std::vector<T> reference(const gatun_augmentation_desc& d, const Shape& s, const gatun_random_key& key, const std::vector<uint8_t>& images,
                         const std::vector<float>& parameters, const std::vector<float>& mean, const std::vector<float>& deviation) {
  const int64_t size = s.height * s.width * s.channels;
  std::vector<T> batch(static_cast<size_t>(s.count * size)), noise(static_cast<size_t>(size));
  const std::vector<T> m(mean.begin(), mean.end()), v(deviation.begin(), deviation.end());
  const RandomSource source = random_source(key);
  for (int64_t b = 0; b < s.count; ++b) {
    for (int64_t e = 0; e < size; ++e) {
      noise[static_cast<size_t>(e)] = T(d.noise) * T(random_normal(source, static_cast<uint64_t>(b), static_cast<uint64_t>(e) + kAugmentationNoiseDraws));
    }
    augmentation_reference<T>(images.data() + b * s.image_height * s.image_width * s.channels, s.image_height, s.image_width, s.channels,
                              parameters.data() + b * kColumns, true, true, d.blur_taps, noise.data(), m.data(), v.data(),
                              batch.data() + b * size, s.height, s.width);
  }
  return batch;
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const Shape shape{s.extent(1, 6), s.extent(1, 60), s.extent(1, 60), s.extent(1, 40), s.extent(1, 40), s.chance(0.5) ? 3 : s.extent(1, 4)};
    const gatun_random_key key{s.seed(), static_cast<uint64_t>(round), 1, 0};
    const std::vector<uint8_t> images = bytes_of(shape.count * shape.image_height * shape.image_width * shape.channels, s.seed());
    const std::vector<float> mean(static_cast<size_t>(shape.channels), 0.45f), deviation(static_cast<size_t>(shape.channels), 0.25f);
    const bool everything = round % 2 == 1;
    for_each_storage(s.device(), [&](auto storage) {
      using T = decltype(storage);
      gatun_augmentation_desc desc = desc_of(shape, testing::kDtype<T>, everything, 5);
      if (everything) desc.noise = 0.1f;
      Buffer<uint8_t> in(s.device(), images), workspace(s.device(), workspace_bytes(desc));
      Buffer<float> means(s.device(), mean), deviations(s.device(), deviation), drawn(s.device(), static_cast<size_t>(shape.count * kColumns));
      const Buffer<gatun_random_key> keys(s.device(), std::vector<gatun_random_key>{key});
      Buffer<T> batch(s.device(), static_cast<size_t>(shape.count * shape.height * shape.width * shape.channels));
      call([&](gatun_error* e) {
        return gatun_augmentation(s.stream(), &desc, in.data(), nullptr, nullptr, nullptr, nullptr, nullptr, keys.data(), means.data(),
                                  deviations.data(), batch.data(), drawn.data(), workspace.data(), workspace.size(), e);
      });
      std::vector<float> expected(static_cast<size_t>(shape.count * kColumns));
      for (int64_t b = 0; b < shape.count; ++b) {
        augmentation_draw(desc, random_source(key), static_cast<uint64_t>(b), shape.image_height, shape.image_width, shape.height, shape.width,
                          expected.data() + b * kColumns);
      }
      const ShapeText text{shape.count, shape.height, shape.width, shape.channels};
      s.check_equal("draws", dtype<T>(), text, drawn.values(), expected);
      s.check(everything ? "everything" : "crop", dtype<T>(), text, batch.values(),
              reference<double>(desc, shape, key, images, expected, mean, deviation), reference<float>(desc, shape, key, images, expected, mean, deviation));
    });
  }
}

void bench(Bench& b) {
  // Global and local views of ImageNet's images; blurred with a tenth of the view's side.
  const std::vector<Shape> shapes = b.emulated() ? std::vector<Shape>{{3, 40, 50, 24, 24, 3}}
                                                 : std::vector<Shape>{{128, 375, 500, 224, 224, 3}, {128, 375, 500, 96, 96, 3}};
  for (const Shape& shape : shapes) {
    const double out = static_cast<double>(shape.count * shape.height * shape.width * shape.channels);
    const double in = static_cast<double>(shape.count * shape.image_height * shape.image_width * shape.channels);
    const std::string text = ShapeText{shape.count, shape.height, shape.width, shape.channels}.text + " of " +
                             ShapeText{shape.image_height, shape.image_width}.text;
    for_each_storage(b.device(), [&](auto storage) {
      using T = decltype(storage);
      for (const bool everything : {false, true}) {
        const int32_t taps = static_cast<int32_t>(shape.width / 10 / 2 * 2 + 1);
        // Over half of an image is in its crop on average. Every pixel of it has two weights down and two along, half the views are blurred.
        const Cost cost{.flops = 0.57 * 4 * in + (everything ? 10 + 2.0 * taps : 2) * out, .bytes = 0.57 * in + sizeof(T) * out};
        b.row(everything ? "everything" : "crop", dtype<T>(), text, cost, [&, shape, everything, taps](Run& run) {
          const auto desc = desc_of(shape, testing::kDtype<T>, everything, taps);
          const int64_t count = shape.count * shape.height * shape.width * shape.channels;
          const size_t bytes = workspace_bytes(desc);
          Rotating<uint8_t> images = run.filled(bytes_of(static_cast<int64_t>(in), 1)), workspace = run.empty<uint8_t>(static_cast<int64_t>(bytes));
          Rotating<float> mean = run.filled(std::vector<float>(static_cast<size_t>(shape.channels), 0.45f));
          Rotating<float> deviation = run.filled(std::vector<float>(static_cast<size_t>(shape.channels), 0.25f));
          Rotating<float> drawn = run.empty<float>(shape.count * kColumns);
          Rotating<gatun_random_key> key = run.filled(std::vector<gatun_random_key>{{1, 2, 3, 0}});
          Rotating<T> batch = run.empty<T>(count);
          run.time([&](int i, gatun_error* e) {
            return gatun_augmentation(run.stream(), &desc, images[i], nullptr, nullptr, nullptr, nullptr, nullptr, key[i], mean[i], deviation[i],
                                      batch[i], drawn[i], workspace[i], bytes, e);
          });
        });
      }
    });
  }
}

GATUN_TRIALS(augmentation, selftest, bench);

}  // namespace
}  // namespace gatun::trial

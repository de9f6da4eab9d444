// SPDX-License-Identifier: Apache-2.0
// What allowed_error lets in: 3 x 3 convolutions by tiles, against double precision.
#include "kernels/convolution/convolution_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/testing.h"
#include "kernels/testing/workspace.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

// As gatun/convolution.h has them, times the root of the channels.
constexpr double kSmall = 6e-8, kLarge = 3.2e-7;
// Of the gradient of the weights, whatever the extents.
constexpr double kWeightsSmall = 5e-7, kWeightsLarge = 3e-6;

struct Case {
  int64_t batch, height, width, channels, outputs;
  int64_t top = 1, bottom = 1, left = 1, right = 1, groups = 1;
};

ConvolutionShape shape_of(const Case& c) {
  const int64_t oh = c.height + c.top + c.bottom - 2, ow = c.width + c.left + c.right - 2;
  return {c.batch, c.channels, c.outputs, c.groups,
          {c.height, c.width, c.height * c.width * c.channels, c.width * c.channels, c.channels},
          {oh, ow, oh * ow * c.outputs, ow * c.outputs, c.outputs},
          3, 3, 1, 1, c.top, c.left, 1, 1};
}

struct Data {
  std::vector<float> x, weights, bias, dy;
  explicit Data(const ConvolutionShape& s)
      : x(normal(s.batch * s.x.height * s.x.width * s.channels, 1)), weights(normal(s.out_channels * s.patch(), 2)), bias(normal(s.out_channels, 3)),
        dy(normal(s.positions() * s.out_channels, 4)) {}
};

gatun_convolution_desc desc_of(const Case& c, double allowed_error) {
  const ConvolutionShape s = shape_of(c);
  gatun_convolution_desc desc{};
  desc.struct_size = sizeof desc;
  desc.groups = static_cast<int32_t>(c.groups);
  desc.x = layout(GATUN_F32, {c.batch, c.height, c.width, c.channels});
  desc.weights = layout(GATUN_F32, {c.outputs, 3, 3, c.channels / c.groups});
  desc.y = layout(GATUN_F32, {c.batch, s.y.height, s.y.width, c.outputs});
  desc.stride_height = desc.stride_width = desc.dilation_height = desc.dilation_width = 1;
  desc.padding_top = static_cast<int32_t>(c.top);
  desc.padding_bottom = static_cast<int32_t>(c.bottom);
  desc.padding_left = static_cast<int32_t>(c.left);
  desc.padding_right = static_cast<int32_t>(c.right);
  desc.allowed_error = allowed_error;
  return desc;
}

struct Result {
  std::vector<float> y, dx;
};

Result run_kernel(const Case& c, const Data& data, double allowed_error, int threads = 2, bool accumulate = false) {
  Device device(threads);
  gatun_convolution_desc desc = desc_of(c, allowed_error);
  Result result{std::vector<float>(data.dy.size(), 7.0f), std::vector<float>(data.x.size(), 7.0f)};
  desc.accumulate = accumulate;
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_convolution_backward_data_workspace(device.stream(), &desc, &bytes, e); });
  Workspace back(bytes);
  run([&](gatun_error* e) {
    return gatun_convolution_backward_data(device.stream(), &desc, data.dy.data(), data.weights.data(), result.dx.data(), back.data(), bytes, e);
  });
  desc.accumulate = 0;
  desc.bias = layout(GATUN_F32, {c.outputs});
  run([&](gatun_error* e) { return gatun_convolution_forward_workspace(device.stream(), &desc, &bytes, e); });
  Workspace work(bytes);
  run([&](gatun_error* e) {
    return gatun_convolution_forward(device.stream(), &desc, data.x.data(), data.weights.data(), data.bias.data(), result.y.data(), work.data(), bytes, e);
  });
  return result;
}

struct Gradients {
  std::vector<float> weights, bias;
};

// room: pixels and rows of x and dy lie further apart than they need to, with NaN between them.
Gradients run_weights(const Case& c, const Data& data, double allowed_error, int threads = 2, bool accumulate = false, int64_t room = 0) {
  Device device(threads);
  gatun_convolution_desc desc = desc_of(c, allowed_error);
  desc.bias = layout(GATUN_F32, {c.outputs});
  desc.accumulate = accumulate;
  const auto spread = [&](gatun_layout& at, const std::vector<float>& values) {
    const int64_t pixel = at.shape[3] + room, row = at.shape[2] * pixel + room, image = at.shape[1] * row + room;
    std::vector<float> to(static_cast<size_t>(std::max<int64_t>(at.shape[0] * image, 1)), std::numeric_limits<float>::quiet_NaN());
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t n = static_cast<int64_t>(i), channel = n % at.shape[3], column = n / at.shape[3] % at.shape[2];
      const int64_t line = n / (at.shape[3] * at.shape[2]);
      to[static_cast<size_t>(line / at.shape[1] * image + line % at.shape[1] * row + column * pixel + channel)] = values[i];
    }
    at.stride[0] = image;
    at.stride[1] = row;
    at.stride[2] = pixel;
    return to;
  };
  const std::vector<float> x = spread(desc.x, data.x), dy = spread(desc.y, data.dy);
  Gradients result{std::vector<float>(data.weights.size(), 7.0f), std::vector<float>(data.bias.size(), 7.0f)};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_convolution_backward_weights_workspace(device.stream(), &desc, &bytes, e); });
  Workspace work(bytes);
  run([&](gatun_error* e) {
    return gatun_convolution_backward_weights(device.stream(), &desc, x.data(), dy.data(), result.weights.data(), result.bias.data(), work.data(), bytes, e);
  });
  return result;
}

struct Truth {
  std::vector<double> y, dx;
  Truth(const ConvolutionShape& s, const Data& d) : y(d.dy.size()), dx(d.x.size()) {
    const std::vector<double> x = widen(d.x), weights = widen(d.weights), bias = widen(d.bias), dy = widen(d.dy);
    convolution_reference<double>(s, x.data(), weights.data(), bias.data(), y.data());
    convolution_backward_data_reference<double>(s, dy.data(), weights.data(), dx.data());
  }
};

struct WeightsTruth {
  std::vector<double> weights, bias;
  WeightsTruth(const ConvolutionShape& s, const Data& d) : weights(d.weights.size()), bias(d.bias.size()) {
    convolution_backward_weights_reference<double>(s, widen(d.x).data(), widen(d.dy).data(), weights.data(), bias.data());
  }
};

double relative_error(const std::vector<float>& values, const std::vector<double>& truth) {
  double error = 0, size = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    error += (values[i] - truth[i]) * (values[i] - truth[i]);
    size += truth[i] * truth[i];
  }
  return std::sqrt(error / size);
}

const std::vector<Case> kCases = {
    {8, 12, 16, 64, 64}, {9, 14, 13, 35, 50}, {40, 4, 5, 16, 17}, {6, 15, 11, 130, 33, 2, 0, 0, 2}, {3, 17, 9, 96, 64, 1, 1, 1, 1, 2}, {8, 8, 8, 260, 144},
};

// Of the gradient of weights: small tiles pay where no tile is cut, large ones everywhere here.
struct WeightsCase {
  Case shape;
  bool small;
};
const std::vector<WeightsCase> kWeightsCases = {
    {{8, 12, 16, 64, 64}, true},   {{9, 14, 13, 35, 50}, false},        {{6, 15, 11, 130, 33, 2, 0, 0, 2}, false},
    {{9, 17, 12, 96, 64, 1, 1, 1, 1, 2}, false}, {{8, 8, 8, 260, 144}, false}, {{9, 9, 33, 16, 70, 0, 0, 0, 0}, false}, {{8, 8, 16, 128, 128}, true},
    {{40, 64, 60, 17, 16}, false},  // several chunks of many blocks
};

}  // namespace

TEST_CASE("convolution keeps the error that the caller allows, and uses it") {
  for (const Case& c : kCases) {
    CAPTURE(c.channels);
    const Data data(shape_of(c));
    const Truth truth(shape_of(c), data);
    const Result direct = run_kernel(c, data, 0);
    const double root = std::sqrt(static_cast<double>(std::max(c.channels, c.outputs)));
    CHECK(same_bits(run_kernel(c, data, 0.5 * kSmall * std::sqrt(static_cast<double>(c.channels))).y, direct.y));
    Result before = direct;
    for (const double factor : {kSmall, kLarge}) {
      CAPTURE(factor);
      const double allowed = 1.001 * factor * root;
      const Result result = run_kernel(c, data, allowed);
      if (c.groups == 1) {
        std::vector<double> onto = truth.dx;
        for (double& value : onto) value += 7;
        CHECK(relative_error(run_kernel(c, data, allowed, 2, true).dx, onto) <= factor * std::sqrt(static_cast<double>(c.outputs)));
      }
      CHECK(relative_error(result.y, truth.y) <= factor * std::sqrt(static_cast<double>(c.channels)));
      CHECK(relative_error(result.dx, truth.dx) <= factor * std::sqrt(static_cast<double>(c.outputs)));
      // Small tiles bring nothing on few channels.
      if (factor == kLarge || c.channels > 16) CHECK_FALSE(same_bits(result.y, before.y));
      before = result;
      for (const int threads : {1, 3}) {
        const Result other = run_kernel(c, data, allowed, threads);
        CHECK(same_bits(other.y, result.y));
        CHECK(same_bits(other.dx, result.dx));
      }
    }
  }
}

TEST_CASE("convolution by tiles carries NaN and infinity to every output that sees them") {
  const Case c{9, 14, 13, 35, 50};
  const ConvolutionShape s = shape_of(c);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t pixel : {0, 12, 90, 181}) {
      Data data(s);
      data.x[static_cast<size_t>(pixel * s.channels + 34)] = bad;
      data.dy[static_cast<size_t>(pixel * s.out_channels + 49)] = bad;
      const Result exact = run_kernel(c, data, 0);
      for (const double allowed : {1e-6, 1e-5}) {
        const Result result = run_kernel(c, data, allowed);
        const auto reaches = [](const std::vector<float>& from, const std::vector<float>& to) {
          for (size_t i = 0; i < from.size(); ++i) {
            if (!std::isfinite(from[i]) && std::isfinite(to[i])) return false;
          }
          return true;
        };
        CHECK(reaches(exact.y, result.y));
        CHECK(reaches(exact.dx, result.dx));
        // Other images see nothing of it.
        CHECK(std::all_of(result.y.begin() + s.y.batch_stride, result.y.end(), [](float v) { return std::isfinite(v); }));
      }
    }
  }
}

TEST_CASE("the gradient of weights keeps the error that the caller allows, and uses it") {
  for (const WeightsCase& each : kWeightsCases) {
    const Case& c = each.shape;
    CAPTURE(c.channels);
    CAPTURE(c.outputs);
    const Data data(shape_of(c));
    const WeightsTruth truth(shape_of(c), data);
    const Gradients direct = run_weights(c, data, 0);
    CHECK(same_bits(run_weights(c, data, 0.99 * kWeightsSmall).weights, direct.weights));
    for (const double allowed : {kWeightsSmall, kWeightsLarge}) {
      CAPTURE(allowed);
      const Gradients result = run_weights(c, data, allowed);
      if (allowed == kWeightsLarge || each.small) CHECK_FALSE(same_bits(result.weights, direct.weights));
      else CHECK(same_bits(result.weights, direct.weights));
      if (same_bits(result.weights, direct.weights)) continue;
      CHECK(relative_error(result.weights, truth.weights) <= allowed);
      CHECK(relative_error(result.bias, truth.bias) <= allowed);
      std::vector<float> spoiled = result.weights;
      for (size_t i = 0; i < spoiled.size(); ++i) spoiled[i] *= 1.0f + (i % 2 == 0 ? 4.0f : -4.0f) * static_cast<float>(allowed);
      CHECK_FALSE(relative_error(spoiled, truth.weights) <= allowed);
      for (const int threads : {1, 3}) {
        const Gradients other = run_weights(c, data, allowed, threads);
        CHECK(same_bits(other.weights, result.weights));
        CHECK(same_bits(other.bias, result.bias));
      }
      const Gradients apart = run_weights(c, data, allowed, 2, false, 3);
      CHECK(same_bits(apart.weights, result.weights));
      CHECK(same_bits(apart.bias, result.bias));
      if (c.groups > 1) continue;
      const Gradients added = run_weights(c, data, allowed, 2, true);
      for (size_t i = 0; i < added.weights.size(); ++i) REQUIRE(added.weights[i] == result.weights[i] + 7.0f);
      for (size_t i = 0; i < added.bias.size(); ++i) REQUIRE(added.bias[i] == result.bias[i] + 7.0f);
    }
  }
}

TEST_CASE("the gradient of weights by tiles: no image, NaN and infinity") {
  const Case none{0, 12, 16, 64, 64};
  const Gradients empty = run_weights(none, Data(shape_of(none)), kWeightsLarge), kept = run_weights(none, Data(shape_of(none)), kWeightsLarge, 2, true);
  CHECK(std::all_of(empty.weights.begin(), empty.weights.end(), [](float v) { return v == 0; }));
  CHECK(std::all_of(empty.bias.begin(), empty.bias.end(), [](float v) { return v == 0; }));
  CHECK(std::all_of(kept.weights.begin(), kept.weights.end(), [](float v) { return v == 7; }));
  const Case c{9, 14, 13, 35, 50};
  const ConvolutionShape s = shape_of(c);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t pixel : {0, 12, 90, 181}) {
      Data of_x(s), of_dy(s);
      of_x.x[static_cast<size_t>(pixel * s.channels + 34)] = bad;
      of_dy.dy[static_cast<size_t>(pixel * s.out_channels + 49)] = bad;
      const Gradients x = run_weights(c, of_x, kWeightsLarge), exact_x = run_weights(c, of_x, 0);
      const Gradients dy = run_weights(c, of_dy, kWeightsLarge), exact_dy = run_weights(c, of_dy, 0);
      for (size_t i = 0; i < x.weights.size(); ++i) {
        // What the exact sum makes of it is not finite here either, and other channels see nothing of it.
        const bool x_channel = i % 35 == 34, dy_channel = i / 315 == 49;
        if (!std::isfinite(exact_x.weights[i])) REQUIRE_FALSE(std::isfinite(x.weights[i]));
        if (!x_channel) REQUIRE(std::isfinite(x.weights[i]));
        if (!std::isfinite(exact_dy.weights[i])) REQUIRE_FALSE(std::isfinite(dy.weights[i]));
        if (!dy_channel) REQUIRE(std::isfinite(dy.weights[i]));
      }
      CHECK_FALSE(std::isfinite(dy.bias[49]));
      CHECK(std::all_of(dy.bias.begin(), dy.bias.end() - 1, [](float v) { return std::isfinite(v); }));
    }
  }
}

TEST_CASE("the gradient of weights by tiles keeps partial gradients of few chunks only") {
  const auto bytes = [](int64_t batch, double allowed_error) {
    Device device;
    const gatun_convolution_desc desc = desc_of(Case{batch, 56, 56, 512, 512}, allowed_error);
    size_t size = 0;
    run([&](gatun_error* e) { return gatun_convolution_backward_weights_workspace(device.stream(), &desc, &size, e); });
    return size;
  };
  CHECK(bytes(256, kWeightsLarge) == bytes(256, 0));
  CHECK(bytes(32, kWeightsLarge) != bytes(32, 0));
  CHECK(bytes(32, kWeightsLarge) < size_t{160} << 20);
}

TEST_CASE("convolution refuses an allowed error that is none") {
  Device device;
  gatun_convolution_desc desc{};
  desc.struct_size = sizeof desc;
  desc.groups = desc.stride_height = desc.stride_width = desc.dilation_height = desc.dilation_width = 1;
  desc.x = desc.y = layout(GATUN_F32, {1, 1, 1, 1});
  desc.weights = layout(GATUN_F32, {1, 1, 1, 1});
  size_t bytes = 0;
  for (const double allowed : {-1.0, std::numeric_limits<double>::quiet_NaN()}) {
    desc.allowed_error = allowed;
    refused("allowed_error is ", [&](gatun_error* e) { return gatun_convolution_forward_workspace(device.stream(), &desc, &bytes, e); });
  }
}

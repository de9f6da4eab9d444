// SPDX-License-Identifier: Apache-2.0
// Every tile of the matrix products, which small shapes would not choose by themselves, and the choices that depend on alignment.
#include "kernels/common/storage.h"
#include "kernels/convolution/convolution_reference.h"
#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

template <class T>
struct Device_;
template <>
struct Device_<float> { using Type = float; };
template <>
struct Device_<Bfloat16> { using Type = __nv_bfloat16; };
template <>
struct Device_<Half> { using Type = __half; };

ConvolutionShape dense(int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t outputs, int64_t kernel_height, int64_t kernel_width,
                       int64_t stride, int64_t padding) {
  const int64_t oh = (height + 2 * padding - kernel_height) / stride + 1, ow = (width + 2 * padding - kernel_width) / stride + 1;
  return {batch, channels, outputs, 1,
          {height, width, height * width * channels, width * channels, channels},
          {oh, ow, oh * ow * outputs, ow * outputs, outputs},
          kernel_height, kernel_width, stride, stride, padding, padding, 1, 1};
}

// The three directions with one tile against the double reference. Operands begin `shift` elements after an aligned address.
template <class T>
void check_tile(const ConvolutionShape& s, ConvolutionTile tile, int64_t shift = 0) {
  using D = typename Device_<T>::Type;
  const Device device;
  const int64_t inputs = s.batch * s.x.height * s.x.width * s.channels, results = s.positions() * s.out_channels, weight_count = s.out_channels * s.patch();
  const std::vector<float> x = rounded<T>(normal(inputs, 1)), weights = rounded<T>(normal(weight_count, 2)), bias = normal(s.out_channels, 3),
                           dy = rounded<T>(normal(results, 4));
  std::vector<double> y_true(dy.size()), dx_true(x.size()), dweights_true(weights.size()), dbias_true(bias.size());
  std::vector<float> y_naive(dy.size()), dx_naive(x.size()), dweights_naive(weights.size()), dbias_naive(bias.size());
  convolution_reference<double>(s, widen(x).data(), widen(weights).data(), widen(bias).data(), y_true.data());
  convolution_reference<float>(s, x.data(), weights.data(), bias.data(), y_naive.data());
  convolution_backward_data_reference<double>(s, widen(dy).data(), widen(weights).data(), dx_true.data());
  convolution_backward_data_reference<float>(s, dy.data(), weights.data(), dx_naive.data());
  convolution_backward_weights_reference<double>(s, widen(x).data(), widen(dy).data(), dweights_true.data(), dbias_true.data());
  convolution_backward_weights_reference<float>(s, x.data(), dy.data(), dweights_naive.data(), dbias_naive.data());

  const auto shifted = [&](const std::vector<float>& values) {
    std::vector<T> result(static_cast<size_t>(shift), T(7.0f));
    for (const float value : values) result.push_back(T(value));
    return result;
  };
  const auto unshifted = [&](const Memory<T>& memory) {
    std::vector<T> values = memory.values();
    return std::vector<T>(values.begin() + shift, values.end());
  };
  const auto in = [&](const Memory<T>& memory) { return reinterpret_cast<const D*>(memory.data() + shift); };
  const auto out = [&](Memory<T>& memory) { return reinterpret_cast<D*>(memory.data() + shift); };
  const Memory<T> x_memory(shifted(x)), weights_memory(shifted(weights)), dy_memory(shifted(dy));
  const Memory<float> bias_memory(bias);
  Memory<T> y(dy.size() + static_cast<size_t>(shift), T(7.0f)), dx(x.size() + static_cast<size_t>(shift), T(7.0f));
  Memory<float> dweights(weights.size(), 7.0f), dbias(bias.size(), 7.0f);
  const gatun_stream& stream = *device.stream();
  const auto workspace = [](size_t bytes) { return Memory<float>(bytes / sizeof(float), 7.0f); };
  Memory<float> forward_workspace = workspace(convolution_forward_workspace<D>(stream, s));
  convolution_forward<D>(stream, s, in(x_memory), in(weights_memory), bias_memory.data(), out(y), forward_workspace.data(), tile);
  Memory<float> data_workspace = workspace(convolution_backward_data_workspace<D>(stream, s));
  convolution_backward_data<D>(stream, s, in(dy_memory), in(weights_memory), out(dx), data_workspace.data(), tile);
  Memory<float> weights_workspace = workspace(convolution_backward_weights_workspace<D>(stream, s, tile));
  convolution_backward_weights<D>(stream, s, in(x_memory), in(dy_memory), dweights.data(), dbias.data(), weights_workspace.data(), tile);
  check_stored(unshifted(y), y_true, y_naive);
  check_stored(unshifted(dx), dx_true, dx_naive);
  check_close(dweights.values(), dweights_true, dweights_naive);
  check_close(dbias.values(), dbias_true, dbias_naive);
}

}  // namespace

TEST_CASE_TEMPLATE("convolution with every tile matches the double reference", T, float, Bfloat16) {
  // More rows than the largest tile has, two tiles of columns, the last ones cut off, and more steps than stages.
  const ConvolutionShape s = dense(1, 20, 13, 64, 136, 3, 1, 1, 1);
  for (const ConvolutionTile tile : {ConvolutionTile::kTall, ConvolutionTile::kSquare, ConvolutionTile::kLarge}) {
    if (std::is_same_v<T, float> && tile != ConvolutionTile::kSquare) continue;  // floats have no other
    CAPTURE(static_cast<int>(tile));
    check_tile<T>(s, tile);
  }
}

TEST_CASE_TEMPLATE("convolution of operands that lie at no vector's address", T, GATUN_STORAGES) {
  check_tile<T>(dense(1, 6, 5, 16, 24, 3, 3, 1, 1), ConvolutionTile::kAuto, 1);
}

TEST_CASE("convolution with more phases than one launch takes") { check_tile<Bfloat16>(dense(2, 7, 8, 8, 16, 3, 3, 3, 1), ConvolutionTile::kAuto); }

TEST_CASE_TEMPLATE("convolution stem: tails of tiles, runs of odd and even elements", T, Bfloat16) {
  check_tile<T>(dense(2, 9, 19, 3, 72, 3, 3, 1, 1), ConvolutionTile::kAuto);  // rows of 9 elements that no word holds, two tiles of outputs
  check_tile<T>(dense(1, 21, 37, 2, 8, 5, 5, 2, 2), ConvolutionTile::kAuto);
}

TEST_CASE("convolution stem: more columns of dweights than a block has") { check_tile<Bfloat16>(dense(1, 13, 13, 4, 10, 7, 7, 2, 3), ConvolutionTile::kAuto); }

TEST_CASE("convolution backward-weights in splits that are added") { check_tile<Bfloat16>(dense(3, 16, 24, 16, 16, 3, 3, 1, 1), ConvolutionTile::kAuto); }

TEST_CASE_TEMPLATE("depthwise convolution: strips, chunks and kernels that are read row by row", T, float, Bfloat16) {
  for (const int64_t kernel : {3, 5}) {
    ConvolutionShape s = dense(2, 33, 9, 72, 72, kernel, kernel, 1, kernel / 2);
    s.groups = 72;
    check_tile<T>(s, ConvolutionTile::kAuto);
  }
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution/convolution_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

struct Case {
  const char* name;
  int64_t batch, height, width, channels, outputs, kernel_height, kernel_width, stride_height, stride_width;
  int64_t top, bottom, left, right;
  int64_t dilation_height, dilation_width, groups;
};

ConvolutionShape shape_of(const Case& c) {
  const int64_t oh = (c.height + c.top + c.bottom - c.dilation_height * (c.kernel_height - 1) - 1) / c.stride_height + 1;
  const int64_t ow = (c.width + c.left + c.right - c.dilation_width * (c.kernel_width - 1) - 1) / c.stride_width + 1;
  return {c.batch, c.channels, c.outputs, c.groups,
          {c.height, c.width, c.height * c.width * c.channels, c.width * c.channels, c.channels},
          {oh, ow, oh * ow * c.outputs, ow * c.outputs, c.outputs},
          c.kernel_height, c.kernel_width, c.stride_height, c.stride_width, c.top, c.left, c.dilation_height, c.dilation_width};
}

template <class T>
gatun_convolution_desc descriptor(const Case& c) {
  const ConvolutionShape s = shape_of(c);
  gatun_convolution_desc desc{};
  desc.struct_size = sizeof desc;
  desc.groups = static_cast<int32_t>(c.groups);
  desc.x = layout(kDtype<T>, {c.batch, c.height, c.width, c.channels});
  desc.weights = layout(kDtype<T>, {c.outputs, c.kernel_height, c.kernel_width, c.channels / c.groups});
  desc.y = layout(kDtype<T>, {c.batch, s.y.height, s.y.width, c.outputs});
  desc.stride_height = static_cast<int32_t>(c.stride_height);
  desc.stride_width = static_cast<int32_t>(c.stride_width);
  desc.padding_top = static_cast<int32_t>(c.top);
  desc.padding_bottom = static_cast<int32_t>(c.bottom);
  desc.padding_left = static_cast<int32_t>(c.left);
  desc.padding_right = static_cast<int32_t>(c.right);
  desc.dilation_height = static_cast<int32_t>(c.dilation_height);
  desc.dilation_width = static_cast<int32_t>(c.dilation_width);
  return desc;
}

#if defined(GATUN_CUDA)
// Every shape class, in few blocks: channels that fill steps, that share them, and that no vector fits; tails of every extent; all kinds of
// stride, padding, dilation and groups.
const std::vector<Case> kCases = {
    {"stem", 3, 9, 8, 1, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {"stem 7x7 of three channels", 1, 19, 17, 3, 20, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1, 1},
    {"several taps a step", 3, 8, 7, 24, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {"two blocks of channels", 1, 9, 8, 64, 72, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {"one by one", 2, 9, 7, 33, 65, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {"one by one, stride 2: pixels that no output reads", 2, 7, 6, 8, 16, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {"odd everything", 2, 11, 6, 7, 13, 3, 2, 2, 3, 2, 0, 1, 2, 1, 1, 1},
    {"dilation and stride share a factor", 2, 13, 15, 8, 8, 3, 4, 4, 2, 3, 1, 2, 2, 6, 3, 1},
    {"groups", 2, 5, 7, 24, 48, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 3},
    {"one channel a group, two outputs", 1, 4, 5, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6},
    {"patches", 2, 12, 12, 3, 40, 4, 4, 4, 4, 0, 0, 0, 0, 1, 1, 1},
    {"patches read in vectors", 1, 18, 16, 3, 8, 8, 8, 8, 8, 0, 0, 0, 0, 1, 1, 1},
    {"stride larger than the kernel", 2, 11, 11, 3, 4, 2, 2, 3, 4, 0, 0, 0, 0, 1, 1, 1},
    {"stride larger than the image", 2, 3, 3, 2, 4, 3, 3, 5, 5, 1, 1, 1, 1, 1, 1, 1},
    {"padding larger than the kernel", 1, 3, 2, 5, 6, 3, 3, 1, 1, 4, 4, 4, 4, 1, 1, 1},
    {"depthwise", 2, 6, 9, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 40},
    {"depthwise, stride 2", 2, 7, 9, 19, 19, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 19},
    {"depthwise 7x7", 1, 5, 11, 16, 16, 7, 7, 1, 1, 3, 3, 3, 3, 1, 1, 16},
    {"depthwise, dilated and lopsided", 2, 12, 13, 5, 5, 3, 2, 1, 3, 2, 0, 0, 4, 3, 2, 5},
};
#else
// Every shape class: few and many channels, all kinds of stride, padding, dilation and groups, bands of all kinds, and depths beyond one pass.
const std::vector<Case> kCases = {
    {"stem", 3, 28, 28, 1, 24, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {"stem 7x7 of three channels", 1, 19, 17, 3, 20, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1, 1},
    {"second layer", 3, 14, 14, 24, 48, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {"third layer", 5, 7, 7, 48, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
    {"one by one", 2, 9, 7, 33, 65, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {"one by one, stride 2: pixels that no output reads", 2, 7, 6, 5, 9, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
    {"depth of several tiles", 1, 5, 5, 150, 31, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {"one by one of channels a page apart", 2, 3, 5, 512, 17, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
    {"bands of rows", 1, 41, 37, 8, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {"bands of images", 45, 4, 3, 5, 11, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {"one row is more than a band", 1, 3, 600, 3, 5, 3, 5, 1, 1, 1, 1, 2, 2, 1, 1, 1},
    {"bands that not every kernel row meets", 1, 3, 600, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {"one row is more than a list of positions", 1, 2, 1100, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    {"every position has its own taps", 1, 10, 10, 3, 34, 9, 9, 1, 1, 4, 4, 4, 4, 1, 1, 1},
    {"odd everything", 2, 11, 6, 7, 13, 3, 2, 2, 3, 2, 0, 1, 2, 1, 1, 1},
    {"dilation", 2, 12, 10, 6, 17, 3, 3, 1, 1, 2, 2, 3, 3, 2, 3, 1},
    {"dilation and stride share a factor", 2, 13, 15, 4, 5, 3, 4, 4, 2, 3, 1, 2, 2, 6, 3, 1},
    {"groups", 2, 8, 9, 12, 18, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 3},
    {"one channel a group, two outputs", 2, 8, 9, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6},
    {"patches", 2, 12, 12, 3, 40, 4, 4, 4, 4, 0, 0, 0, 0, 1, 1, 1},
    {"stride larger than the kernel", 2, 11, 11, 3, 4, 2, 2, 3, 4, 0, 0, 0, 0, 1, 1, 1},
    {"stride larger than the image", 2, 3, 3, 2, 4, 3, 3, 5, 5, 1, 1, 1, 1, 1, 1, 1},
    {"padding larger than the kernel", 1, 4, 4, 5, 6, 3, 3, 1, 1, 4, 4, 4, 4, 1, 1, 1},
    {"depthwise", 2, 14, 14, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 40},
    {"depthwise, stride 2", 2, 15, 13, 19, 19, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 19},
    {"depthwise, bands", 33, 7, 6, 17, 17, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 17},
    {"depthwise 7x7", 2, 10, 21, 16, 16, 7, 7, 1, 1, 3, 3, 3, 3, 1, 1, 16},
    {"depthwise, chunks of eight", 3, 9, 16, 24, 24, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 24},
    {"depthwise, chunks that overlap", 2, 5, 19, 33, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 33},
    {"depthwise, the chunk before the last overlaps", 2, 3, 50, 16, 16, 3, 7, 1, 1, 1, 1, 3, 3, 1, 1, 16},
    {"depthwise, rows of dy that see no x", 2, 3, 7, 19, 19, 3, 3, 1, 1, 4, 3, 1, 1, 1, 1, 19},
    {"depthwise, flat", 3, 1, 28, 48, 48, 1, 5, 1, 1, 0, 0, 2, 2, 1, 1, 48},
    {"depthwise, fewer rows than the kernel", 2, 2, 8, 70, 70, 7, 7, 1, 1, 3, 3, 3, 3, 1, 1, 70},
    {"depthwise, several bands of an image", 1, 56, 28, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 64},
    {"depthwise, dilated and lopsided", 2, 12, 25, 5, 5, 3, 2, 1, 3, 2, 0, 0, 4, 3, 2, 5},
};
#endif

struct Data {
  std::vector<float> x, weights, bias, dy;
};

// What the reference gets: the values that are stored as T, and the bias.
template <class T>
Data data_of(const ConvolutionShape& s) {
  return {rounded<T>(normal(s.batch * s.x.height * s.x.width * s.channels, 1)), rounded<T>(normal(s.out_channels * s.patch(), 2)),
          normal(s.out_channels, 3), rounded<T>(normal(s.positions() * s.out_channels, 4))};
}

template <class T>
struct Result {
  std::vector<T> y, dx;
  std::vector<float> dweights, dbias;
};

#if defined(GATUN_CUDA)
constexpr size_t kGuard = 0;  // device memory has red zones and is aligned
#else
constexpr size_t kGuard = 128;
#endif

// Aligned workspace of exactly the bytes that were asked for, with a guard behind it.
class Workspace {
 public:
  explicit Workspace(size_t bytes) : bytes_(bytes), buffer_(bytes + kGuard, 0x5a) {}
  void* data() { return buffer_.data() + before(); }
  size_t bytes() const { return bytes_; }
  bool intact() const {
    const std::vector<uint8_t> values = buffer_.values();
    return kGuard == 0 || std::all_of(values.begin() + static_cast<ptrdiff_t>(before() + bytes_), values.end(), [](uint8_t byte) { return byte == 0x5a; });
  }

 private:
  size_t before() const { return (64 - reinterpret_cast<uintptr_t>(buffer_.data()) % 64) % 64; }
  size_t bytes_;
  Memory<uint8_t> buffer_;
};

// Spreads contiguous (B, H, W, C) values over a strided buffer whose gaps hold 7.
template <class T>
std::vector<T> spread(const std::vector<float>& values, const gatun_layout& l) {
  std::vector<T> buffer(static_cast<size_t>(std::max<int64_t>(1, l.shape[0] * l.stride[0])), T(7.0f));
  size_t i = 0;
  for (int64_t b = 0; b < l.shape[0]; ++b)
    for (int64_t h = 0; h < l.shape[1]; ++h)
      for (int64_t w = 0; w < l.shape[2]; ++w)
        for (int64_t c = 0; c < l.shape[3]; ++c) buffer[static_cast<size_t>(b * l.stride[0] + h * l.stride[1] + w * l.stride[2] + c)] = T(values[i++]);
  return buffer;
}

// The reverse, and the gaps must still hold 7.
template <class T>
std::vector<T> collect(std::vector<T> buffer, const gatun_layout& l) {
  std::vector<T> values;
  for (int64_t b = 0; b < l.shape[0]; ++b)
    for (int64_t h = 0; h < l.shape[1]; ++h)
      for (int64_t w = 0; w < l.shape[2]; ++w)
        for (int64_t c = 0; c < l.shape[3]; ++c) {
          T& at = buffer[static_cast<size_t>(b * l.stride[0] + h * l.stride[1] + w * l.stride[2] + c)];
          values.push_back(at);
          at = T(7.0f);
        }
  CHECK(std::all_of(buffer.begin(), buffer.end(), [](T value) { return static_cast<float>(value) == 7.0f; }));
  return values;
}

gatun_layout strided(gatun_layout l, int64_t gap) {
  l.stride[2] = l.shape[3] + gap;
  l.stride[1] = l.shape[2] * l.stride[2] + gap;
  l.stride[0] = l.shape[1] * l.stride[1] + gap;
  return l;
}

template <class T>
Result<T> run_kernel(const Case& c, const Data& data, int threads, bool bias = true, int64_t gap = 0, bool accumulate = false) {
  Device device(threads);
  gatun_convolution_desc desc = descriptor<T>(c);
  desc.accumulate = accumulate;
  desc.x = strided(desc.x, gap);
  desc.y = strided(desc.y, gap);
  const Memory<T> x(spread<T>(data.x, desc.x)), dy(spread<T>(data.dy, desc.y)), weights(stored<T>(data.weights));
  const Memory<float> bias_values(data.bias);
  Memory<T> y(static_cast<size_t>(std::max<int64_t>(1, c.batch * desc.y.stride[0])), T(7.0f)), dx(static_cast<size_t>(std::max<int64_t>(1, c.batch * desc.x.stride[0])), T(7.0f));
  Memory<float> dweights(data.weights.size(), 7.0f), dbias(data.bias.size(), 7.0f);
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_convolution_backward_data_workspace(device.stream(), &desc, &bytes, e); });
  Workspace data_workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_convolution_backward_data(device.stream(), &desc, dy.data(), weights.data(), dx.data(), data_workspace.data(), bytes, e);
  });
  CHECK(data_workspace.intact());
  if (bias) desc.bias = layout(GATUN_F32, {c.outputs});
  desc.accumulate = 0;
  run([&](gatun_error* e) { return gatun_convolution_forward_workspace(device.stream(), &desc, &bytes, e); });
  Workspace workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_convolution_forward(device.stream(), &desc, x.data(), weights.data(), bias ? bias_values.data() : nullptr, y.data(),
                                     workspace.data(), bytes, e);
  });
  CHECK(workspace.intact());
  desc.weights.dtype = GATUN_F32;
  desc.accumulate = accumulate;
  run([&](gatun_error* e) { return gatun_convolution_backward_weights_workspace(device.stream(), &desc, &bytes, e); });
  Workspace weights_workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_convolution_backward_weights(device.stream(), &desc, x.data(), dy.data(), dweights.data(), bias ? dbias.data() : nullptr,
                                              weights_workspace.data(), bytes, e);
  });
  CHECK(weights_workspace.intact());
  return {collect(y.values(), desc.y), collect(dx.values(), desc.x), dweights.values(), dbias.values()};
}

template <class T>
struct Reference {
  std::vector<T> y, dx, dweights, dbias;
};

template <class T>
Reference<T> reference(const ConvolutionShape& s, const Data& data, bool bias) {
  const std::vector<T> x(data.x.begin(), data.x.end()), weights(data.weights.begin(), data.weights.end()),
      b(data.bias.begin(), data.bias.end()), dy(data.dy.begin(), data.dy.end());
  Reference<T> r{std::vector<T>(dy.size()), std::vector<T>(x.size()), std::vector<T>(weights.size()), std::vector<T>(b.size())};
  convolution_reference<T>(s, x.data(), weights.data(), bias ? b.data() : nullptr, r.y.data());
  convolution_backward_data_reference<T>(s, dy.data(), weights.data(), r.dx.data());
  convolution_backward_weights_reference<T>(s, x.data(), dy.data(), r.dweights.data(), r.dbias.data());
  return r;
}

}  // namespace

TEST_CASE_TEMPLATE("convolution matches the double reference", T, GATUN_STORAGES) {
  for (const Case& c : kCases) {
    CAPTURE(c.name);
    const ConvolutionShape s = shape_of(c);
    const Data data = data_of<T>(s);
    for (const bool bias : {true, false}) {
      if (std::is_same_v<T, Half> && (!bias || c.height > 8)) continue;  // as bf16
      const Reference<double> truth = reference<double>(s, data, bias);
      const Reference<float> naive = reference<float>(s, data, bias);
      // Gaps that keep vectors aligned where they are, and that do not.
      const Result<T> result = run_kernel<T>(c, data, 2, bias, bias ? 0 : c.groups == 1 ? 8 : 3);
      check_stored(result.y, truth.y, naive.y);
      check_stored(result.dx, truth.dx, naive.dx);
      check_close(result.dweights, truth.dweights, naive.dweights);
      if (bias) check_close(result.dbias, truth.dbias, naive.dbias);
    }
  }
}

// The copy of a band spaces out pixels of 64 channels: a view with the same gap between its pixels must not be taken for a contiguous one.
TEST_CASE("convolution of views with any gap between pixels matches the contiguous one") {
  const Case c{"one by one", 2, 5, 6, 64, 128, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1};
  const Data data = data_of<float>(shape_of(c));
  const Result<float> contiguous = run_kernel<float>(c, data, 2);
  for (const int64_t gap : {3, 16, 64}) {
    CAPTURE(gap);
    const Result<float> spaced = run_kernel<float>(c, data, 2, true, gap);
    CHECK(same_bits(spaced.y, contiguous.y));
    CHECK(same_bits(spaced.dx, contiguous.dx));
    CHECK(same_bits(spaced.dweights, contiguous.dweights));
    CHECK(same_bits(spaced.dbias, contiguous.dbias));
  }
}

TEST_CASE("convolution backward-weights over many chunks matches the double reference") {
#if defined(GATUN_CUDA)
  const Case c{"many positions", 2, 23, 20, 5, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
#else
  const Case c{"many positions", 9, 20, 20, 5, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
#endif
  const ConvolutionShape s = shape_of(c);
  const Data data = data_of<float>(s);
  const Reference<double> truth = reference<double>(s, data, true);
  const Reference<float> naive = reference<float>(s, data, true);
  const Result<float> result = run_kernel<float>(c, data, 3);
  check_close(result.dweights, truth.dweights, naive.dweights);
  check_close(result.dbias, truth.dbias, naive.dbias);
}

#if !defined(GATUN_CUDA)
// What the gradients are added to is 7, as the kernels' targets are.
TEST_CASE("convolution adds to gradients that are there, the same bits for any number of threads") {
  for (const Case& c : kCases) {
    if (c.groups != 1) continue;
    CAPTURE(c.name);
    const ConvolutionShape s = shape_of(c);
    const Data data = data_of<float>(s);
    Reference<double> truth = reference<double>(s, data, true);
    Reference<float> naive = reference<float>(s, data, true);
    const auto onto = [](auto& values) { for (auto& value : values) value += 7; };
    for (auto* values : {&truth.dx, &truth.dweights, &truth.dbias}) onto(*values);
    for (auto* values : {&naive.dx, &naive.dweights, &naive.dbias}) onto(*values);
    const Result<float> result = run_kernel<float>(c, data, 2, true, 3, true), one = run_kernel<float>(c, data, 1, true, 3, true);
    check_close(result.dx, truth.dx, naive.dx);
    check_close(result.dweights, truth.dweights, naive.dweights);
    check_close(result.dbias, truth.dbias, naive.dbias);
    CHECK(same_bits(result.dx, one.dx));
    CHECK(same_bits(result.dweights, one.dweights));
    CHECK(same_bits(result.dbias, one.dbias));
  }
}
#endif

TEST_CASE("convolution reference gradients agree with finite differences") {
  const Case c{"small", 2, 5, 4, 4, 6, 3, 2, 2, 1, 1, 1, 0, 1, 1, 2, 2};
  const ConvolutionShape s = shape_of(c);
  const Data data = data_of<float>(s);
  const Reference<double> gradient = reference<double>(s, data, true);
  const std::vector<double> x = widen(data.x), weights = widen(data.weights), bias = widen(data.bias), dy = widen(data.dy);
  const auto objective = [&](const std::vector<double>& x, const std::vector<double>& weights, const std::vector<double>& bias) {
    std::vector<double> y(dy.size());
    convolution_reference<double>(s, x.data(), weights.data(), bias.data(), y.data());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const auto agree = [](double difference, double exact) { CHECK(std::abs(difference - exact) <= 1e-7 * (1 + std::abs(exact))); };
  for (size_t i = 0; i < x.size(); i += 3) {
    agree(central_difference([&](const std::vector<double>& v) { return objective(v, weights, bias); }, x, i), gradient.dx[i]);
  }
  for (size_t i = 0; i < weights.size(); i += 2) {
    agree(central_difference([&](const std::vector<double>& v) { return objective(x, v, bias); }, weights, i), gradient.dweights[i]);
  }
  for (size_t i = 0; i < bias.size(); ++i) {
    agree(central_difference([&](const std::vector<double>& v) { return objective(x, weights, v); }, bias, i), gradient.dbias[i]);
  }
}

#if !defined(GATUN_CUDA)
TEST_CASE("convolution gives the same bits for any number of threads") {
  for (const Case& c : kCases) {
    CAPTURE(c.name);
    const Data data = data_of<float>(shape_of(c));
    const Result<float> one = run_kernel<float>(c, data, 1);
    for (const int threads : {2, 3}) {
      const Result<float> many = run_kernel<float>(c, data, threads);
      CHECK(same_bits(one.y, many.y));
      CHECK(same_bits(one.dx, many.dx));
      CHECK(same_bits(one.dweights, many.dweights));
      CHECK(same_bits(one.dbias, many.dbias));
    }
  }
  const Case chunks{"many chunks", 7, 28, 28, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  const Data data = data_of<float>(shape_of(chunks));
  const Result<float> one = run_kernel<float>(chunks, data, 1);
  for (const int threads : {2, 3}) {
    const Result<float> many = run_kernel<float>(chunks, data, threads);
    CHECK(same_bits(one.dweights, many.dweights));
    CHECK(same_bits(one.dbias, many.dbias));
  }
}
#endif

#if !defined(GATUN_CUDA)
// Many images are fetched ahead and written past the caches.
TEST_CASE("depthwise convolution of many images has the bits of a few") {
  Case c{"depthwise", 64, 14, 14, 192, 192, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 192};
  Data data = data_of<float>(shape_of(c));
  const Result<float> all = run_kernel<float>(c, data, 2);
  c.batch = 3;
  const size_t size = static_cast<size_t>(c.batch * c.height * c.width * c.channels);
  data.x.resize(size);
  data.dy.resize(size);
  const Result<float> few = run_kernel<float>(c, data, 2);
  CHECK(same_bits(few.y, {all.y.begin(), all.y.begin() + static_cast<ptrdiff_t>(size)}));
  CHECK(same_bits(few.dx, {all.dx.begin(), all.dx.begin() + static_cast<ptrdiff_t>(size)}));
}
#endif

TEST_CASE("convolution of an empty batch gives nothing, and zero gradients") {
  for (Case c : {kCases[2], kCases.back(), Case{"depthwise", 1, 7, 7, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 40}}) {
    c.batch = 0;
    const Result<float> result = run_kernel<float>(c, data_of<float>(shape_of(c)), 2);
    CHECK(result.y.empty());
    CHECK(result.dx.empty());
    for (const float value : result.dweights) CHECK(value == 0.0f);
    for (const float value : result.dbias) CHECK(value == 0.0f);
  }
}

TEST_CASE("convolution carries NaN to the outputs that see it and to no others") {
  for (const Case& c : {kCases[2], Case{"depthwise", 2, 7, 7, 40, 40, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 40}}) {
    CAPTURE(c.name);
    const ConvolutionShape s = shape_of(c);
    Data data = data_of<float>(s);
    data.x[static_cast<size_t>((5 * s.x.width + 6) * s.channels)] = std::numeric_limits<float>::quiet_NaN();
    data.dy[static_cast<size_t>((2 * s.y.width + 1) * s.out_channels + 3)] = std::numeric_limits<float>::quiet_NaN();
    const Reference<float> naive = reference<float>(s, data, true);
    const Result<float> result = run_kernel<float>(c, data, 2);
    const auto same_nan = [](const std::vector<float>& a, const std::vector<float>& b) {
      for (size_t i = 0; i < a.size(); ++i) {
        if (std::isnan(a[i]) != std::isnan(b[i])) return false;
      }
      return true;
    };
    CHECK(same_nan(result.y, naive.y));
    CHECK(same_nan(result.dx, naive.dx));
    CHECK(same_nan(result.dweights, naive.dweights));
    CHECK(same_nan(result.dbias, naive.dbias));
  }
}

TEST_CASE("convolution refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(4096);
  const Case c{"good", 1, 6, 6, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2};
  size_t bytes = 0;
  const gatun_convolution_desc good = descriptor<float>(c);
  run([&](gatun_error* e) { return gatun_convolution_backward_data_workspace(device.stream(), &good, &bytes, e); });
  Workspace workspace(std::max<size_t>(bytes, 1 << 16));
  const auto attempt = [&](const char* part, auto&& change) {
    gatun_convolution_desc desc = good;
    change(desc);
    refused(part, [&](gatun_error* e) {
      return gatun_convolution_forward(device.stream(), &desc, buffer.data(), buffer.data(), nullptr, buffer.data(), workspace.data(), workspace.bytes(), e);
    });
  };
  using Desc = gatun_convolution_desc;
  attempt("struct_size", [](Desc& d) { d.struct_size = 8; });
  attempt("groups is 0", [](Desc& d) { d.groups = 0; });
  attempt("groups is 3, it must divide the channels of x, f32(1, 6, 6, 4)", [](Desc& d) { d.groups = 3; });
  attempt("stride_width is 0", [](Desc& d) { d.stride_width = 0; });
  attempt("padding_left is -1", [](Desc& d) { d.padding_left = -1; });
  attempt("dilation_height is 0", [](Desc& d) { d.dilation_height = 0; });
  attempt("the kernel is larger than the padded image along the height", [](Desc& d) {
    // Its extent, dilation * (KH - 1) + 1, is beyond 64 bits.
    d.weights = layout(GATUN_F32, {1, int64_t{1} << 34, 1, 4});
    d.y.shape[3] = d.groups = 1;
    d.dilation_height = INT32_MAX;
  });
  attempt("accumulate is 2", [](Desc& d) { d.accumulate = 2; });
  attempt("reserved is 5, it must be 0", [](Desc& d) { d.reserved = 5; });
#if !defined(GATUN_CUDA)
  attempt("accumulate is for gradients", [](Desc& d) {
    d.groups = 1;
    d.weights = layout(GATUN_F32, {8, 3, 3, 4});
    d.accumulate = 1;
  });
#endif
  Desc adding = good;
  adding.accumulate = 1;
  gatun_error error{};
  CHECK(gatun_convolution_backward_data_workspace(device.stream(), &adding, &bytes, &error) == GATUN_UNSUPPORTED);
  CHECK(std::string(error.message).find("accumulate 1 is for the CPU and one group") != std::string::npos);
  attempt("x is i32, ", [](Desc& d) { d.x.dtype = GATUN_I32; });
  attempt("weights has shape (8, 3, 3, 4), expected (8, 3, 3, 2)", [](Desc& d) { d.weights = layout(GATUN_F32, {8, 3, 3, 4}); });
  attempt("weights must be contiguous", [](Desc& d) { d.weights.stride[0] += 2; });
  attempt("y has shape (1, 6, 6, 8), expected (1, 3, 6, 8)", [](Desc& d) { d.stride_height = 2; });
  attempt("the kernel is larger than the padded image along the height", [](Desc& d) { d.dilation_height = 4; });
  attempt("the padded image is too large", [](Desc& d) {
    d.padding_top = d.padding_left = INT32_MAX;
    d.stride_height = d.stride_width = INT32_MAX;
    d.y = layout(GATUN_F32, {1, 2, 2, 8});
  });
  attempt("y is written, but its elements overlap", [](Desc& d) { d.y.stride[1] = 0; });
  attempt("bias has shape (7), expected (8)", [](Desc& d) { d.bias = layout(GATUN_F32, {7}); });
  attempt("bias is NULL", [](Desc& d) { d.bias = layout(GATUN_F32, {8}); });
  refused("bytes, ", [&](gatun_error* e) {
    return gatun_convolution_backward_data(device.stream(), &good, buffer.data(), buffer.data(), buffer.data(), workspace.data(), bytes - 1, e);
  });
  refused("stream is NULL", [&](gatun_error* e) { return gatun_convolution_forward_workspace(nullptr, &good, &bytes, e); });
  Desc with_bias = good;
  with_bias.bias = layout(GATUN_F32, {8});
  refused("bias takes no part in backward_data", [&](gatun_error* e) {
    return gatun_convolution_backward_data(device.stream(), &with_bias, buffer.data(), buffer.data(), buffer.data(), workspace.data(), bytes, e);
  });
}

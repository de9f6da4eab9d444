// SPDX-License-Identifier: Apache-2.0
#include "kernels/pooling/pooling_reference.h"

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

struct Case {
  const char* name;
  int64_t batch, height, width, channels;
  int32_t window_height, window_width, stride_height, stride_width, top, bottom, left, right;
};

const std::vector<Case> kCases = {
#if defined(GATUN_CUDA)
    {"several blocks of channels", 1, 3, 5, 300, 2, 3, 1, 2, 0, 0, 0, 0},
    {"vectors that leave lanes idle", 2, 5, 4, 72, 3, 2, 2, 1, 1, 1, 0, 0},
    {"global", 2, 7, 7, 40, 7, 7, 1, 1, 0, 0, 0, 0},
#else
    {"global", 5, 7, 7, 300, 7, 7, 1, 1, 0, 0, 0, 0},
    {"several blocks of channels", 1, 3, 5, 600, 2, 3, 1, 2, 0, 0, 0, 0},
    {"global, several blocks of channels", 2, 2, 3, 1100, 2, 3, 1, 1, 0, 0, 0, 0},
#endif
    {"2x2", 2, 6, 8, 16, 2, 2, 2, 2, 0, 0, 0, 0},
    {"3x3 stride 2 padding 1", 2, 15, 14, 33, 3, 3, 2, 2, 1, 1, 1, 1},
    {"overlapping, lopsided", 3, 7, 9, 5, 3, 4, 1, 2, 2, 0, 1, 3},
    {"gaps between windows", 2, 11, 10, 7, 2, 1, 3, 4, 0, 1, 0, 0},
    {"one pixel", 2, 1, 1, 3, 1, 1, 1, 1, 0, 0, 0, 0},
};

PoolingShape shape_of(const Case& c, bool count_include_pad) {
  const int64_t oh = (c.height + c.top + c.bottom - c.window_height) / c.stride_height + 1;
  const int64_t ow = (c.width + c.left + c.right - c.window_width) / c.stride_width + 1;
  return {c.batch, c.channels,
          {c.height, c.width, c.height * c.width * c.channels, c.width * c.channels, c.channels},
          {oh, ow, oh * ow * c.channels, ow * c.channels, c.channels},
          {c.window_height, c.stride_height, c.top, c.height, oh},
          {c.window_width, c.stride_width, c.left, c.width, ow},
          count_include_pad};
}

template <class T>
gatun_pooling_desc descriptor(const Case& c, int32_t mode, bool count_include_pad, int64_t gap = 0) {
  const PoolingShape s = shape_of(c, count_include_pad);
  const auto images = [&](int64_t height, int64_t width) {
    const int64_t pixel = c.channels + gap;
    return layout(kDtype<T>, {c.batch, height, width, c.channels}, {height * width * pixel, width * pixel, pixel, 1});
  };
  gatun_pooling_desc desc{};
  desc.struct_size = sizeof desc;
  desc.mode = mode;
  desc.x = images(c.height, c.width);
  desc.y = images(s.y.height, s.y.width);
  if (mode == GATUN_POOLING_MAX) desc.argmax = layout(GATUN_I32, {c.batch, s.y.height, s.y.width, c.channels});
  desc.window_height = c.window_height;
  desc.window_width = c.window_width;
  desc.stride_height = c.stride_height;
  desc.stride_width = c.stride_width;
  desc.padding_top = c.top;
  desc.padding_bottom = c.bottom;
  desc.padding_left = c.left;
  desc.padding_right = c.right;
  desc.count_include_pad = count_include_pad ? 1 : 0;
  return desc;
}

template <class T>
std::vector<T> spread(const std::vector<float>& values, int64_t channels, int64_t gap) {
  std::vector<T> buffer(values.size() / channels * (channels + gap), T(7.0f));
  for (size_t i = 0; i < values.size(); ++i) buffer[i / channels * (channels + gap) + i % channels] = T(values[i]);
  return buffer;
}

template <class T>
std::vector<T> collect(const std::vector<T>& buffer, int64_t channels, int64_t gap) {
  std::vector<T> values;
  for (size_t i = 0; i < buffer.size(); ++i) {
    if (static_cast<int64_t>(i) % (channels + gap) < channels) {
      values.push_back(buffer[i]);
    } else {
      CHECK(static_cast<float>(buffer[i]) == 7.0f);
    }
  }
  return values;
}

template <class T>
struct Result {
  std::vector<T> y, dx;
  std::vector<int32_t> argmax;
};

template <class T>
Result<T> run_kernel(const Case& c, int32_t mode, bool count_include_pad, const std::vector<float>& x, const std::vector<float>& dy, int threads,
                     int64_t gap = 0) {
  Device device(threads);
  const gatun_pooling_desc desc = descriptor<T>(c, mode, count_include_pad, gap);
  const Memory<T> x_buffer(spread<T>(x, c.channels, gap)), dy_buffer(spread<T>(dy, c.channels, gap));
  Memory<T> y(dy.size() / c.channels * (c.channels + gap), T(7.0f)), dx(x.size() / c.channels * (c.channels + gap), T(7.0f));
  const bool max = mode == GATUN_POOLING_MAX;
  Memory<int32_t> winners(max ? dy.size() : 0, -7);
  int32_t* argmax = max ? winners.data() : nullptr;
  run([&](gatun_error* e) { return gatun_pooling_forward(device.stream(), &desc, x_buffer.data(), y.data(), argmax, e); });
  run([&](gatun_error* e) { return gatun_pooling_backward(device.stream(), &desc, dy_buffer.data(), argmax, dx.data(), e); });
  return {collect(y.values(), c.channels, gap), collect(dx.values(), c.channels, gap), winners.values()};
}

template <class T>
struct Reference {
  std::vector<T> y, dx;
  std::vector<int32_t> argmax;
};

template <class T>
Reference<T> reference(const PoolingShape& s, int32_t mode, const std::vector<T>& x, const std::vector<T>& dy) {
  Reference<T> r{std::vector<T>(dy.size()), std::vector<T>(x.size()), {}};
  if (mode == GATUN_POOLING_MAX) {
    r.argmax.resize(dy.size());
    pooling_max_reference<T>(s, x.data(), r.y.data(), r.argmax.data());
    pooling_max_backward_reference<T>(s, dy.data(), r.argmax.data(), r.dx.data());
  } else {
    std::vector<T> divisor(dy.size());
    pooling_divisors<T>(s, divisor.data());
    pooling_average_reference<T>(s, x.data(), divisor.data(), r.y.data());
    pooling_average_backward_reference<T>(s, dy.data(), divisor.data(), r.dx.data());
  }
  return r;
}

// The values are such as T stores.
template <class T, class Body>
void for_all(Body&& body) {
  for (const Case& c : kCases) {
    CAPTURE(c.name);
    const PoolingShape s = shape_of(c, false);
    const std::vector<float> x = rounded<T>(normal(pooling_inputs(s), 1)), dy = rounded<T>(normal(pooling_outputs(s), 2));
    body(c, GATUN_POOLING_MAX, false, x, dy);
    body(c, GATUN_POOLING_AVERAGE, false, x, dy);
    body(c, GATUN_POOLING_AVERAGE, true, x, dy);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("pooling matches the double reference", T, GATUN_STORAGES) {
  for_all<T>([](const Case& c, int32_t mode, bool count, const std::vector<float>& x, const std::vector<float>& dy) {
    const PoolingShape s = shape_of(c, count);
    const Reference<double> truth = reference<double>(s, mode, widen(x), widen(dy));
    const Reference<float> naive = reference<float>(s, mode, x, dy);
    for (const int64_t gap : {0, 3, 8}) {
      const Result<T> result = run_kernel<T>(c, mode, count, x, dy, 2, gap);
      check_stored(result.y, truth.y, naive.y);
      check_stored(result.dx, truth.dx, naive.dx);
      CHECK(result.argmax == truth.argmax);
    }
  });
}

TEST_CASE("pooling reference gradients agree with finite differences") {
  const Case c{"small", 2, 5, 4, 2, 3, 2, 2, 1, 1, 1, 0, 1};
  for (const bool count : {false, true}) {
    const PoolingShape s = shape_of(c, count);
    const std::vector<double> x = widen(normal(pooling_inputs(s), 3)), dy = widen(normal(pooling_outputs(s), 4));
    for (const int32_t mode : {GATUN_POOLING_MAX, GATUN_POOLING_AVERAGE}) {
      const std::vector<double> dx = reference<double>(s, mode, x, dy).dx;
      const auto objective = [&](const std::vector<double>& v) {
        const std::vector<double> y = reference<double>(s, mode, v, dy).y;
        double sum = 0;
        for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
        return sum;
      };
      for (size_t i = 0; i < x.size(); ++i) CHECK(std::abs(central_difference(objective, x, i) - dx[i]) <= 1e-8 * (1 + std::abs(dx[i])));
    }
  }
}

#if !defined(GATUN_CUDA)
TEST_CASE("pooling gives the same bits for any number of threads") {
  for_all<float>([](const Case& c, int32_t mode, bool count, const std::vector<float>& x, const std::vector<float>& dy) {
    const Result<float> one = run_kernel<float>(c, mode, count, x, dy, 1);
    for (const int threads : {2, 3}) {
      const Result<float> many = run_kernel<float>(c, mode, count, x, dy, threads);
      CHECK(same_bits(one.y, many.y));
      CHECK(same_bits(one.dx, many.dx));
      CHECK(one.argmax == many.argmax);
    }
  });
}

// The gradient of many images is written past the caches where windows do not overlap.
TEST_CASE("pooling of many images has the bits of a few") {
  for (Case c : {Case{"2x2", 75, 28, 28, 64, 2, 2, 2, 2, 0, 0, 0, 0}, Case{"global", 176, 7, 7, 512, 7, 7, 1, 1, 0, 0, 0, 0}}) {
    CAPTURE(c.name);
    const PoolingShape s = shape_of(c, false);
    std::vector<float> x = normal(pooling_inputs(s), 1), dy = normal(pooling_outputs(s), 2);
    const size_t outputs = dy.size() / static_cast<size_t>(c.batch) * 2, inputs = x.size() / static_cast<size_t>(c.batch) * 2;
    const Result<float> max = run_kernel<float>(c, GATUN_POOLING_MAX, false, x, dy, 2), average = run_kernel<float>(c, GATUN_POOLING_AVERAGE, false, x, dy, 2);
    c.batch = 2;
    x.resize(inputs);
    dy.resize(outputs);
    for (const int32_t mode : {GATUN_POOLING_MAX, GATUN_POOLING_AVERAGE}) {
      const Result<float>& all = mode == GATUN_POOLING_MAX ? max : average;
      const Result<float> few = run_kernel<float>(c, mode, false, x, dy, 2);
      CHECK(same_bits(few.y, {all.y.begin(), all.y.begin() + static_cast<ptrdiff_t>(outputs)}));
      CHECK(same_bits(few.dx, {all.dx.begin(), all.dx.begin() + static_cast<ptrdiff_t>(inputs)}));
    }
  }
}
#endif

TEST_CASE("max pooling: the first maximum wins, NaN goes through, minus infinity is a value") {
  const Case c{"2x2", 1, 4, 4, 1, 2, 2, 2, 2, 0, 0, 0, 0};
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {5, 5, 1, nan,
                                5, 5, nan, 9,
                                -inf, -inf, -3, -2,
                                -inf, -inf, -2, -4};
  const Result<float> result = run_kernel<float>(c, GATUN_POOLING_MAX, false, x, {1, 2, 3, 4}, 2);
  CHECK(result.argmax == std::vector<int32_t>{0, 3, 8, 11});
  CHECK(result.y[0] == 5.0f);
  CHECK(std::isnan(result.y[1]));
  CHECK(result.y[2] == -inf);
  CHECK(result.y[3] == -2.0f);
  std::vector<float> expected(16);
  expected[0] = 1, expected[3] = 2, expected[8] = 3, expected[11] = 4;
  CHECK(same_bits(result.dx, expected));
}

TEST_CASE("pooling of an empty batch gives nothing") {
  Case c = kCases[1];
  c.batch = 0;
  CHECK(run_kernel<float>(c, GATUN_POOLING_MAX, false, {}, {}, 2).y.empty());
  CHECK(run_kernel<float>(c, GATUN_POOLING_AVERAGE, true, {}, {}, 2).dx.empty());
}

TEST_CASE("pooling refuses bad descriptors with a message that names the operand") {
  Device device;
  std::vector<float> buffer(4096);
  std::vector<int32_t> argmax(4096);
  const Case c{"good", 1, 6, 6, 4, 3, 3, 2, 2, 1, 1, 1, 1};
  using Desc = gatun_pooling_desc;
  const auto attempt = [&](const char* part, auto&& change) {
    Desc desc = descriptor<float>(c, GATUN_POOLING_MAX, false);
    change(desc);
    refused(part, [&](gatun_error* e) { return gatun_pooling_forward(device.stream(), &desc, buffer.data(), buffer.data(), argmax.data(), e); });
  };
  attempt("struct_size", [](Desc& d) { d.struct_size = 0; });
  attempt("mode is 3", [](Desc& d) { d.mode = 3; });
  attempt("window_width is 0", [](Desc& d) { d.window_width = 0; });
  attempt("stride_height is -2", [](Desc& d) { d.stride_height = -2; });
  attempt("padding along the width is 3 and 1, allowed are 0 to 2", [](Desc& d) { d.padding_left = 3; });
  attempt("count_include_pad is 1", [](Desc& d) { d.count_include_pad = 1; });
  attempt("y has shape (1, 3, 3, 4), expected (1, 6, 6, 4)", [](Desc& d) { d.stride_height = d.stride_width = 1; });
  attempt("the window is larger than the padded image along the height: x is f32(1, 6, 6, 4)", [](Desc& d) { d.window_height = 9; });
  attempt("argmax is none, expected i32", [](Desc& d) { d.argmax = {}; });
  attempt("argmax has shape (1, 3, 3, 5), expected (1, 3, 3, 4)", [](Desc& d) { d.argmax = layout(GATUN_I32, {1, 3, 3, 5}); });
  attempt("y is written, but its elements overlap", [](Desc& d) { d.y.stride[0] = d.y.stride[1] = 0; });
  attempt("argmax has no part in an average", [](Desc& d) { d.mode = GATUN_POOLING_AVERAGE; });
  const Desc good = descriptor<float>(c, GATUN_POOLING_MAX, false);
  refused("argmax is NULL", [&](gatun_error* e) { return gatun_pooling_forward(device.stream(), &good, buffer.data(), buffer.data(), nullptr, e); });
  refused("dx is NULL", [&](gatun_error* e) { return gatun_pooling_backward(device.stream(), &good, buffer.data(), argmax.data(), nullptr, e); });
}

// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution/convolution_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

struct Problem {
  int64_t batch, height, width, channels, outputs, kernel, stride, padding, dilation, groups;

  int64_t out(int64_t size) const { return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1; }
  int64_t inputs() const { return batch * height * width * channels; }
  int64_t weights() const { return outputs * kernel * kernel * channels / groups; }
  int64_t results() const { return batch * out(height) * out(width) * outputs; }
  bool depthwise() const { return groups == channels && groups == outputs; }

  ConvolutionShape shape() const {
    const int64_t oh = out(height), ow = out(width);
    return {batch, channels, outputs, groups,
            {height, width, height * width * channels, width * channels, channels},
            {oh, ow, oh * ow * outputs, ow * outputs, outputs},
            kernel, kernel, stride, stride, padding, padding, dilation, dilation};
  }

  // For forward and backward-data; backward-weights has gradients of weights, which are f32.
  gatun_convolution_desc desc(int32_t dtype, bool gradients, bool bias) const {
    gatun_convolution_desc d{};
    d.struct_size = sizeof d;
    d.groups = static_cast<int32_t>(groups);
    d.x = layout(dtype, {batch, height, width, channels});
    d.weights = layout(gradients ? GATUN_F32 : dtype, {outputs, kernel, kernel, channels / groups});
    if (bias) d.bias = layout(GATUN_F32, {outputs});
    d.y = layout(dtype, {batch, out(height), out(width), outputs});
    d.stride_height = d.stride_width = static_cast<int32_t>(stride);
    d.padding_top = d.padding_bottom = d.padding_left = d.padding_right = static_cast<int32_t>(padding);
    d.dilation_height = d.dilation_width = static_cast<int32_t>(dilation);
    return d;
  }

  ShapeText text() const {
    std::string text = ShapeText{batch, height, width, channels}.text + " kernel " + ShapeText{outputs, kernel, kernel, channels / groups}.text + " stride " +
                       std::to_string(stride) + " padding " + std::to_string(padding);
    if (dilation > 1) text += " dilation " + std::to_string(dilation);
    if (groups > 1) text += " groups " + std::to_string(groups);
    return text;
  }
};

template <class T>
struct Reference {
  std::vector<T> y, dx, dweights, dbias;
  Reference(const ConvolutionShape& s, const std::vector<float>& x, const std::vector<float>& weights, const std::vector<float>& bias, const std::vector<float>& dy)
      : y(dy.size()), dx(x.size()), dweights(weights.size()), dbias(bias.size()) {
    const std::vector<T> in(x.begin(), x.end()), w(weights.begin(), weights.end()), b(bias.begin(), bias.end()), gradient(dy.begin(), dy.end());
    convolution_reference<T>(s, in.data(), w.data(), b.data(), y.data());
    convolution_backward_data_reference<T>(s, gradient.data(), w.data(), dx.data());
    convolution_backward_weights_reference<T>(s, in.data(), gradient.data(), dweights.data(), dbias.data());
  }
};

using Query = gatun_status (*)(const gatun_stream*, const gatun_convolution_desc*, size_t*, gatun_error*);

size_t workspace_bytes(gatun_stream* stream, const gatun_convolution_desc& desc, Query query) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return query(stream, &desc, &bytes, e); });
  return bytes;
}

template <class T>
void compare(Selftest& s, const Problem& p) {
  const std::vector<float> x = testing::rounded<T>(s.normal(p.inputs())), weights = testing::rounded<T>(s.normal(p.weights())), bias = s.normal(p.outputs),
                           dy = testing::rounded<T>(s.normal(p.results()));
  const Reference<double> truth(p.shape(), x, weights, bias, dy);
  const Reference<float> naive(p.shape(), x, weights, bias, dy);
  Buffer<T> in(s.device(), testing::stored<T>(x)), kernel(s.device(), testing::stored<T>(weights)), gradient(s.device(), testing::stored<T>(dy)),
      y(s.device(), dy.size()), dx(s.device(), x.size());
  Buffer<float> bias_in(s.device(), bias), dweights(s.device(), weights.size()), dbias(s.device(), bias.size());
  const auto forward = p.desc(testing::kDtype<T>, false, true), data = p.desc(testing::kDtype<T>, false, false), gradients = p.desc(testing::kDtype<T>, true, true);
  Buffer<uint8_t> w1(s.device(), workspace_bytes(s.stream(), forward, gatun_convolution_forward_workspace));
  call([&](gatun_error* e) {
    return gatun_convolution_forward(s.stream(), &forward, in.data(), kernel.data(), bias_in.data(), y.data(), w1.data(), w1.size(), e);
  });
  s.check("forward", dtype<T>(), p.text(), y.values(), truth.y, naive.y);
  Buffer<uint8_t> w2(s.device(), workspace_bytes(s.stream(), data, gatun_convolution_backward_data_workspace));
  call([&](gatun_error* e) { return gatun_convolution_backward_data(s.stream(), &data, gradient.data(), kernel.data(), dx.data(), w2.data(), w2.size(), e); });
  s.check("backward_data", dtype<T>(), p.text(), dx.values(), truth.dx, naive.dx);
  Buffer<uint8_t> w3(s.device(), workspace_bytes(s.stream(), gradients, gatun_convolution_backward_weights_workspace));
  call([&](gatun_error* e) {
    return gatun_convolution_backward_weights(s.stream(), &gradients, in.data(), gradient.data(), dweights.data(), dbias.data(), w3.data(), w3.size(), e);
  });
  s.check("backward_weights", dtype<T>(), p.text(), dweights.values(), truth.dweights, naive.dweights);
  s.check("backward_weights, bias", dtype<T>(), p.text(), dbias.values(), truth.dbias, naive.dbias);
}

Problem random_problem(Selftest& s) {
  Problem p{};
  p.batch = s.extent(1, 3);
  p.kernel = s.extent(1, 5);
  p.stride = s.extent(1, 3);
  p.padding = s.extent(1, 4) - 1;
  p.dilation = s.chance(0.2) ? 2 : 1;
  const int64_t smallest = p.dilation * (p.kernel - 1) + 1;
  p.height = smallest + s.extent(1, 13);
  p.width = smallest + s.extent(1, 13);
  if (s.chance(0.25)) {
    p.channels = p.outputs = p.groups = s.extent(2, 20) * (s.chance(0.5) ? 4 : 1);
    return p;
  }
  const bool vectors = s.chance(0.5);
  p.groups = s.chance(0.2) ? 2 : 1;
  p.channels = p.groups * (vectors ? 8 * s.extent(1, 9) : s.chance(0.3) ? s.extent(1, 4) : s.extent(5, 40));
  p.outputs = p.groups * (vectors ? 8 * s.extent(1, 9) : s.extent(1, 40));
  return p;
}

void selftest(Selftest& s) {
  for (int round = 0; round < 3 * s.rounds(); ++round) {
    Problem p = random_problem(s);
    // The bound is the largest error of many: of a few, it may be small by chance.
    while (p.results() < 200 || p.weights() < 100 || p.outputs < 8) p = random_problem(s);
    for_each_storage(s.device(), [&](auto storage) { compare<decltype(storage)>(s, p); });
  }
  // Large enough for the tiles that the small shapes do not take.
  if (s.device().kind() == "cuda") {
    for_each_storage(s.device(), [&](auto storage) { compare<decltype(storage)>(s, {4, 28, 28, 128, 128, 3, 1, 1, 1, 1}); });
    for_each_storage(s.device(), [&](auto storage) { compare<decltype(storage)>(s, {8, 56, 56, 64, 64, 3, 1, 1, 1, 1}); });
  }
}

template <class T>
void time_problem(Bench& b, const Problem& p) {
  const double flops = 2.0 * static_cast<double>(p.results()) * static_cast<double>(p.kernel * p.kernel * p.channels / p.groups), size = sizeof(T);
  const double images = size * static_cast<double>(p.inputs() + p.results()), weights = static_cast<double>(p.weights());
  const bool tensor_cores = size == 2 && !p.depthwise();
  b.row("forward", dtype<T>(), p.text(), {.flops = flops, .bytes = images + size * weights, .tensor_cores = tensor_cores}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(p.inputs()), kernel = run.normal<T>(p.weights()), y = run.empty<T>(p.results());
    const auto desc = p.desc(testing::kDtype<T>, false, false);
    Buffer<uint8_t> workspace(run.device(), workspace_bytes(run.stream(), desc, gatun_convolution_forward_workspace));
    run.time([&](int i, gatun_error* e) {
      return gatun_convolution_forward(run.stream(), &desc, x[i], kernel[i], nullptr, y[i], workspace.data(), workspace.size(), e);
    });
  });
  b.row("backward_data", dtype<T>(), p.text(), {.flops = flops, .bytes = images + size * weights, .tensor_cores = tensor_cores}, [&](Run& run) {
    Rotating<T> dy = run.normal<T>(p.results()), kernel = run.normal<T>(p.weights()), dx = run.empty<T>(p.inputs());
    const auto desc = p.desc(testing::kDtype<T>, false, false);
    Buffer<uint8_t> workspace(run.device(), workspace_bytes(run.stream(), desc, gatun_convolution_backward_data_workspace));
    run.time([&](int i, gatun_error* e) {
      return gatun_convolution_backward_data(run.stream(), &desc, dy[i], kernel[i], dx[i], workspace.data(), workspace.size(), e);
    });
  });
  b.row("backward_weights", dtype<T>(), p.text(), {.flops = flops, .bytes = images + 4 * weights, .tensor_cores = tensor_cores}, [&](Run& run) {
    Rotating<T> x = run.normal<T>(p.inputs()), dy = run.normal<T>(p.results());
    Rotating<float> dweights = run.empty<float>(p.weights());
    const auto desc = p.desc(testing::kDtype<T>, true, false);
    Buffer<uint8_t> workspace(run.device(), workspace_bytes(run.stream(), desc, gatun_convolution_backward_weights_workspace));
    run.time([&](int i, gatun_error* e) {
      return gatun_convolution_backward_weights(run.stream(), &desc, x[i], dy[i], dweights[i], nullptr, workspace.data(), workspace.size(), e);
    });
  });
}

// ResNet-50's stem, its 3 x 3 layers and one of its 1 x 1 layers; ConvNeXt's depthwise layer.
void bench(Bench& b) {
  if (b.emulated()) return time_problem<testing::Bfloat16>(b, {1, 7, 7, 32, 64, 3, 1, 1, 1, 1});
  const int64_t batch = b.device().cpu() ? 16 : 256;
  const std::vector<Problem> problems = {
      {batch, 224, 224, 3, 64, 7, 2, 3, 1, 1},   {batch, 56, 56, 64, 64, 3, 1, 1, 1, 1},   {batch, 28, 28, 128, 128, 3, 1, 1, 1, 1},
      {batch, 14, 14, 256, 256, 3, 1, 1, 1, 1},  {batch, 7, 7, 512, 512, 3, 1, 1, 1, 1},   {batch, 56, 56, 128, 128, 3, 2, 1, 1, 1},
      {batch, 14, 14, 1024, 256, 1, 1, 0, 1, 1}, {batch, 56, 56, 96, 96, 7, 1, 3, 1, 96},
  };
  for (const Problem& p : problems) {
    if (b.device().cpu()) time_problem<float>(b, p);
    else time_problem<testing::Bfloat16>(b, p);
  }
  if (!b.device().cpu()) time_problem<float>(b, problems[2]);
}

GATUN_TRIALS(convolution, selftest, bench);

}  // namespace
}  // namespace gatun::trial

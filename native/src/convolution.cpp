// SPDX-License-Identifier: Apache-2.0
#include "gatun/convolution.h"

#include <algorithm>

#include "abi.h"
#include "check.h"
#include "kernels/common/storage.h"
#include "kernels/convolution/convolution.h"

namespace gatun {

static void check_geometry(const gatun_convolution_desc& desc) {
  const auto at_least = [](const char* name, int32_t value, int32_t least) {
    if (value < least) invalid("%s is %d, it must be at least %d", name, value, least);
  };
  at_least("groups", desc.groups, 1);
  at_least("stride_height", desc.stride_height, 1);
  at_least("stride_width", desc.stride_width, 1);
  at_least("padding_top", desc.padding_top, 0);
  at_least("padding_bottom", desc.padding_bottom, 0);
  at_least("padding_left", desc.padding_left, 0);
  at_least("padding_right", desc.padding_right, 0);
  at_least("dilation_height", desc.dilation_height, 1);
  at_least("dilation_width", desc.dilation_width, 1);
  if (!(desc.allowed_error >= 0)) invalid("allowed_error is %g, it must be at least 0", desc.allowed_error);
  if (desc.accumulate != 0 && desc.accumulate != 1) invalid("accumulate is %d, it must be 0 or 1", desc.accumulate);
#if defined(GATUN_CUDA)
  const bool adds = false;
#else
  const bool adds = desc.groups == 1;
#endif
  if (desc.accumulate == 1 && !adds) throw Error(GATUN_UNSUPPORTED, "accumulate 1 is for the CPU and one group");
}

static void check_contiguous(const char* name, const gatun_layout& layout) {
  int64_t stride = 1;
  for (int i = layout.rank - 1; i >= 0; --i) {
    if (layout.shape[i] > 1 && layout.stride[i] != stride) invalid("%s must be contiguous: %s", name, describe(layout).c_str());
    stride *= layout.shape[i];
  }
}

static int64_t output_size(const char* axis, int64_t size, int64_t padding, int64_t kernel, int64_t dilation, int64_t stride,
                           const gatun_convolution_desc& desc) {
  // Divided, not multiplied: a kernel's extent in x may be beyond 64 bits.
  if (size + padding < 1 || (size + padding - 1) / dilation < kernel - 1) {
    invalid("the kernel is larger than the padded image along the %s: x is %s, weights are %s", axis, describe(desc.x).c_str(),
            describe(desc.weights).c_str());
  }
  return (size + padding - dilation * (kernel - 1) - 1) / stride + 1;
}

static PixelGrid grid(const gatun_layout& layout) {
  return {layout.shape[1], layout.shape[2], layout.stride[0], layout.stride[1], layout.stride[2]};
}

// What desc->weights stands for: the gradient of weights is f32, whatever they are stored as.
enum class Weights { kValues, kGradient };

#if defined(GATUN_CUDA)
static void check_extents(const ConvolutionShape& s, const gatun_convolution_desc& desc) {
  const auto pixels = [&](const char* name, const PixelGrid& grid, const gatun_layout& layout) {
    if (s.batch > 0 && grid.height > kMaxPositions / s.batch / grid.width) {
      invalid("%s is %s, at most %lld pixels are possible on CUDA", name, describe(layout).c_str(), static_cast<long long>(kMaxPositions));
    }
  };
  pixels("x", s.x, desc.x);
  pixels("y", s.y, desc.y);
  const int64_t largest = std::max({s.x.height, s.x.width, s.kernel_height, s.kernel_width, s.stride_height, s.stride_width, s.padding_top, s.padding_left,
                                    int64_t{desc.padding_bottom}, int64_t{desc.padding_right}, s.dilation_height * (s.kernel_height - 1),
                                    s.dilation_width * (s.kernel_width - 1), s.out_channels, s.channels, s.patch(), s.group_outputs() * s.taps()});
  if (largest > kMaxExtent) {
    invalid("extents, steps and patches of at most %lld are possible on CUDA: x is %s, weights are %s", static_cast<long long>(kMaxExtent),
            describe(desc.x).c_str(), describe(desc.weights).c_str());
  }
}
#else
static void check_extents(const ConvolutionShape&, const gatun_convolution_desc&) {}
#endif

// Everything but pointers; what is written must not overlap itself.
static ConvolutionShape check_convolution(const gatun_convolution_desc& desc, Weights weights) {
  check_geometry(desc);
  check_storage("x", desc.x, 4);
  check_storage("y", desc.y, 4);
  check_same_dtype("y", desc.y, "x", desc.x);
  check_layout("weights", desc.weights, weights == Weights::kValues ? desc.x.dtype : GATUN_F32, 4);
  for (int i = 1; i < 4; ++i) {
    if (desc.x.shape[i] < 1) invalid("x has an empty image: %s", describe(desc.x).c_str());
  }
  for (int i = 0; i < 4; ++i) {
    if (desc.weights.shape[i] < 1) invalid("weights are empty: %s", describe(desc.weights).c_str());
  }
  check_contiguous("weights", desc.weights);
  const int64_t channels = desc.x.shape[3];
  const int64_t outputs = desc.weights.shape[0];
  if (channels % desc.groups != 0 || outputs % desc.groups != 0) {
    invalid("groups is %d, it must divide the channels of x, %s, and the outputs of weights, %s", desc.groups, describe(desc.x).c_str(),
            describe(desc.weights).c_str());
  }
  check_shape("weights", desc.weights, {outputs, desc.weights.shape[1], desc.weights.shape[2], channels / desc.groups});
  const int64_t height = output_size("height", desc.x.shape[1], int64_t{desc.padding_top} + desc.padding_bottom, desc.weights.shape[1],
                                     desc.dilation_height, desc.stride_height, desc);
  const int64_t width = output_size("width", desc.x.shape[2], int64_t{desc.padding_left} + desc.padding_right, desc.weights.shape[2],
                                    desc.dilation_width, desc.stride_width, desc);
  check_shape("y", desc.y, {desc.x.shape[0], height, width, outputs});
  // Sizes inside a padded image are computed in int64 and a row of it is copied.
  const double padded = (static_cast<double>(desc.x.shape[1]) + desc.padding_top + desc.padding_bottom) *
                        (static_cast<double>(desc.x.shape[2]) + desc.padding_left + desc.padding_right) * static_cast<double>(channels);
  if (padded > 1e15) invalid("the padded image is too large: x is %s, padding is %d, %d, %d, %d", describe(desc.x).c_str(), desc.padding_top,
                             desc.padding_bottom, desc.padding_left, desc.padding_right);
  if (present(desc.bias)) {
    check_layout("bias", desc.bias, GATUN_F32, 1);
    check_shape("bias", desc.bias, {outputs});
  }
  const ConvolutionShape shape{desc.x.shape[0],       channels,         outputs,           desc.groups,         grid(desc.x),         grid(desc.y),
                               desc.weights.shape[1], desc.weights.shape[2], desc.stride_height, desc.stride_width, desc.padding_top, desc.padding_left,
                               desc.dilation_height,  desc.dilation_width,    desc.allowed_error, desc.accumulate == 1};
  check_extents(shape, desc);
  return shape;
}

static void check_no_bias(const gatun_convolution_desc& desc) {
  if (present(desc.bias)) invalid("bias takes no part in backward_data, its dtype must be none: %s", describe(desc.bias).c_str());
}

// size(stream, shape, storage) is the operation's own
template <class Size>
static gatun_status workspace_size(const char* name, Weights weights, const gatun_stream* stream, const gatun_convolution_desc* desc,
                                   size_t* bytes, gatun_error* error, Size&& size) {
  return border(name, error, [&] {
    check_call(stream, desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    const ConvolutionShape shape = check_convolution(*desc, weights);
    with_storage(desc->x.dtype, [&](auto storage) { *bytes = size(*stream, shape, storage); });
  });
}

}  // namespace gatun

extern "C" {

gatun_status gatun_convolution_forward_workspace(const gatun_stream* stream, const gatun_convolution_desc* desc, size_t* bytes,
                                                 gatun_error* error) {
  using namespace gatun;
  return workspace_size("convolution_forward_workspace", Weights::kValues, stream, desc, bytes, error, [](const Stream& s, const ConvolutionShape& shape, auto storage) {
    return convolution_forward_workspace<typename decltype(storage)::Type>(s, shape);
  });
}

gatun_status gatun_convolution_forward(gatun_stream* stream, const gatun_convolution_desc* desc, const void* x, const void* weights,
                                       const void* bias, void* y, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("convolution_forward", error, [&] {
    check_call(stream, desc);
    const ConvolutionShape shape = check_convolution(*desc, Weights::kValues);
    if (desc->accumulate != 0) invalid("accumulate is for gradients, in forward it must be 0");
    check_no_overlap("y", desc->y);
    check_pointer("x", desc->x, x);
    check_pointer("weights", desc->weights, weights);
    check_pointer("bias", desc->bias, bias);
    check_pointer("y", desc->y, y);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      check_workspace(workspace, workspace_bytes, convolution_forward_workspace<T>(*stream, shape));
      convolution_forward<T>(*stream, shape, static_cast<const T*>(x), static_cast<const T*>(weights), static_cast<const float*>(bias),
                             static_cast<T*>(y), static_cast<float*>(workspace));
    });
  });
}

gatun_status gatun_convolution_backward_data_workspace(const gatun_stream* stream, const gatun_convolution_desc* desc, size_t* bytes,
                                                       gatun_error* error) {
  using namespace gatun;
  return workspace_size("convolution_backward_data_workspace", Weights::kValues, stream, desc, bytes, error, [](const Stream& s, const ConvolutionShape& shape, auto storage) {
    return convolution_backward_data_workspace<typename decltype(storage)::Type>(s, shape);
  });
}

gatun_status gatun_convolution_backward_data(gatun_stream* stream, const gatun_convolution_desc* desc, const void* dy, const void* weights,
                                             void* dx, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("convolution_backward_data", error, [&] {
    check_call(stream, desc);
    const ConvolutionShape shape = check_convolution(*desc, Weights::kValues);
    check_no_bias(*desc);
    check_no_overlap("dx", desc->x);
    check_pointer("dy", desc->y, dy);
    check_pointer("weights", desc->weights, weights);
    check_pointer("dx", desc->x, dx);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      check_workspace(workspace, workspace_bytes, convolution_backward_data_workspace<T>(*stream, shape));
      convolution_backward_data<T>(*stream, shape, static_cast<const T*>(dy), static_cast<const T*>(weights), static_cast<T*>(dx),
                                   static_cast<float*>(workspace));
    });
  });
}

gatun_status gatun_convolution_backward_weights_workspace(const gatun_stream* stream, const gatun_convolution_desc* desc, size_t* bytes,
                                                          gatun_error* error) {
  using namespace gatun;
  return workspace_size("convolution_backward_weights_workspace", Weights::kGradient, stream, desc, bytes, error, [](const Stream& s, const ConvolutionShape& shape, auto storage) {
    return convolution_backward_weights_workspace<typename decltype(storage)::Type>(s, shape);
  });
}

gatun_status gatun_convolution_backward_weights(gatun_stream* stream, const gatun_convolution_desc* desc, const void* x, const void* dy,
                                                void* dweights, void* dbias, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("convolution_backward_weights", error, [&] {
    check_call(stream, desc);
    const ConvolutionShape shape = check_convolution(*desc, Weights::kGradient);
    check_pointer("x", desc->x, x);
    check_pointer("dy", desc->y, dy);
    check_pointer("dweights", desc->weights, dweights);
    check_pointer("dbias", desc->bias, dbias);
    with_storage(desc->x.dtype, [&](auto storage) {
      using T = typename decltype(storage)::Type;
      check_workspace(workspace, workspace_bytes, convolution_backward_weights_workspace<T>(*stream, shape));
      convolution_backward_weights<T>(*stream, shape, static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<float*>(dweights),
                                      static_cast<float*>(dbias), static_cast<float*>(workspace));
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(convolution);
GATUN_ABI_FUNCTION(gatun_convolution_forward_workspace);
GATUN_ABI_FUNCTION(gatun_convolution_forward);
GATUN_ABI_FUNCTION(gatun_convolution_backward_data_workspace);
GATUN_ABI_FUNCTION(gatun_convolution_backward_data);
GATUN_ABI_FUNCTION(gatun_convolution_backward_weights_workspace);
GATUN_ABI_FUNCTION(gatun_convolution_backward_weights);
GATUN_ABI_STRUCT(gatun_convolution_desc, GATUN_ABI_FIELD(gatun_convolution_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_convolution_desc, groups), GATUN_ABI_FIELD(gatun_convolution_desc, x),
                 GATUN_ABI_FIELD(gatun_convolution_desc, weights), GATUN_ABI_FIELD(gatun_convolution_desc, bias),
                 GATUN_ABI_FIELD(gatun_convolution_desc, y), GATUN_ABI_FIELD(gatun_convolution_desc, stride_height),
                 GATUN_ABI_FIELD(gatun_convolution_desc, stride_width), GATUN_ABI_FIELD(gatun_convolution_desc, padding_top),
                 GATUN_ABI_FIELD(gatun_convolution_desc, padding_bottom), GATUN_ABI_FIELD(gatun_convolution_desc, padding_left),
                 GATUN_ABI_FIELD(gatun_convolution_desc, padding_right), GATUN_ABI_FIELD(gatun_convolution_desc, dilation_height),
                 GATUN_ABI_FIELD(gatun_convolution_desc, dilation_width), GATUN_ABI_FIELD(gatun_convolution_desc, allowed_error),
                 GATUN_ABI_FIELD(gatun_convolution_desc, accumulate), GATUN_ABI_FIELD(gatun_convolution_desc, reserved));

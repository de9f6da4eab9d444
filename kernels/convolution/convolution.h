// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/pixels.h"
#include "kernels/common/stream.h"

namespace gatun {

// A checked convolution. x, y and weights stand for the operands or their gradients.
struct ConvolutionShape {
  int64_t batch;
  int64_t channels;
  int64_t out_channels;
  int64_t groups;
  PixelGrid x;
  PixelGrid y;
  int64_t kernel_height;
  int64_t kernel_width;
  int64_t stride_height;
  int64_t stride_width;
  int64_t padding_top;
  int64_t padding_left;
  int64_t dilation_height;
  int64_t dilation_width;

  int64_t group_channels() const { return channels / groups; }
  int64_t group_outputs() const { return out_channels / groups; }
  int64_t taps() const { return kernel_height * kernel_width; }
  int64_t patch() const { return taps() * group_channels(); }
  int64_t positions() const { return batch * y.height * y.width; }
  bool depthwise() const { return groups == channels && groups == out_channels && groups > 1; }
};

size_t convolution_forward_workspace(const Stream& stream, const ConvolutionShape& shape);
size_t convolution_backward_data_workspace(const Stream& stream, const ConvolutionShape& shape);
size_t convolution_backward_weights_workspace(const Stream& stream, const ConvolutionShape& shape);

// bias may be null; workspaces are aligned to 64 bytes
void convolution_forward(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias,
                         float* y, float* workspace);
void convolution_backward_data(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                               float* workspace);
// dbias may be null
void convolution_backward_weights(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                  float* dbias, float* workspace);

}  // namespace gatun

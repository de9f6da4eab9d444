// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions (one input channel for one output channel): channels are the vectors.
#pragma once

#include "kernels/convolution/convolution.h"

namespace gatun {

size_t depthwise_forward_workspace(const Stream& stream, const ConvolutionShape& shape);
size_t depthwise_backward_data_workspace(const Stream& stream, const ConvolutionShape& shape);
size_t depthwise_backward_weights_workspace(const Stream& stream, const ConvolutionShape& shape);
void depthwise_forward(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* weights, const float* bias, float* y,
                       float* workspace);
void depthwise_backward_data(const Stream& stream, const ConvolutionShape& shape, const float* dy, const float* weights, float* dx,
                             float* workspace);
void depthwise_backward_weights(const Stream& stream, const ConvolutionShape& shape, const float* x, const float* dy, float* dweights,
                                float* dbias, float* workspace);

}  // namespace gatun

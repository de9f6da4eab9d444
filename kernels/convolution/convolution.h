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
  double allowed_error = 0;  // see gatun_convolution_desc
  bool accumulate = false;   // gradients are added to what is there: the CPU, one group

  int64_t group_channels() const { return channels / groups; }
  int64_t group_outputs() const { return out_channels / groups; }
  int64_t taps() const { return kernel_height * kernel_width; }
  int64_t patch() const { return taps() * group_channels(); }
  int64_t positions() const { return batch * y.height * y.width; }
  bool depthwise() const { return groups == channels && groups == out_channels && groups > 1; }
};

#if defined(GATUN_CUDA)
// Which tile the matrix products take: by the size of the problem, or as a test asks for. What a shape or type has no tile for takes the
// nearest that it has.
enum class ConvolutionTile { kAuto, kSmall, kTall, kSquare, kLarge };
// On CUDA positions, patches and padded extents are ints.
inline constexpr int64_t kMaxPositions = 0x7fff0000, kMaxExtent = int64_t{1} << 29;
#else
enum class ConvolutionTile { kAuto };
#endif

// T: what x, y and their gradients are stored as, and the weights with them; everything else is f32.
template <class T>
size_t convolution_forward_workspace(const Stream& stream, const ConvolutionShape& shape);
template <class T>
size_t convolution_backward_data_workspace(const Stream& stream, const ConvolutionShape& shape);
template <class T>
size_t convolution_backward_weights_workspace(const Stream& stream, const ConvolutionShape& shape, ConvolutionTile tile = ConvolutionTile::kAuto);

// bias may be null; workspaces are aligned to 64 bytes
template <class T>
void convolution_forward(const Stream& stream, const ConvolutionShape& shape, const T* x, const T* weights, const float* bias, T* y,
                         float* workspace, ConvolutionTile tile = ConvolutionTile::kAuto);
template <class T>
void convolution_backward_data(const Stream& stream, const ConvolutionShape& shape, const T* dy, const T* weights, T* dx, float* workspace,
                               ConvolutionTile tile = ConvolutionTile::kAuto);
// dbias may be null
template <class T>
void convolution_backward_weights(const Stream& stream, const ConvolutionShape& shape, const T* x, const T* dy, float* dweights, float* dbias,
                                  float* workspace, ConvolutionTile tile = ConvolutionTile::kAuto);

}  // namespace gatun

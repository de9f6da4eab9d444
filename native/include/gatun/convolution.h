// SPDX-License-Identifier: Apache-2.0
/**
 * @file convolution.h
 * Two-dimensional convolution (cross-correlation, as networks use it) of channels-last images, with its two gradients.
 *
 * y[b,i,j,o] = bias[o] + Σ_{u,v,c} x[b, i·stride_height + u·dilation_height − padding_top, j·stride_width + v·dilation_width − padding_left, c]
 *              · weights[o,u,v,c − first channel of o's group], where x is zero outside its image.
 *
 * OH = ⌊(H + padding_top + padding_bottom − dilation_height·(KH − 1) − 1) / stride_height⌋ + 1, OW likewise.
 * Group g joins the input channels [g·C/groups, (g+1)·C/groups) with the output channels [g·O/groups, (g+1)·O/groups);
 * groups = C = O is a depthwise convolution and has a kernel of its own.
 * The matrix of patches is never formed as a whole, only tile by tile. Results do not depend on the number of threads.
 *
 * With allowed_error > 0 the CPU may compute 3 x 3 kernels of stride and dilation 1 by Winograd's minimal filtering (Lavin and Gray, 2016), where
 * that is faster and its error is allowed. y and dx: 6e-8 √n of tiles of 2 x 2 outputs, 3.2e-7 √n of 4 x 4, where n is the channels that
 * are summed (of x for y, of y for dx); the direct sum has about 5e-8 √n. dweights: 5e-7 and 3e-6, whatever the extents; the direct sum has 3e-7 to 3e-6.
 * These are root mean square errors over the root mean square result, of normally distributed operands. A NaN or infinity then reaches all
 * results of the tiles that see it, and all nine taps of dweights that belong to its channel of x, or to its output of dy. On CUDA everything
 * is computed directly.
 *
 * Storage: on the CPU f32; on CUDA f32, bf16 or f16, the same for x, y and weights. Sums are f32 (and products too: no TF32), bias and the
 * gradients of weights and bias are always f32. On CUDA x and y have at most 2^31 - 2^16 pixels each, and extents, steps and patches at most 2^29.
 */
#ifndef GATUN_CONVOLUTION_H
#define GATUN_CONVOLUTION_H

#include "gatun/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One descriptor for the three functions: each operand's gradient has the operand's place and shape. */
typedef struct gatun_convolution_desc {
  uint32_t struct_size;
  int32_t groups;           /**< ≥ 1, divides C and O */
  gatun_layout x;           /**< (B, H, W, C): x or dx; leading dimensions may be strided; B may be 0, the others not */
  gatun_layout weights;     /**< (O, KH, KW, C/groups) contiguous: weights, stored as x, or (backward_weights) their gradient, f32 */
  gatun_layout bias;        /**< f32 (O) contiguous: bias or its gradient; GATUN_NONE where there is none */
  gatun_layout y;           /**< (B, OH, OW, O), stored as x: y or dy; leading dimensions may be strided */
  int32_t stride_height;    /**< ≥ 1 */
  int32_t stride_width;     /**< ≥ 1 */
  int32_t padding_top;      /**< rows of zeros above, ≥ 0 */
  int32_t padding_bottom;   /**< rows of zeros below, ≥ 0 */
  int32_t padding_left;     /**< columns of zeros on the left, ≥ 0 */
  int32_t padding_right;    /**< columns of zeros on the right, ≥ 0 */
  int32_t dilation_height;  /**< distance of neighbouring rows of the kernel in x, ≥ 1 */
  int32_t dilation_width;   /**< distance of neighbouring columns of the kernel in x, ≥ 1 */
  double allowed_error;     /**< ≥ 0: the error that the caller accepts for speed, see above; 0: every product is computed */
  int32_t accumulate;       /**< 1: backward_data and backward_weights add to the gradients that are there; 0: they overwrite them. 1 is for the CPU
                                 and groups = 1, elsewhere it is unsupported; forward takes 0 only */
  uint32_t reserved;        /**< 0 */
} gatun_convolution_desc;

/** Bytes of workspace that gatun_convolution_forward needs on this stream (depends on its number of threads). */
GATUN_API gatun_status gatun_convolution_forward_workspace(const gatun_stream* stream, const gatun_convolution_desc* desc, size_t* bytes,
                                                           gatun_error* error);

/**
 * y = convolution of x with weights, plus bias.
 * @param bias NULL where desc->bias is GATUN_NONE
 * @param workspace aligned to 64 bytes; contents are overwritten
 */
GATUN_API gatun_status gatun_convolution_forward(gatun_stream* stream, const gatun_convolution_desc* desc, const void* x, const void* weights,
                                                 const void* bias, void* y, void* workspace, size_t workspace_bytes, gatun_error* error);

/** Bytes of workspace that gatun_convolution_backward_data needs on this stream. */
GATUN_API gatun_status gatun_convolution_backward_data_workspace(const gatun_stream* stream, const gatun_convolution_desc* desc,
                                                                 size_t* bytes, gatun_error* error);

/** dx = gradient with respect to x, or, where desc->accumulate is 1, dx += it. desc->bias must be GATUN_NONE: it takes no part. */
GATUN_API gatun_status gatun_convolution_backward_data(gatun_stream* stream, const gatun_convolution_desc* desc, const void* dy,
                                                       const void* weights, void* dx, void* workspace, size_t workspace_bytes,
                                                       gatun_error* error);

/** Bytes of workspace that gatun_convolution_backward_weights needs on this stream; desc->weights is the gradient. */
GATUN_API gatun_status gatun_convolution_backward_weights_workspace(const gatun_stream* stream, const gatun_convolution_desc* desc,
                                                                    size_t* bytes, gatun_error* error);

/**
 * dweights and, where desc->bias is present, dbias; overwrites both or, where desc->accumulate is 1, adds to both. desc->weights is f32.
 * The sum over B·OH·OW is cut into chunks by the shape alone and combined in their order. The gradient of an empty batch is zero.
 */
GATUN_API gatun_status gatun_convolution_backward_weights(gatun_stream* stream, const gatun_convolution_desc* desc, const void* x,
                                                          const void* dy, void* dweights, void* dbias, void* workspace,
                                                          size_t workspace_bytes, gatun_error* error);

#ifdef __cplusplus
}
#endif

#endif

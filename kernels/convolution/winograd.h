// SPDX-License-Identifier: Apache-2.0
// Winograd's minimal filtering (Lavin and Gray, 2016): 3 x 3 gathers of stride and dilation 1 with 2.25 (tiles of 2 x 2 outputs) or 4 times
// (4 x 4) fewer multiplications. Sums of differently scaled terms cost digits: only what the caller's allowed_error lets in is used.
#pragma once

#include "kernels/convolution/gather.h"

namespace gatun {

// Root mean square error over root mean square result, of normally distributed operands, over the root of the gathered channels; tested.
inline constexpr double kWinogradSmallError = 6e-8, kWinogradLargeError = 3.2e-7;

// Outputs of a tile along an axis: 2 or 4; 0 where the direct product is faster or all that the error allows.
int winograd_tile(const Gather& gather, double allowed_error);

size_t winograd_workspace(int threads, const Gather& gather, int tile);
// bias may be null; accumulate: without one, added to what the targets are
void winograd_gather(int threads, const Gather& gather, int tile, const float* source, const float* weights, const float* bias, bool accumulate,
                     float* target, float* workspace);

// The same of the gradient of the weights, of normally distributed operands, whatever the extents: its sums over the tiles are chains of
// blocks' chains, and chains of chunks, all of bounded length.
inline constexpr double kWinogradWeightsSmallError = 5e-7, kWinogradWeightsLargeError = 3e-6;

inline constexpr int64_t kWinogradItemChannels = 64;   // most outputs, and most gathered channels, of a work item
inline constexpr int64_t kWinogradChunkTiles = 2048;   // most tiles of a chunk: its sums are chains of as many blocks as it has
inline constexpr int64_t kWinogradMostChunks = 256;    // where more tiles than these hold are left to the direct sum
inline constexpr int64_t kWinogradMostPartials = int64_t{1} << 25;  // floats of all chunks' gradients: 128 MiB

int winograd_weights_tile(const ConvolutionShape& shape);

size_t winograd_weights_workspace(int threads, const ConvolutionShape& shape, int tile);
// dbias may be null
void winograd_weights(int threads, const ConvolutionShape& shape, int tile, const float* x, const float* dy, float* dweights, float* dbias, float* workspace);

// In multiply-adds of vectors of 16: of one frequency of a tile, of one frequency, of one tap of a position of the direct product.
struct WinogradCost {
  double tile, frequency, direct;
};
// The tile that costs least, of those that are allowed; 0 where that is more than the direct product.
int winograd_cheapest(const Gather& gather, const WinogradCost& cost, bool small, bool large);

}  // namespace gatun

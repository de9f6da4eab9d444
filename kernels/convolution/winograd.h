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

}  // namespace gatun

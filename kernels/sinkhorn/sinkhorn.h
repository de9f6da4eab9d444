// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

struct SinkhornRange {
  float minimum;
  float maximum;
};

// Largest spread of scores / epsilon that f32 sweeps take: e^70 times B^2 / K and e^-70 / K stay normal numbers for any batch in sight.
constexpr double kSinkhornSpread = 70;

size_t sinkhorn_workspace(int64_t samples, int64_t prototypes);

// The range and all vectors are memory of the device. A spread that the border could not refuse makes sums and codes NaN.
void sinkhorn_range(const Stream& stream, Rows<const float> scores, SinkhornRange* range, void* workspace);
// previous: null in the first sweep
void sinkhorn_sums(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* previous, float* sums,
                   void* workspace);
void sinkhorn_finish(const Stream& stream, Rows<const float> scores, const SinkhornRange* range, float epsilon, const float* sums,
                     Rows<float> codes, void* workspace);
void sinkhorn(const Stream& stream, Rows<const float> scores, float epsilon, int iterations, Rows<float> codes, void* workspace);

}  // namespace gatun

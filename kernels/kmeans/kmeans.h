// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "kernels/common/rows.h"
#include "kernels/common/stream.h"

namespace gatun {

size_t kmeans_assign_workspace(int64_t centroids, int64_t dimension);
void kmeans_assign(const Stream& stream, Rows<const float> rows, Rows<const float> centroids, bool spherical, int32_t* assignment,
                   float* score, float* workspace);

size_t kmeans_sums_workspace(int64_t centroids, int64_t dimension);
void kmeans_sums(const Stream& stream, Rows<const float> rows, const int32_t* assignment, int64_t centroids, float* sums, int64_t* counts,
                 double* workspace);

void kmeans_update(const Stream& stream, Rows<const float> sums, int64_t* counts, Rows<float> centroids, bool spherical, bool split);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Sinkhorn's iteration from features: scores are computed tile by tile in each sweep and never stored.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/rows.h"
#include "kernels/common/storage.h"
#include "kernels/common/stream.h"

namespace gatun {

template <class T>
size_t sinkhorn_streaming_workspace(Rows<const T> features, Rows<const T> prototypes);

// Code of sample b and prototype k: e^(<z_b, c_k> / epsilon + samples[b] + prototypes[k]).
template <class T>
void sinkhorn_streaming(const Stream& stream, Rows<const T> features, Rows<const T> prototypes, float epsilon, int iterations,
                        float* sample_potentials, float* prototype_potentials, void* workspace);
template <class T>
void sinkhorn_streaming_codes(const Stream& stream, Rows<const T> features, Rows<const T> prototypes, float epsilon,
                              const float* sample_potentials, const float* prototype_potentials, Rows<float> codes, void* workspace);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/stream.h"

namespace gatun {

// The tensors of a flat buffer. Absent per-tensor arrays are null.
struct OptimizerTensors {
  const int64_t* offsets;  // count + 1
  int64_t count;
  int64_t elements;
  const float* rate_scale;
  const float* decay_scale;
  const uint8_t* adapt;
};

struct AdamwUpdate {
  OptimizerTensors tensors;
  float* values;
  const float* gradients;
  float* first_moment;
  float* second_moment;
  float beta1, beta2, epsilon, weight_decay;
  float learning_rate, gradient_scale;
  float first_correction;   // 1 / (1 - beta1^step)
  float second_correction;  // 1 / (1 - beta2^step)
};

// SGD with momentum; LARS and LARC are the same update after a factor per tensor.
struct MomentumUpdate {
  OptimizerTensors tensors;
  float* values;
  const float* gradients;
  float* velocity;
  float momentum, weight_decay, trust;
  float learning_rate, gradient_scale;
  bool nesterov;
};

enum class Adaptation { kLars, kLarc };

size_t lars_workspace_bytes(int64_t elements, int64_t tensors);
size_t gradient_norm_workspace_bytes(int64_t elements);

void optimizer_adamw(const Stream& stream, const AdamwUpdate& update);
void optimizer_sgd(const Stream& stream, const MomentumUpdate& update);
void optimizer_lars(const Stream& stream, const MomentumUpdate& update, Adaptation adaptation, void* workspace);
void optimizer_ema(const Stream& stream, float* average, const float* values, int64_t elements, float momentum);
// Returns the norm; the workspace holds one partial sum a chunk.
float optimizer_gradient_norm(const Stream& stream, const float* gradients, int64_t elements, void* workspace);

}  // namespace gatun

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

// What changes from step to step is read when the update runs: on CUDA it is device memory.
struct OptimizerStep {
  const float* learning_rate;
  const float* gradient_scale;  // null: 1
  const int32_t* skip;          // null: never
  const int64_t* number;        // AdamW's, from 1; null for the others
};

struct AdamwUpdate {
  OptimizerTensors tensors;
  OptimizerStep step;
  float* values;
  const float* gradients;
  float* first_moment;
  float* second_moment;
  float beta1, beta2, epsilon, weight_decay;
};

// SGD with momentum; LARS and LARC are the same update after a factor per tensor.
struct MomentumUpdate {
  OptimizerTensors tensors;
  OptimizerStep step;
  float* values;
  const float* gradients;
  float* velocity;
  float momentum, weight_decay, trust;
  bool nesterov;
};

enum class Adaptation { kLars, kLarc };

size_t lars_workspace_bytes(int64_t elements, int64_t tensors);
size_t gradient_norm_workspace_bytes(int64_t elements);

void optimizer_adamw(const Stream& stream, const AdamwUpdate& update);
void optimizer_sgd(const Stream& stream, const MomentumUpdate& update);
void optimizer_lars(const Stream& stream, const MomentumUpdate& update, Adaptation adaptation, void* workspace);
void optimizer_ema(const Stream& stream, float* average, const float* values, int64_t elements, const float* momentum, const int32_t* skip);

void optimizer_advance(const Stream& stream, int64_t* step, const int32_t* skip);

struct GradientNorm {
  const float* gradients;
  int64_t elements;
  float max_norm;
  float* norm;
  float* scale;   // may be null
  int32_t* skip;  // may be null
};
void optimizer_gradient_norm(const Stream& stream, const GradientNorm& request, void* workspace);

}  // namespace gatun

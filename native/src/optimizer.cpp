// SPDX-License-Identifier: Apache-2.0
#include "gatun/optimizer.h"

#include <algorithm>
#include <cmath>

#include "abi.h"
#include "check.h"
#include "kernels/optimizer/optimizer.h"

namespace gatun {

namespace {

void check_fraction(const char* name, float value) {
  if (!(value >= 0.0f && value < 1.0f)) invalid("%s is %g, it must be in [0, 1)", name, static_cast<double>(value));
}

void check_positive(const char* name, float value) {
  if (!(value > 0.0f)) invalid("%s is %g, it must be positive", name, static_cast<double>(value));
}

void check_decay(float value) {
  if (!(value >= 0.0f && std::isfinite(value))) invalid("weight_decay is %g, it must be at least 0", static_cast<double>(value));
}

void check_flat(const char* name, const gatun_layout& layout, int32_t dtype, int64_t count) {
  check_layout(name, layout, dtype, 1);
  check_shape(name, layout, {count});
}

void check_operand(const char* name, const gatun_layout& layout, int32_t dtype, int64_t count, const void* pointer) {
  check_flat(name, layout, dtype, count);
  check_pointer(name, layout, pointer);
}

void check_optional(const char* name, const gatun_layout& layout, int32_t dtype, int64_t count, const void* pointer) {
  if (present(layout)) check_flat(name, layout, dtype, count);
  check_pointer(name, layout, pointer);
}

int64_t tensor_count(const gatun_layout& offsets) {
  check_layout("offsets", offsets, GATUN_I64, 1);
  if (offsets.shape[0] < 1) invalid("offsets is empty; it has one entry more than there are tensors");
  return offsets.shape[0] - 1;
}

// The layouts and pointers that AdamW, SGD, LARS and LARC share.
template <class Desc>
OptimizerTensors check_tensors(const Desc& desc, const void* values, const void* gradients, const void* offsets, const void* rate_scale,
                               const void* decay_scale, const void* learning_rate, const void* gradient_scale, const void* skip) {
  check_decay(desc.weight_decay);
  check_layout("values", desc.values, GATUN_F32, 1);
  const int64_t n = desc.values.shape[0];
  check_pointer("values", desc.values, values);
  check_operand("gradients", desc.gradients, GATUN_F32, n, gradients);
  const int64_t tensors = tensor_count(desc.offsets);
  check_pointer("offsets", desc.offsets, offsets);
  check_optional("rate_scale", desc.rate_scale, GATUN_F32, tensors, rate_scale);
  check_optional("decay_scale", desc.decay_scale, GATUN_F32, tensors, decay_scale);
  check_operand("learning_rate", desc.learning_rate, GATUN_F32, 1, learning_rate);
  check_optional("gradient_scale", desc.gradient_scale, GATUN_F32, 1, gradient_scale);
  check_optional("skip", desc.skip, GATUN_I32, 1, skip);
  if (tensors == 0 && n > 0) invalid("offsets has no tensors, values has %lld elements", static_cast<long long>(n));
  const int64_t* table = static_cast<const int64_t*>(offsets);
#if !defined(GATUN_CUDA)
  for (int64_t t = 0; t <= tensors; ++t) {
    if (table[t] < (t == 0 ? 0 : table[t - 1]) || table[t] > n || (t == 0 && table[t] != 0) || (t == tensors && table[t] != n)) {
      invalid("offsets[%lld] is %lld; offsets must rise from 0 to the %lld elements of values", static_cast<long long>(t),
              static_cast<long long>(table[t]), static_cast<long long>(n));
    }
  }
#endif
  return {table, tensors, n, static_cast<const float*>(rate_scale), static_cast<const float*>(decay_scale), nullptr};
}

OptimizerStep step_of(const void* learning_rate, const void* gradient_scale, const void* skip, const void* number = nullptr) {
  return {static_cast<const float*>(learning_rate), static_cast<const float*>(gradient_scale), static_cast<const int32_t*>(skip),
          static_cast<const int64_t*>(number)};
}

size_t lars_bytes(const gatun_optimizer_lars_desc& desc) {
  check_layout("values", desc.values, GATUN_F32, 1);
  return lars_workspace_bytes(desc.values.shape[0], tensor_count(desc.offsets));
}

size_t gradient_norm_bytes(const gatun_optimizer_gradient_norm_desc& desc) {
  check_layout("gradients", desc.gradients, GATUN_F32, 1);
  return gradient_norm_workspace_bytes(desc.gradients.shape[0]);
}

void layerwise(Adaptation adaptation, gatun_stream* stream, const gatun_optimizer_lars_desc* desc, void* values, const void* gradients,
               void* velocity, const void* offsets, const void* rate_scale, const void* decay_scale, const void* adapt,
               const void* learning_rate, const void* gradient_scale, const void* skip, void* workspace, size_t workspace_bytes) {
  check_call(stream, desc);
  check_fraction("momentum", desc->momentum);
  check_positive("trust", desc->trust);
  OptimizerTensors tensors =
      check_tensors(*desc, values, gradients, offsets, rate_scale, decay_scale, learning_rate, gradient_scale, skip);
  check_operand("velocity", desc->velocity, GATUN_F32, tensors.elements, velocity);
  check_optional("adapt", desc->adapt, GATUN_U8, tensors.count, adapt);
  check_workspace(workspace, workspace_bytes, lars_bytes(*desc));
  tensors.adapt = static_cast<const uint8_t*>(adapt);
  optimizer_lars(*stream,
                 {tensors, step_of(learning_rate, gradient_scale, skip), static_cast<float*>(values), static_cast<const float*>(gradients),
                  static_cast<float*>(velocity), desc->momentum, desc->weight_decay, desc->trust, false},
                 adaptation, workspace);
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_optimizer_adamw(gatun_stream* stream, const gatun_optimizer_adamw_desc* desc, void* values, const void* gradients,
                                   void* first_moment, void* second_moment, const void* offsets, const void* rate_scale,
                                   const void* decay_scale, const void* learning_rate, const void* step, const void* gradient_scale,
                                   const void* skip, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_adamw", error, [&] {
    check_call(stream, desc);
    check_fraction("beta1", desc->beta1);
    check_fraction("beta2", desc->beta2);
    check_positive("epsilon", desc->epsilon);
    const OptimizerTensors tensors =
        check_tensors(*desc, values, gradients, offsets, rate_scale, decay_scale, learning_rate, gradient_scale, skip);
    check_operand("first_moment", desc->first_moment, GATUN_F32, tensors.elements, first_moment);
    check_operand("second_moment", desc->second_moment, GATUN_F32, tensors.elements, second_moment);
    check_operand("step", desc->step, GATUN_I64, 1, step);
#if !defined(GATUN_CUDA)
    const bool skipped = skip != nullptr && *static_cast<const int32_t*>(skip) != 0;
    if (!skipped && *static_cast<const int64_t*>(step) < 1) {
      invalid("step is %lld, updates count from 1", static_cast<long long>(*static_cast<const int64_t*>(step)));
    }
#endif
    optimizer_adamw(*stream, {tensors, step_of(learning_rate, gradient_scale, skip, step), static_cast<float*>(values),
                              static_cast<const float*>(gradients), static_cast<float*>(first_moment), static_cast<float*>(second_moment),
                              desc->beta1, desc->beta2, desc->epsilon, desc->weight_decay});
  });
}

gatun_status gatun_optimizer_sgd(gatun_stream* stream, const gatun_optimizer_sgd_desc* desc, void* values, const void* gradients,
                                 void* velocity, const void* offsets, const void* rate_scale, const void* decay_scale,
                                 const void* learning_rate, const void* gradient_scale, const void* skip, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_sgd", error, [&] {
    check_call(stream, desc);
    check_fraction("momentum", desc->momentum);
    const OptimizerTensors tensors =
        check_tensors(*desc, values, gradients, offsets, rate_scale, decay_scale, learning_rate, gradient_scale, skip);
    check_operand("velocity", desc->velocity, GATUN_F32, tensors.elements, velocity);
    optimizer_sgd(*stream, {tensors, step_of(learning_rate, gradient_scale, skip), static_cast<float*>(values),
                            static_cast<const float*>(gradients), static_cast<float*>(velocity), desc->momentum, desc->weight_decay, 1.0f,
                            desc->nesterov != 0});
  });
}

gatun_status gatun_optimizer_lars_workspace(const gatun_optimizer_lars_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_lars_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = lars_bytes(*desc);
  });
}

gatun_status gatun_optimizer_lars(gatun_stream* stream, const gatun_optimizer_lars_desc* desc, void* values, const void* gradients,
                                  void* velocity, const void* offsets, const void* rate_scale, const void* decay_scale,
                                  const void* adapt, const void* learning_rate, const void* gradient_scale, const void* skip,
                                  void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_lars", error, [&] {
    layerwise(Adaptation::kLars, stream, desc, values, gradients, velocity, offsets, rate_scale, decay_scale, adapt, learning_rate,
              gradient_scale, skip, workspace, workspace_bytes);
  });
}

gatun_status gatun_optimizer_larc(gatun_stream* stream, const gatun_optimizer_lars_desc* desc, void* values, const void* gradients,
                                  void* velocity, const void* offsets, const void* rate_scale, const void* decay_scale,
                                  const void* adapt, const void* learning_rate, const void* gradient_scale, const void* skip,
                                  void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_larc", error, [&] {
    layerwise(Adaptation::kLarc, stream, desc, values, gradients, velocity, offsets, rate_scale, decay_scale, adapt, learning_rate,
              gradient_scale, skip, workspace, workspace_bytes);
  });
}

gatun_status gatun_optimizer_ema(gatun_stream* stream, const gatun_optimizer_ema_desc* desc, void* average, const void* values,
                                 const void* momentum, const void* skip, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_ema", error, [&] {
    check_call(stream, desc);
    check_layout("average", desc->average, GATUN_F32, 1);
    check_pointer("average", desc->average, average);
    const int64_t n = desc->average.shape[0];
    check_operand("values", desc->values, GATUN_F32, n, values);
    check_operand("momentum", desc->momentum, GATUN_F32, 1, momentum);
    check_optional("skip", desc->skip, GATUN_I32, 1, skip);
    optimizer_ema(*stream, static_cast<float*>(average), static_cast<const float*>(values), n, static_cast<const float*>(momentum),
                  static_cast<const int32_t*>(skip));
  });
}

gatun_status gatun_optimizer_advance(gatun_stream* stream, const gatun_optimizer_advance_desc* desc, void* step, const void* skip,
                                     gatun_error* error) {
  using namespace gatun;
  return border("optimizer_advance", error, [&] {
    check_call(stream, desc);
    check_operand("step", desc->step, GATUN_I64, 1, step);
    check_optional("skip", desc->skip, GATUN_I32, 1, skip);
    optimizer_advance(*stream, static_cast<int64_t*>(step), static_cast<const int32_t*>(skip));
  });
}

gatun_status gatun_optimizer_gradient_norm_workspace(const gatun_optimizer_gradient_norm_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("optimizer_gradient_norm_workspace", error, [&] {
    check_descriptor(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = gradient_norm_bytes(*desc);
  });
}

gatun_status gatun_optimizer_gradient_norm(gatun_stream* stream, const gatun_optimizer_gradient_norm_desc* desc, const void* gradients,
                                           void* norm, void* scale, void* skip, void* workspace, size_t workspace_bytes,
                                           gatun_error* error) {
  using namespace gatun;
  return border("optimizer_gradient_norm", error, [&] {
    check_call(stream, desc);
    check_positive("max_norm", desc->max_norm);
    check_layout("gradients", desc->gradients, GATUN_F32, 1);
    check_pointer("gradients", desc->gradients, gradients);
    check_operand("norm", desc->norm, GATUN_F32, 1, norm);
    check_optional("scale", desc->scale, GATUN_F32, 1, scale);
    check_optional("skip", desc->skip, GATUN_I32, 1, skip);
    check_workspace(workspace, workspace_bytes, gradient_norm_bytes(*desc));
    optimizer_gradient_norm(*stream,
                            {static_cast<const float*>(gradients), desc->gradients.shape[0], desc->max_norm, static_cast<float*>(norm),
                             static_cast<float*>(scale), static_cast<int32_t*>(skip)},
                            workspace);
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(optimizer);
GATUN_ABI_FUNCTION(gatun_optimizer_adamw);
GATUN_ABI_FUNCTION(gatun_optimizer_sgd);
GATUN_ABI_FUNCTION(gatun_optimizer_lars_workspace);
GATUN_ABI_FUNCTION(gatun_optimizer_lars);
GATUN_ABI_FUNCTION(gatun_optimizer_larc);
GATUN_ABI_FUNCTION(gatun_optimizer_ema);
GATUN_ABI_FUNCTION(gatun_optimizer_advance);
GATUN_ABI_FUNCTION(gatun_optimizer_gradient_norm_workspace);
GATUN_ABI_FUNCTION(gatun_optimizer_gradient_norm);
GATUN_ABI_STRUCT(gatun_optimizer_adamw_desc, GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, reserved), GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, beta1),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, beta2), GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, epsilon),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, weight_decay), GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, values),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, gradients),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, first_moment),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, second_moment),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, offsets), GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, rate_scale),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, decay_scale),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, learning_rate), GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, step),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, gradient_scale),
                 GATUN_ABI_FIELD(gatun_optimizer_adamw_desc, skip));
GATUN_ABI_STRUCT(gatun_optimizer_sgd_desc, GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, nesterov), GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, momentum),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, weight_decay), GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, values),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, gradients), GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, velocity),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, offsets), GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, rate_scale),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, decay_scale),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, learning_rate),
                 GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, gradient_scale), GATUN_ABI_FIELD(gatun_optimizer_sgd_desc, skip));
GATUN_ABI_STRUCT(gatun_optimizer_lars_desc, GATUN_ABI_FIELD(gatun_optimizer_lars_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, momentum), GATUN_ABI_FIELD(gatun_optimizer_lars_desc, weight_decay),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, trust), GATUN_ABI_FIELD(gatun_optimizer_lars_desc, values),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, gradients), GATUN_ABI_FIELD(gatun_optimizer_lars_desc, velocity),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, offsets), GATUN_ABI_FIELD(gatun_optimizer_lars_desc, rate_scale),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, decay_scale), GATUN_ABI_FIELD(gatun_optimizer_lars_desc, adapt),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, learning_rate),
                 GATUN_ABI_FIELD(gatun_optimizer_lars_desc, gradient_scale), GATUN_ABI_FIELD(gatun_optimizer_lars_desc, skip));
GATUN_ABI_STRUCT(gatun_optimizer_ema_desc, GATUN_ABI_FIELD(gatun_optimizer_ema_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_optimizer_ema_desc, reserved), GATUN_ABI_FIELD(gatun_optimizer_ema_desc, average),
                 GATUN_ABI_FIELD(gatun_optimizer_ema_desc, values), GATUN_ABI_FIELD(gatun_optimizer_ema_desc, momentum),
                 GATUN_ABI_FIELD(gatun_optimizer_ema_desc, skip));
GATUN_ABI_STRUCT(gatun_optimizer_advance_desc, GATUN_ABI_FIELD(gatun_optimizer_advance_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_optimizer_advance_desc, reserved), GATUN_ABI_FIELD(gatun_optimizer_advance_desc, step),
                 GATUN_ABI_FIELD(gatun_optimizer_advance_desc, skip));
GATUN_ABI_STRUCT(gatun_optimizer_gradient_norm_desc, GATUN_ABI_FIELD(gatun_optimizer_gradient_norm_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_optimizer_gradient_norm_desc, max_norm),
                 GATUN_ABI_FIELD(gatun_optimizer_gradient_norm_desc, gradients),
                 GATUN_ABI_FIELD(gatun_optimizer_gradient_norm_desc, norm),
                 GATUN_ABI_FIELD(gatun_optimizer_gradient_norm_desc, scale),
                 GATUN_ABI_FIELD(gatun_optimizer_gradient_norm_desc, skip));

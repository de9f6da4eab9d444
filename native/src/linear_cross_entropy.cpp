// SPDX-License-Identifier: Apache-2.0
#include "gatun/linear_cross_entropy.h"

#include <climits>
#include <cmath>

#include "abi.h"
#include "check.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace gatun {

namespace {

#if defined(GATUN_CUDA)
[[noreturn]] void refuse() {
  throw Error(GATUN_UNSUPPORTED, "cross-entropy of products is the CPU's: on this device it is composed of gatun_gemm and gatun_cross_entropy");
}
#else

struct Pointers {
  const void *z, *prototypes, *targets;
  void *scores, *loss, *dz, *dprototypes;
};

Rows<float> matrix(const char* name, const gatun_layout& layout, const void* data, std::initializer_list<int64_t> shape, bool written) {
  check_layout(name, layout, GATUN_F32, 2);
  check_shape(name, layout, shape);
  if (written) check_no_overlap(name, layout);
  const int64_t columns = layout.shape[1];
  if (layout.shape[0] > INT_MAX || columns > INT_MAX) invalid("%s is too large: %s", name, describe(layout).c_str());
  const int64_t stride = layout.shape[0] > 1 ? layout.stride[0] : columns;
  if (stride < columns) invalid("%s has rows that overlap: %s", name, describe(layout).c_str());
  return {const_cast<float*>(static_cast<const float*>(data)), {layout.shape[0], columns, stride}};
}

Rows<const float> constant(const Rows<float>& rows) { return {rows.data, {rows.rows, rows.columns, rows.stride}}; }

// What is absent has no data, as kernels see it.
Rows<float> optional(const char* name, const gatun_layout& layout, const void* data, int64_t rows, int64_t columns) {
  if (!present(layout)) return {nullptr, {rows, columns, columns}};
  return matrix(name, layout, data, {rows, columns}, true);
}

LinearCrossEntropyCall check_linear_cross_entropy(const gatun_linear_cross_entropy_desc& desc, const Pointers& p) {
  check_divisor("temperature", desc.temperature);
  if (!std::isfinite(desc.factor)) invalid("factor is %g, it must be finite", static_cast<double>(desc.factor));
  check_layout("z", desc.z, GATUN_F32, 2);
  check_layout("prototypes", desc.prototypes, GATUN_F32, 2);
  const int64_t n = desc.z.shape[0], depth = desc.z.shape[1], k = desc.prototypes.shape[0];
  if (depth == 0 || k == 0) invalid("%s has no elements: %s", depth == 0 ? "z" : "prototypes", describe(depth == 0 ? desc.z : desc.prototypes).c_str());
  CrossEntropyTargets targets{};
  const int64_t target_rows = desc.targets.shape[0];
  if (desc.targets.dtype == GATUN_I32) {
    check_layout("targets", desc.targets, GATUN_I32, 1);
    targets.labels = static_cast<const int32_t*>(p.targets);
  } else {
    check_layout("targets", desc.targets, GATUN_F32, 2);
    const Rows<float> soft = matrix("targets", desc.targets, p.targets, {target_rows, k}, false);
    targets.soft = soft.data;
    targets.soft_stride = soft.stride;
  }
  if (target_rows == 0 ? n != 0 : n % target_rows != 0) {
    invalid("targets has %lld rows, which do not divide the %lld of z", static_cast<long long>(target_rows), static_cast<long long>(n));
  }
  check_layout("loss", desc.loss, GATUN_F32, 1);
  check_shape("loss", desc.loss, {n});
  return {desc.temperature,
          desc.factor,
          constant(matrix("z", desc.z, p.z, {n, depth}, false)),
          constant(matrix("prototypes", desc.prototypes, p.prototypes, {k, depth}, false)),
          targets,
          target_rows,
          optional("scores", desc.scores, p.scores, n, k),
          static_cast<float*>(p.loss),
          optional("dz", desc.dz, p.dz, n, depth),
          optional("dprototypes", desc.dprototypes, p.dprototypes, k, depth)};
}
#endif

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_linear_cross_entropy_workspace(gatun_stream* stream, const gatun_linear_cross_entropy_desc* desc, size_t* bytes,
                                                  gatun_error* error) {
  using namespace gatun;
  return border("linear_cross_entropy_workspace", error, [&] {
    check_call(stream, desc);
    require(bytes, "bytes");
#if defined(GATUN_CUDA)
    refuse();
#else
    // A pointer for each operand that is present: the plan asks which there are.
    static float there;
    const auto at = [](const gatun_layout& layout) -> float* { return present(layout) ? &there : nullptr; };
    *bytes = linear_cross_entropy_workspace(
        *stream, check_linear_cross_entropy(*desc, {&there, &there, &there, at(desc->scores), &there, at(desc->dz), at(desc->dprototypes)}));
#endif
  });
}

gatun_status gatun_linear_cross_entropy(gatun_stream* stream, const gatun_linear_cross_entropy_desc* desc, const void* z, const void* prototypes,
                                        const void* targets, void* scores, void* loss, void* dz, void* dprototypes, void* workspace,
                                        size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("linear_cross_entropy", error, [&] {
    check_call(stream, desc);
#if defined(GATUN_CUDA)
    static_cast<void>(z), static_cast<void>(prototypes), static_cast<void>(targets), static_cast<void>(scores), static_cast<void>(loss);
    static_cast<void>(dz), static_cast<void>(dprototypes), static_cast<void>(workspace), static_cast<void>(workspace_bytes);
    refuse();
#else
    const LinearCrossEntropyCall call = check_linear_cross_entropy(*desc, {z, prototypes, targets, scores, loss, dz, dprototypes});
    check_pointer("z", desc->z, z);
    check_pointer("prototypes", desc->prototypes, prototypes);
    check_pointer("targets", desc->targets, targets);
    check_pointer("scores", desc->scores, scores);
    check_pointer("loss", desc->loss, loss);
    check_pointer("dz", desc->dz, dz);
    check_pointer("dprototypes", desc->dprototypes, dprototypes);
    check_workspace(workspace, workspace_bytes, linear_cross_entropy_workspace(*stream, call));
    linear_cross_entropy(*stream, call, static_cast<float*>(workspace));
#endif
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(linear_cross_entropy);
GATUN_ABI_FUNCTION(gatun_linear_cross_entropy_workspace);
GATUN_ABI_FUNCTION(gatun_linear_cross_entropy);
GATUN_ABI_STRUCT(gatun_linear_cross_entropy_desc, GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, temperature), GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, factor),
                 GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, reserved), GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, z),
                 GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, prototypes), GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, targets),
                 GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, scores), GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, loss),
                 GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, dz), GATUN_ABI_FIELD(gatun_linear_cross_entropy_desc, dprototypes));

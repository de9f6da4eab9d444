// SPDX-License-Identifier: Apache-2.0
#include "gatun/sinkhorn.h"

#include <algorithm>

#include "abi.h"
#include "check.h"
#include "kernels/sinkhorn/sinkhorn.h"
#include "kernels/sinkhorn/sinkhorn_streaming.h"

namespace gatun {

namespace {

RowShape check_scores(const gatun_sinkhorn_desc* desc) {
  check_divisor("epsilon", desc->epsilon);
  if (desc->iterations < 1) invalid("iterations is %d, it must be at least 1", desc->iterations);
  check_layout("scores", desc->scores, GATUN_F32, 2);
  return collapse_rows("scores", desc->scores);
}

RowShape check_sweep(const gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, const void* workspace,
                     size_t workspace_bytes) {
  check_call(stream, desc);
  const RowShape shape = check_scores(desc);
  check_pointer("scores", desc->scores, scores);
  check_workspace(workspace, workspace_bytes, sinkhorn_workspace(shape.rows, shape.columns));
  return shape;
}

RowShape check_codes(const gatun_sinkhorn_desc* desc, const RowShape& scores, const void* codes) {
  check_layout("codes", desc->codes, GATUN_F32, 2);
  const int64_t rows = desc->codes.shape[0];
  if (rows > scores.rows) {
    invalid("codes has %lld rows, more than the %lld of scores", static_cast<long long>(rows), static_cast<long long>(scores.rows));
  }
  check_shape("codes", desc->codes, {rows, scores.columns});
  check_no_overlap("codes", desc->codes);
  check_pointer("codes", desc->codes, codes);
  return collapse_rows("codes", desc->codes);
}

void check_vector(const char* name, const void* pointer, bool required) {
  if (pointer == nullptr) {
    if (required) invalid("%s is NULL", name);
    return;
  }
  if (reinterpret_cast<uintptr_t>(pointer) % alignof(float) != 0) invalid("%s is not aligned to its f32 elements", name);
}

const SinkhornRange* check_range([[maybe_unused]] const gatun_sinkhorn_desc* desc, const void* pointer) {
  check_vector("range", pointer, true);
  const SinkhornRange* range = static_cast<const SinkhornRange*>(pointer);
#if !defined(GATUN_CUDA)
  const double spread = (static_cast<double>(range->maximum) - static_cast<double>(range->minimum)) / static_cast<double>(desc->epsilon);
  if (spread > kSinkhornSpread) {
    invalid("the scores spread over %g epsilon, sums that are joined allow at most %g", spread, kSinkhornSpread);
  }
#endif
  return range;
}

void check_streaming(const gatun_sinkhorn_streaming_desc* desc) {
  check_divisor("epsilon", desc->epsilon);
  if (desc->iterations < 1) invalid("iterations is %d, it must be at least 1", desc->iterations);
  check_storage("features", desc->features, 2);
  if (desc->features.shape[1] < 1) invalid("features is %s, its rows need at least one element", describe(desc->features).c_str());
  check_storage("prototypes", desc->prototypes, 2);
  check_same_dtype("prototypes", desc->prototypes, "features", desc->features);
  check_shape("prototypes", desc->prototypes, {desc->prototypes.shape[0], desc->features.shape[1]});
  check_layout("sample_potentials", desc->sample_potentials, GATUN_F32, 1);
  check_shape("sample_potentials", desc->sample_potentials, {desc->features.shape[0]});
  check_layout("prototype_potentials", desc->prototype_potentials, GATUN_F32, 1);
  check_shape("prototype_potentials", desc->prototype_potentials, {desc->prototypes.shape[0]});
}

// Calls f with features and prototypes of a descriptor that has been checked.
template <class F>
void with_features(const gatun_sinkhorn_streaming_desc* desc, const void* features, const void* prototypes, F&& f) {
  with_storage(desc->features.dtype, [&](auto storage) {
    using T = const typename decltype(storage)::Type;
    f(Rows<T>(static_cast<T*>(features), collapse_rows("features", desc->features)),
      Rows<T>(static_cast<T*>(prototypes), collapse_rows("prototypes", desc->prototypes)));
  });
}

size_t streaming_bytes(const gatun_sinkhorn_streaming_desc* desc) {
  size_t bytes = 0;
  with_features(desc, nullptr, nullptr, [&](auto features, auto prototypes) { bytes = sinkhorn_streaming_workspace(features, prototypes); });
  return bytes;
}

void check_streaming_call(const gatun_stream* stream, const gatun_sinkhorn_streaming_desc* desc, const void* features, const void* prototypes,
                          const void* sample_potentials, const void* prototype_potentials, const void* workspace, size_t workspace_bytes) {
  check_call(stream, desc);
  check_streaming(desc);
  check_pointer("features", desc->features, features);
  check_pointer("prototypes", desc->prototypes, prototypes);
  check_pointer("sample_potentials", desc->sample_potentials, sample_potentials);
  check_pointer("prototype_potentials", desc->prototype_potentials, prototype_potentials);
  check_workspace(workspace, workspace_bytes, streaming_bytes(desc));
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_sinkhorn_workspace(const gatun_sinkhorn_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_workspace", error, [&] {
    check_descriptor(desc);
    const RowShape shape = check_scores(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = sinkhorn_workspace(shape.rows, shape.columns);
  });
}

gatun_status gatun_sinkhorn(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, void* codes, void* workspace,
                            size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn", error, [&] {
    const RowShape shape = check_sweep(stream, desc, scores, workspace, workspace_bytes);
    const RowShape out = check_codes(desc, shape, codes);
    sinkhorn(*stream, {static_cast<const float*>(scores), shape}, desc->epsilon, desc->iterations, {static_cast<float*>(codes), out}, workspace);
  });
}

gatun_status gatun_sinkhorn_range(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, void* range, void* workspace,
                                  size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_range", error, [&] {
    const RowShape shape = check_sweep(stream, desc, scores, workspace, workspace_bytes);
    check_vector("range", range, true);
    sinkhorn_range(*stream, {static_cast<const float*>(scores), shape}, static_cast<SinkhornRange*>(range), workspace);
  });
}

gatun_status gatun_sinkhorn_sums(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, const void* range,
                                 const void* previous, void* sums, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_sums", error, [&] {
    const RowShape shape = check_sweep(stream, desc, scores, workspace, workspace_bytes);
    check_vector("previous", previous, false);
    check_vector("sums", sums, shape.columns > 0);
    sinkhorn_sums(*stream, {static_cast<const float*>(scores), shape}, check_range(desc, range), desc->epsilon,
                  static_cast<const float*>(previous), static_cast<float*>(sums), workspace);
  });
}

gatun_status gatun_sinkhorn_finish(gatun_stream* stream, const gatun_sinkhorn_desc* desc, const void* scores, const void* range,
                                   const void* sums, void* codes, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_finish", error, [&] {
    const RowShape shape = check_sweep(stream, desc, scores, workspace, workspace_bytes);
    const RowShape out = check_codes(desc, shape, codes);
    check_vector("sums", sums, shape.columns > 0);
    sinkhorn_finish(*stream, {static_cast<const float*>(scores), shape}, check_range(desc, range), desc->epsilon,
                    static_cast<const float*>(sums), {static_cast<float*>(codes), out}, workspace);
  });
}

gatun_status gatun_sinkhorn_streaming_workspace(const gatun_sinkhorn_streaming_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_streaming_workspace", error, [&] {
    check_descriptor(desc);
    check_streaming(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = streaming_bytes(desc);
  });
}

gatun_status gatun_sinkhorn_streaming(gatun_stream* stream, const gatun_sinkhorn_streaming_desc* desc, const void* features,
                                      const void* prototypes, void* sample_potentials, void* prototype_potentials, void* workspace,
                                      size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_streaming", error, [&] {
    check_streaming_call(stream, desc, features, prototypes, sample_potentials, prototype_potentials, workspace, workspace_bytes);
    with_features(desc, features, prototypes, [&](auto z, auto c) {
      sinkhorn_streaming(*stream, z, c, desc->epsilon, desc->iterations, static_cast<float*>(sample_potentials),
                         static_cast<float*>(prototype_potentials), workspace);
    });
  });
}

gatun_status gatun_sinkhorn_streaming_codes(gatun_stream* stream, const gatun_sinkhorn_streaming_desc* desc, const void* features,
                                            const void* prototypes, const void* sample_potentials, const void* prototype_potentials,
                                            void* codes, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("sinkhorn_streaming_codes", error, [&] {
    check_streaming_call(stream, desc, features, prototypes, sample_potentials, prototype_potentials, workspace, workspace_bytes);
    check_layout("codes", desc->codes, GATUN_F32, 2);
    check_shape("codes", desc->codes, {desc->features.shape[0], desc->prototypes.shape[0]});
    check_no_overlap("codes", desc->codes);
    check_pointer("codes", desc->codes, codes);
    const Rows<float> out(static_cast<float*>(codes), collapse_rows("codes", desc->codes));
    with_features(desc, features, prototypes, [&](auto z, auto c) {
      sinkhorn_streaming_codes(*stream, z, c, desc->epsilon, static_cast<const float*>(sample_potentials),
                               static_cast<const float*>(prototype_potentials), out, workspace);
    });
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(sinkhorn);
GATUN_ABI_FUNCTION(gatun_sinkhorn_workspace);
GATUN_ABI_FUNCTION(gatun_sinkhorn);
GATUN_ABI_FUNCTION(gatun_sinkhorn_range);
GATUN_ABI_FUNCTION(gatun_sinkhorn_sums);
GATUN_ABI_FUNCTION(gatun_sinkhorn_finish);
GATUN_ABI_STRUCT(gatun_sinkhorn_desc, GATUN_ABI_FIELD(gatun_sinkhorn_desc, struct_size), GATUN_ABI_FIELD(gatun_sinkhorn_desc, epsilon),
                 GATUN_ABI_FIELD(gatun_sinkhorn_desc, iterations), GATUN_ABI_FIELD(gatun_sinkhorn_desc, reserved),
                 GATUN_ABI_FIELD(gatun_sinkhorn_desc, scores), GATUN_ABI_FIELD(gatun_sinkhorn_desc, codes));
GATUN_ABI_FUNCTION(gatun_sinkhorn_streaming_workspace);
GATUN_ABI_FUNCTION(gatun_sinkhorn_streaming);
GATUN_ABI_FUNCTION(gatun_sinkhorn_streaming_codes);
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_sinkhorn_streaming_desc, NAME)
GATUN_ABI_STRUCT(gatun_sinkhorn_streaming_desc, FIELD(struct_size), FIELD(epsilon), FIELD(iterations), FIELD(reserved), FIELD(features),
                 FIELD(prototypes), FIELD(sample_potentials), FIELD(prototype_potentials), FIELD(codes));
#undef FIELD

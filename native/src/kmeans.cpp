// SPDX-License-Identifier: Apache-2.0
#include "gatun/kmeans.h"

#include <tuple>

#include "abi.h"
#include "check.h"
#include "kernels/kmeans/kmeans.h"

namespace gatun {

namespace {

void check_spherical(int32_t spherical) {
  if (spherical != 0 && spherical != 1) invalid("spherical is %d, it must be 0 or 1", spherical);
}

size_t assign_bytes(const gatun_kmeans_assign_desc* desc) {
  check_spherical(desc->spherical);
  check_layout("rows", desc->rows, GATUN_F32, 2);
  check_layout("centroids", desc->centroids, GATUN_F32, 2);
  const int64_t count = desc->centroids.shape[0];
  if (count < 1 || count > INT32_MAX - 64) invalid("centroids has %lld rows, allowed are 1 to 2147483583", static_cast<long long>(count));
  check_shape("centroids", desc->centroids, {count, desc->rows.shape[1]});
  for (const auto& [name, layout, dtype] : {std::tuple{"assignment", &desc->assignment, GATUN_I32}, {"score", &desc->score, GATUN_F32}}) {
    check_layout(name, *layout, dtype, 1);
    check_shape(name, *layout, {desc->rows.shape[0]});
  }
  return kmeans_assign_workspace(count, desc->rows.shape[1]);
}

// sums (K, D) and counts (K)
void check_sums(const gatun_layout& sums, const gatun_layout& counts) {
  check_layout("sums", sums, GATUN_F32, 2);
  check_layout("counts", counts, GATUN_I64, 1);
  check_shape("counts", counts, {sums.shape[0]});
}

size_t sums_bytes(const gatun_kmeans_sums_desc* desc) {
  check_layout("rows", desc->rows, GATUN_F32, 2);
  check_layout("assignment", desc->assignment, GATUN_I32, 1);
  check_shape("assignment", desc->assignment, {desc->rows.shape[0]});
  check_sums(desc->sums, desc->counts);
  check_shape("sums", desc->sums, {desc->sums.shape[0], desc->rows.shape[1]});
  if (desc->sums.shape[0] > 1 && desc->sums.stride[0] != desc->sums.shape[1]) {
    invalid("sums must be contiguous: %s", describe(desc->sums).c_str());
  }
  return kmeans_sums_workspace(desc->sums.shape[0], desc->sums.shape[1]);
}

}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_kmeans_assign_workspace(const gatun_kmeans_assign_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("kmeans_assign_workspace", error, [&] {
    check_descriptor(desc);
    const size_t needed = assign_bytes(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = needed;
  });
}

gatun_status gatun_kmeans_assign(gatun_stream* stream, const gatun_kmeans_assign_desc* desc, const void* rows, const void* centroids,
                                 void* assignment, void* score, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("kmeans_assign", error, [&] {
    check_call(stream, desc);
    const size_t needed = assign_bytes(desc);
    check_pointer("rows", desc->rows, rows);
    check_pointer("centroids", desc->centroids, centroids);
    check_pointer("assignment", desc->assignment, assignment);
    check_pointer("score", desc->score, score);
    check_workspace(workspace, workspace_bytes, needed);
    kmeans_assign(*stream, {static_cast<const float*>(rows), collapse_rows("rows", desc->rows)},
                  {static_cast<const float*>(centroids), collapse_rows("centroids", desc->centroids)}, desc->spherical == 1,
                  static_cast<int32_t*>(assignment), static_cast<float*>(score), static_cast<float*>(workspace));
  });
}

gatun_status gatun_kmeans_sums_workspace(const gatun_kmeans_sums_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("kmeans_sums_workspace", error, [&] {
    check_descriptor(desc);
    const size_t needed = sums_bytes(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = needed;
  });
}

gatun_status gatun_kmeans_sums(gatun_stream* stream, const gatun_kmeans_sums_desc* desc, const void* rows, const void* assignment,
                               void* sums, void* counts, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("kmeans_sums", error, [&] {
    check_call(stream, desc);
    const size_t needed = sums_bytes(desc);
    check_pointer("rows", desc->rows, rows);
    check_pointer("assignment", desc->assignment, assignment);
    check_pointer("sums", desc->sums, sums);
    check_pointer("counts", desc->counts, counts);
    check_workspace(workspace, workspace_bytes, needed);
    const int64_t centroids = desc->sums.shape[0];
    const int32_t* values = static_cast<const int32_t*>(assignment);
#if !defined(GATUN_CUDA)
    for (int64_t i = 0; i < desc->rows.shape[0]; ++i) {
      if (values[i] >= centroids) {
        invalid("assignment[%lld] is %d, there are %lld centroids", static_cast<long long>(i), values[i], static_cast<long long>(centroids));
      }
    }
#endif
    kmeans_sums(*stream, {static_cast<const float*>(rows), collapse_rows("rows", desc->rows)}, values, centroids, static_cast<float*>(sums),
                static_cast<int64_t*>(counts), static_cast<double*>(workspace));
  });
}

gatun_status gatun_kmeans_update(gatun_stream* stream, const gatun_kmeans_update_desc* desc, const void* sums, void* counts, void* centroids,
                                 gatun_error* error) {
  using namespace gatun;
  return border("kmeans_update", error, [&] {
    check_call(stream, desc);
    check_spherical(desc->spherical);
    if (desc->empty != GATUN_KMEANS_KEEP && desc->empty != GATUN_KMEANS_SPLIT) {
      invalid("empty is %d, it must be 0 (keep) or 1 (split)", desc->empty);
    }
    check_sums(desc->sums, desc->counts);
    check_layout("centroids", desc->centroids, GATUN_F32, 2);
    check_same_shape("centroids", desc->centroids, "sums", desc->sums);
    check_no_overlap("centroids", desc->centroids);
    check_pointer("sums", desc->sums, sums);
    check_pointer("counts", desc->counts, counts);
    check_pointer("centroids", desc->centroids, centroids);
    kmeans_update(*stream, {static_cast<const float*>(sums), collapse_rows("sums", desc->sums)}, static_cast<int64_t*>(counts),
                  {static_cast<float*>(centroids), collapse_rows("centroids", desc->centroids)}, desc->spherical == 1,
                  desc->empty == GATUN_KMEANS_SPLIT);
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(kmeans);
GATUN_ABI_FUNCTION(gatun_kmeans_assign_workspace);
GATUN_ABI_FUNCTION(gatun_kmeans_assign);
GATUN_ABI_FUNCTION(gatun_kmeans_sums_workspace);
GATUN_ABI_FUNCTION(gatun_kmeans_sums);
GATUN_ABI_FUNCTION(gatun_kmeans_update);
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_kmeans_assign_desc, NAME)
GATUN_ABI_STRUCT(gatun_kmeans_assign_desc, FIELD(struct_size), FIELD(spherical), FIELD(rows), FIELD(centroids), FIELD(assignment), FIELD(score));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_kmeans_sums_desc, NAME)
GATUN_ABI_STRUCT(gatun_kmeans_sums_desc, FIELD(struct_size), FIELD(reserved), FIELD(rows), FIELD(assignment), FIELD(sums), FIELD(counts));
#undef FIELD
#define FIELD(NAME) GATUN_ABI_FIELD(gatun_kmeans_update_desc, NAME)
GATUN_ABI_STRUCT(gatun_kmeans_update_desc, FIELD(struct_size), FIELD(spherical), FIELD(empty), FIELD(reserved), FIELD(sums), FIELD(counts),
                 FIELD(centroids));
#undef FIELD

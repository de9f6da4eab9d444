// SPDX-License-Identifier: Apache-2.0
#include "gatun/random.h"

#include <cmath>

#include "abi.h"
#include "check.h"
#include "kernels/random/random_fill.h"
#include "random_check.h"

namespace gatun {

void check_key(const gatun_random_key* key) {
  if (key == nullptr) invalid("key is NULL");
  if (reinterpret_cast<uintptr_t>(key) % alignof(gatun_random_key) != 0) invalid("key is not aligned to 8 bytes");
}

void check_ids(const gatun_layout& layout, const void* ids, int64_t rows) {
  if (present(layout)) {
    check_layout("ids", layout, GATUN_I64, 1);
    check_shape("ids", layout, {rows});
  }
  check_pointer("ids", layout, ids);
}

namespace {

template <class Desc>
RowShape check_fill(const gatun_stream* stream, const Desc* desc, int32_t dtype, const gatun_random_key* key, const void* ids,
                    const void* out) {
  check_call(stream, desc);
  check_key(key);
  check_layout("out", desc->out, dtype, -1);
  check_no_overlap("out", desc->out);
  const RowShape rows = collapse_rows("out", desc->out);
  check_ids(desc->ids, ids, rows.rows);
  check_pointer("out", desc->out, out);
  return rows;
}

void check_permutation(const gatun_random_permutation_desc* desc) {
  check_descriptor(desc);
  if (desc->count < 0 || desc->count > INT32_MAX) {
    invalid("count is %lld, allowed are 0 to 2147483647", static_cast<long long>(desc->count));
  }
  check_layout("out", desc->out, GATUN_I32, 1);
  if (desc->out.shape[0] > desc->count) {
    invalid("out has %lld entries, more than count = %lld", static_cast<long long>(desc->out.shape[0]), static_cast<long long>(desc->count));
  }
}


}  // namespace

}  // namespace gatun

extern "C" {

gatun_status gatun_random_bits(gatun_stream* stream, const gatun_random_bits_desc* desc, const gatun_random_key* key, const void* ids,
                               void* out, gatun_error* error) {
  using namespace gatun;
  return border("random_bits", error, [&] {
    const RowShape rows = check_fill(stream, desc, GATUN_I32, key, ids, out);
    random_bits_fill(*stream, key, {static_cast<const int64_t*>(ids), desc->first_id}, {static_cast<uint32_t*>(out), rows});
  });
}

gatun_status gatun_random_uniform(gatun_stream* stream, const gatun_random_uniform_desc* desc, const gatun_random_key* key,
                                  const void* ids, void* out, gatun_error* error) {
  using namespace gatun;
  return border("random_uniform", error, [&] {
    const RowShape rows = check_fill(stream, desc, GATUN_F32, key, ids, out);
    if (!(desc->low <= desc->high) || !std::isfinite(desc->high - desc->low)) {
      invalid("low is %g and high is %g, a finite range is needed", static_cast<double>(desc->low), static_cast<double>(desc->high));
    }
    random_uniform_fill(*stream, key, {static_cast<const int64_t*>(ids), desc->first_id}, {static_cast<float*>(out), rows}, desc->low, desc->high);
  });
}

gatun_status gatun_random_normal(gatun_stream* stream, const gatun_random_normal_desc* desc, const gatun_random_key* key,
                                 const void* ids, void* out, gatun_error* error) {
  using namespace gatun;
  return border("random_normal", error, [&] {
    const RowShape rows = check_fill(stream, desc, GATUN_F32, key, ids, out);
    if (!(desc->deviation >= 0.0f) || !std::isfinite(desc->deviation) || !std::isfinite(desc->mean)) {
      invalid("mean is %g and deviation is %g, both must be finite and deviation not negative", static_cast<double>(desc->mean),
              static_cast<double>(desc->deviation));
    }
    random_normal_fill(*stream, key, {static_cast<const int64_t*>(ids), desc->first_id}, {static_cast<float*>(out), rows}, desc->mean,
                       desc->deviation);
  });
}

gatun_status gatun_random_permutation_workspace(const gatun_random_permutation_desc* desc, size_t* bytes, gatun_error* error) {
  using namespace gatun;
  return border("random_permutation_workspace", error, [&] {
    check_permutation(desc);
    if (bytes == nullptr) invalid("bytes is NULL");
    *bytes = random_order_bytes(desc->count);
  });
}

gatun_status gatun_random_permutation(gatun_stream* stream, const gatun_random_permutation_desc* desc, const gatun_random_key* key,
                                      void* out, void* workspace, size_t workspace_bytes, gatun_error* error) {
  using namespace gatun;
  return border("random_permutation", error, [&] {
    check_call(stream, desc);
    check_permutation(desc);
    check_key(key);
    check_pointer("out", desc->out, out);
    check_workspace(workspace, workspace_bytes, random_order_bytes(desc->count));
    random_order_rows(*stream, key, {nullptr, 0}, desc->count, desc->out.shape[0], workspace, static_cast<int32_t*>(out));
  });
}

}  // extern "C"

GATUN_ABI_OPERATION(random);
GATUN_ABI_FUNCTION(gatun_random_bits);
GATUN_ABI_FUNCTION(gatun_random_uniform);
GATUN_ABI_FUNCTION(gatun_random_normal);
GATUN_ABI_FUNCTION(gatun_random_permutation_workspace);
GATUN_ABI_FUNCTION(gatun_random_permutation);
GATUN_ABI_STRUCT(gatun_random_bits_desc, GATUN_ABI_FIELD(gatun_random_bits_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_random_bits_desc, reserved), GATUN_ABI_FIELD(gatun_random_bits_desc, first_id),
                 GATUN_ABI_FIELD(gatun_random_bits_desc, ids), GATUN_ABI_FIELD(gatun_random_bits_desc, out));
GATUN_ABI_STRUCT(gatun_random_uniform_desc, GATUN_ABI_FIELD(gatun_random_uniform_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_random_uniform_desc, low), GATUN_ABI_FIELD(gatun_random_uniform_desc, high),
                 GATUN_ABI_FIELD(gatun_random_uniform_desc, reserved), GATUN_ABI_FIELD(gatun_random_uniform_desc, first_id),
                 GATUN_ABI_FIELD(gatun_random_uniform_desc, ids), GATUN_ABI_FIELD(gatun_random_uniform_desc, out));
GATUN_ABI_STRUCT(gatun_random_normal_desc, GATUN_ABI_FIELD(gatun_random_normal_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_random_normal_desc, mean), GATUN_ABI_FIELD(gatun_random_normal_desc, deviation),
                 GATUN_ABI_FIELD(gatun_random_normal_desc, reserved), GATUN_ABI_FIELD(gatun_random_normal_desc, first_id),
                 GATUN_ABI_FIELD(gatun_random_normal_desc, ids), GATUN_ABI_FIELD(gatun_random_normal_desc, out));
GATUN_ABI_STRUCT(gatun_random_permutation_desc, GATUN_ABI_FIELD(gatun_random_permutation_desc, struct_size),
                 GATUN_ABI_FIELD(gatun_random_permutation_desc, reserved), GATUN_ABI_FIELD(gatun_random_permutation_desc, count),
                 GATUN_ABI_FIELD(gatun_random_permutation_desc, out));

// SPDX-License-Identifier: Apache-2.0
// Whether the forward pass of sm_90a runs.
#include <cstdlib>
#include <cstring>

#include "kernels/attention/attention_device.h"

namespace gatun::attention {
namespace {

// Not before `gatun selftest` has passed on such a device: that its descriptors mean what the emulation takes them to mean has been
// seen on no hardware yet. GATUN_HOPPER=1 runs it all the same.
constexpr bool kProven = false;

bool chosen() {
  const char* variable = std::getenv("GATUN_HOPPER");
  return variable != nullptr ? std::strcmp(variable, "1") == 0 : kProven;
}

// wgmma exists on compute capability 9.0 alone.
bool device_has_wgmma() {
  int device = 0, major = 0, minor = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major == 9 && minor == 0;
}

// Bulk copies have strides of their own rules, and would fetch the neighbours' rows of ragged batches.
template <class T>
bool suits(const AttentionProblem<T>& p) {
  const auto apart = [&](const HeadView<const T>& view, int64_t rows) {
    return (rows <= 1 || view.row_stride > 0) && (p.heads <= 1 || view.head_stride > 0) && (p.batch <= 1 || view.batch_stride > 0);
  };
  return !p.ragged && p.depth > 32 && p.batch > 0 && p.heads > 0 && p.queries > 0 && p.keys > 0 && vector_inputs(p) && apart(p.q, p.queries) &&
         apart(p.k, p.keys) && apart(p.v, p.keys);
}

}  // namespace

template <>
bool hopper_takes(const AttentionProblem<float>&) {
  return false;
}
template <>
bool hopper_takes(const AttentionProblem<__nv_bfloat16>& p) {
  return chosen() && suits(p) && device_has_wgmma();
}
template <>
bool hopper_takes(const AttentionProblem<__half>& p) {
  return chosen() && suits(p) && device_has_wgmma();
}
template <>
void launch_hopper_forward(const Stream&, const ForwardArguments<float>&) {
  throw std::runtime_error("attention of sm_90a has no f32");
}

}  // namespace gatun::attention

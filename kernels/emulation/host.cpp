// SPDX-License-Identifier: Apache-2.0
// Errors and the device of the emulated runtime.
#include "kernels/emulation/host.h"

#include <atomic>

#include "kernels/emulation/internal.h"

namespace gatun::emulation {
namespace {
thread_local cudaError_t last = cudaSuccess;  // of a thread, but for
std::atomic<bool> failed{false};              // a kernel that failed, which concerns all
}  // namespace
cudaError_t record(cudaError_t error) {
  if (error == cudaErrorLaunchFailure) failed = true;
  if (error != cudaSuccess) last = error;
  return error;
}
}  // namespace gatun::emulation

using gatun::emulation::failed;
using gatun::emulation::last;
using gatun::emulation::record;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorCooperativeLaunchTooLarge: return "cudaErrorCooperativeLaunchTooLarge";
  }
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorLaunchFailure) return "a kernel failed on the emulated device; the report is on standard error";
  return cudaGetErrorName(error);
}
cudaError_t cudaPeekAtLastError() { return failed ? cudaErrorLaunchFailure : last; }
cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last = cudaSuccess;
  failed = false;
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : record(cudaErrorInvalidDevice); }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (properties == nullptr || device != 0) return record(cudaErrorInvalidValue);
  *properties = {"emulated", gatun::emulation::kDeviceMemory, 8, 0, 0, 1 << 20};
  return cudaDeviceGetAttribute(&properties->multiProcessorCount, cudaDevAttrMultiProcessorCount, device);
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (value == nullptr || device != 0) return record(cudaErrorInvalidValue);
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(gatun::emulation::kMaxShared); break;
    case cudaDevAttrMultiProcessorCount: *value = static_cast<int>(gatun::emulation::kResident); break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (kernel == nullptr) return record(cudaErrorInvalidValue);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && (value < 0 || value > static_cast<int>(gatun::emulation::kMaxShared))) {
    return record(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

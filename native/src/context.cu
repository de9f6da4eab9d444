// SPDX-License-Identifier: Apache-2.0
// Contexts, streams and memory of the CUDA device.
#include "check.h"
#include "kernels/common/cuda.h"

struct gatun_context {
  int device;
};

namespace {

void require(const void* pointer, const char* name) {
  if (pointer == nullptr) gatun::invalid("%s is NULL", name);
}

void use(const gatun_context* context) { gatun::check_cuda(cudaSetDevice(context->device)); }

}  // namespace

extern "C" {

gatun_status gatun_context_create(const gatun_context_desc* desc, gatun_context** context, gatun_error* error) {
  return gatun::border("context_create", error, [&] {
    gatun::check_descriptor(desc);
    require(context, "context");
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      throw gatun::Error(GATUN_NO_DEVICE, "there is no CUDA device, or no driver for it");
    }
    *context = new gatun_context{0};
  });
}

gatun_status gatun_context_destroy(gatun_context* context, gatun_error* error) {
  return gatun::border("context_destroy", error, [&] { delete context; });
}

gatun_status gatun_stream_create(gatun_context* context, gatun_stream** stream, gatun_error* error) {
  return gatun::border("stream_create", error, [&] {
    require(context, "context");
    require(stream, "stream");
    use(context);
    cudaStream_t handle = nullptr;
    gatun::check_cuda(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
    *stream = new gatun_stream{context, handle};
  });
}

gatun_status gatun_stream_destroy(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_destroy", error, [&] {
    if (stream == nullptr) return;
    gatun::check_cuda(cudaStreamDestroy(static_cast<cudaStream_t>(stream->handle)));
    delete stream;
  });
}

gatun_status gatun_stream_synchronize(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_synchronize", error, [&] {
    require(stream, "stream");
    gatun::check_cuda(cudaStreamSynchronize(static_cast<cudaStream_t>(stream->handle)));
  });
}

gatun_status gatun_memory_allocate(gatun_context* context, size_t bytes, void** memory, gatun_error* error) {
  return gatun::border("memory_allocate", error, [&] {
    require(context, "context");
    require(memory, "memory");
    use(context);
    const cudaError_t status = cudaMalloc(memory, bytes == 0 ? 1 : bytes);
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();  // not sticky, and the next launch must not report it
      throw gatun::Error(GATUN_OUT_OF_MEMORY, "cannot allocate " + std::to_string(bytes) + " bytes");
    }
    gatun::check_cuda(status);
  });
}

gatun_status gatun_memory_free(gatun_context* context, void* memory, gatun_error* error) {
  return gatun::border("memory_free", error, [&] {
    require(context, "context");
    use(context);
    gatun::check_cuda(cudaFree(memory));
  });
}

}  // extern "C"

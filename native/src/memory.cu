// SPDX-License-Identifier: Apache-2.0
// Memory of the CUDA device, and pinned memory of the host.
#include "context.h"
#include "kernels/common/cuda.h"

namespace {

using gatun::require;

void use(const gatun_context* context) { gatun::check_cuda(cudaSetDevice(context->device)); }

cudaStream_t handle_of(const gatun_stream* stream) { return static_cast<cudaStream_t>(stream->handle); }

// Another process may hold what is missing: the device's own numbers are told too.
std::string of_device() {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return "";
  return ", the device has " + std::to_string(free) + " of " + std::to_string(total) + " left";
}

template <class Allocate>
void* allocate(gatun::Account& account, size_t bytes, const char* room, Allocate&& cuda) {
  return account.allocate(bytes, [&](auto&& refusal) {
    void* memory = nullptr;
    const cudaError_t status = cuda(&memory, bytes == 0 ? 1 : bytes);
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();  // not sticky, and the next launch must not report it
      throw gatun::Error(GATUN_OUT_OF_MEMORY, refusal() + room + of_device());
    }
    gatun::check_cuda(status);
    return memory;
  });
}

}  // namespace

extern "C" {

gatun_status gatun_memory_allocate(gatun_context* context, size_t bytes, void** memory, gatun_error* error) {
  return gatun::border("memory_allocate", error, [&] {
    require(context, "context");
    require(memory, "memory");
    use(context);
    *memory = allocate(context->memory, bytes, "", [](void** to, size_t size) { return cudaMalloc(to, size); });
  });
}

gatun_status gatun_memory_free(gatun_context* context, void* memory, gatun_error* error) {
  return gatun::border("memory_free", error, [&] {
    require(context, "context");
    use(context);
    context->memory.release(memory, "gatun_memory_allocate", [&] { gatun::check_cuda(cudaFree(memory)); });
  });
}

gatun_status gatun_memory_allocate_host(gatun_context* context, size_t bytes, void** memory, gatun_error* error) {
  return gatun::border("memory_allocate_host", error, [&] {
    require(context, "context");
    require(memory, "memory");
    use(context);
    *memory = allocate(context->host, bytes, " of pinned host memory", [](void** to, size_t size) { return cudaMallocHost(to, size); });
  });
}

gatun_status gatun_memory_free_host(gatun_context* context, void* memory, gatun_error* error) {
  return gatun::border("memory_free_host", error, [&] {
    require(context, "context");
    use(context);
    context->host.release(memory, "gatun_memory_allocate_host", [&] { gatun::check_cuda(cudaFreeHost(memory)); });
  });
}

gatun_status gatun_memory_get_usage(gatun_context* context, gatun_memory_usage* usage, gatun_error* error) {
  return gatun::border("memory_get_usage", error, [&] {
    require(context, "context");
    gatun::check_descriptor(usage);
    use(context);
    size_t free = 0, total = 0;
    gatun::check_cuda(cudaMemGetInfo(&free, &total));
    *usage = {sizeof *usage, 0, context->memory.allocated(), context->host.allocated(), context->memory.limit(), free, total};
  });
}

gatun_status gatun_memory_query(gatun_context* context, const void* memory, int32_t* kind, int32_t* device, gatun_error* error) {
  return gatun::border("memory_query", error, [&] {
    require(context, "context");
    require(kind, "kind");
    require(device, "device");
    use(context);
    cudaPointerAttributes attributes{};
    gatun::check_cuda(cudaPointerGetAttributes(&attributes, memory));
    const bool on_device = attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
    *kind = on_device ? GATUN_MEMORY_DEVICE : attributes.type == cudaMemoryTypeHost ? GATUN_MEMORY_PINNED : GATUN_MEMORY_HOST;
    *device = on_device ? attributes.device : -1;
  });
}

gatun_status gatun_memory_copy(gatun_stream* stream, void* destination, const void* source, size_t bytes, gatun_error* error) {
  return gatun::border("memory_copy", error, [&] {
    require(stream, "stream");
    if (bytes == 0) return;
    require(destination, "destination");
    require(source, "source");
    gatun::enter(stream);
    gatun::check_cuda(cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDefault, handle_of(stream)));
  });
}

gatun_status gatun_memory_clear(gatun_stream* stream, void* memory, size_t bytes, gatun_error* error) {
  return gatun::border("memory_clear", error, [&] {
    require(stream, "stream");
    if (bytes == 0) return;
    require(memory, "memory");
    gatun::enter(stream);
    gatun::check_cuda(cudaMemsetAsync(memory, 0, bytes, handle_of(stream)));
  });
}

}  // extern "C"

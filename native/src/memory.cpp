// SPDX-License-Identifier: Apache-2.0
// Memory of the CPU device, which is the host's.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "context.h"
#include "kernels/common/stream.h"

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

using gatun::require;

void* allocate(gatun::Account& account, size_t bytes) {
  return account.allocate(bytes, [&](auto&& refusal) {
    void* block = nullptr;
    if (posix_memalign(&block, bytes >= kHugePage ? kHugePage : 64, bytes == 0 ? 64 : bytes) != 0) {
      throw gatun::Error(GATUN_OUT_OF_MEMORY, refusal() + ", the system refuses");
    }
#if defined(MADV_HUGEPAGE)
    // Fresh 4 KiB pages cost more than most kernels that fill them; advice may be refused, which costs only speed. What does not fill a huge
    // page stays on small ones: the rest of it would be memory that nobody uses.
    if (bytes >= kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return block;
  });
}

uint64_t pages(int name) {
  const long count = sysconf(name);
  return count < 0 ? 0 : static_cast<uint64_t>(count) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

extern "C" {

gatun_status gatun_memory_allocate(gatun_context* context, size_t bytes, void** memory, gatun_error* error) {
  return gatun::border("memory_allocate", error, [&] {
    require(context, "context");
    require(memory, "memory");
    *memory = allocate(context->memory, bytes);
  });
}

gatun_status gatun_memory_free(gatun_context* context, void* memory, gatun_error* error) {
  return gatun::border("memory_free", error, [&] {
    require(context, "context");
    context->memory.release(memory, "gatun_memory_allocate", [&] { std::free(memory); });
  });
}

gatun_status gatun_memory_allocate_host(gatun_context* context, size_t bytes, void** memory, gatun_error* error) {
  return gatun::border("memory_allocate_host", error, [&] {
    require(context, "context");
    require(memory, "memory");
    *memory = allocate(context->host, bytes);
  });
}

gatun_status gatun_memory_free_host(gatun_context* context, void* memory, gatun_error* error) {
  return gatun::border("memory_free_host", error, [&] {
    require(context, "context");
    context->host.release(memory, "gatun_memory_allocate_host", [&] { std::free(memory); });
  });
}

gatun_status gatun_memory_get_usage(gatun_context* context, gatun_memory_usage* usage, gatun_error* error) {
  return gatun::border("memory_get_usage", error, [&] {
    require(context, "context");
    gatun::check_descriptor(usage);
    *usage = {sizeof *usage, 0, context->memory.allocated(), context->host.allocated(), context->memory.limit(), pages(_SC_AVPHYS_PAGES),
              pages(_SC_PHYS_PAGES)};
  });
}

gatun_status gatun_memory_query(gatun_context* context, const void*, int32_t* kind, int32_t* device, gatun_error* error) {
  return gatun::border("memory_query", error, [&] {
    require(context, "context");
    require(kind, "kind");
    require(device, "device");
    *kind = GATUN_MEMORY_HOST;
    *device = -1;
  });
}

gatun_status gatun_memory_copy(gatun_stream* stream, void* destination, const void* source, size_t bytes, gatun_error* error) {
  return gatun::border("memory_copy", error, [&] {
    require(stream, "stream");
    if (bytes == 0) return;
    require(destination, "destination");
    require(source, "source");
    std::memcpy(destination, source, bytes);
  });
}

gatun_status gatun_memory_clear(gatun_stream* stream, void* memory, size_t bytes, gatun_error* error) {
  return gatun::border("memory_clear", error, [&] {
    require(stream, "stream");
    if (bytes == 0) return;
    require(memory, "memory");
    std::memset(memory, 0, bytes);
  });
}

}  // extern "C"

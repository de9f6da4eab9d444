// SPDX-License-Identifier: Apache-2.0
// Contexts, streams and memory of the CPU device.
#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>

#include "abi.h"
#include "check.h"
#include "kernels/common/isa.h"
#include "kernels/common/stream.h"

struct gatun_context {
  int threads;
};

namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kHugePage = size_t{2} << 20;

void require(const void* pointer, const char* name) {
  if (pointer == nullptr) gatun::invalid("%s is NULL", name);
}

}  // namespace

extern "C" {

gatun_status gatun_context_create(const gatun_context_desc* desc, gatun_context** context, gatun_error* error) {
  return gatun::border("context_create", error, [&] {
    gatun::check_descriptor(desc);
    require(context, "context");
    if (*gatun::isa_problem() != '\0') gatun::invalid("%s", gatun::isa_problem());
    if (desc->threads < 0 || desc->threads > kMaxThreads) {
      gatun::invalid("threads is %d, allowed are 0 (all) to %d", desc->threads, kMaxThreads);
    }
    *context = new gatun_context{desc->threads > 0 ? desc->threads : omp_get_num_procs()};
  });
}

gatun_status gatun_context_destroy(gatun_context* context, gatun_error* error) {
  return gatun::border("context_destroy", error, [&] { delete context; });
}

gatun_status gatun_stream_create(gatun_context* context, gatun_stream** stream, gatun_error* error) {
  return gatun::border("stream_create", error, [&] {
    require(context, "context");
    require(stream, "stream");
    *stream = new gatun_stream{context, context->threads};
  });
}

gatun_status gatun_stream_destroy(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_destroy", error, [&] { delete stream; });
}

gatun_status gatun_stream_synchronize(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_synchronize", error, [&] { require(stream, "stream"); });
}

gatun_status gatun_memory_allocate(gatun_context* context, size_t bytes, void** memory, gatun_error* error) {
  return gatun::border("memory_allocate", error, [&] {
    require(context, "context");
    require(memory, "memory");
    const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const size_t size = (bytes + alignment - 1) / alignment * alignment;
    void* block = size < bytes ? nullptr : std::aligned_alloc(alignment, size == 0 ? 64 : size);
    if (block == nullptr) throw gatun::Error(GATUN_OUT_OF_MEMORY, "cannot allocate " + std::to_string(bytes) + " bytes");
#if defined(MADV_HUGEPAGE)
    // Fresh 4 KiB pages cost more than most kernels that fill them; advice may be refused, which costs only speed.
    if (bytes >= kHugePage) madvise(block, size, MADV_HUGEPAGE);
#endif
    *memory = block;
  });
}

gatun_status gatun_memory_free(gatun_context* context, void* memory, gatun_error* error) {
  return gatun::border("memory_free", error, [&] {
    require(context, "context");
    std::free(memory);
  });
}

}  // extern "C"

GATUN_ABI_FUNCTION(gatun_context_create);
GATUN_ABI_FUNCTION(gatun_context_destroy);
GATUN_ABI_FUNCTION(gatun_stream_create);
GATUN_ABI_FUNCTION(gatun_stream_destroy);
GATUN_ABI_FUNCTION(gatun_stream_synchronize);
GATUN_ABI_FUNCTION(gatun_memory_allocate);
GATUN_ABI_FUNCTION(gatun_memory_free);
GATUN_ABI_STRUCT(gatun_context_desc, GATUN_ABI_FIELD(gatun_context_desc, struct_size), GATUN_ABI_FIELD(gatun_context_desc, threads));
GATUN_ABI_STRUCT(gatun_random_key, GATUN_ABI_FIELD(gatun_random_key, seed), GATUN_ABI_FIELD(gatun_random_key, step),
                 GATUN_ABI_FIELD(gatun_random_key, stream), GATUN_ABI_FIELD(gatun_random_key, reserved));

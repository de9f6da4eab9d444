// SPDX-License-Identifier: Apache-2.0
// Contexts, streams and memory of the CPU device.
#include <omp.h>
#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "check.h"
#include "device_info.h"
#include "kernels/common/isa.h"
#include "kernels/common/stream.h"

struct gatun_context {
  int threads;
};

struct gatun_event {
  std::chrono::steady_clock::time_point time;
  bool recorded = false;
};

namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kHugePage = size_t{2} << 20;

using gatun::require;

}  // namespace

gatun::DeviceInfo gatun::device_info() {
  const std::string level = isa_name(isa());
  return {"\"device\":\"cpu\",\"isa\":\"" + level + "\"", level};
}

extern "C" {

gatun_status gatun_context_create(const gatun_context_desc* desc, gatun_context** context, gatun_error* error) {
  return gatun::border("context_create", error, [&] {
    gatun::check_descriptor(desc);
    require(context, "context");
    if (*gatun::isa_problem() != '\0') gatun::invalid("%s", gatun::isa_problem());
    if (desc->threads < 0 || desc->threads > kMaxThreads) {
      gatun::invalid("threads is %d, allowed are 0 (all) to %d", desc->threads, kMaxThreads);
    }
    if (desc->device != 0) gatun::invalid("device is %d, the CPU is device 0", desc->device);
    *context = new gatun_context{desc->threads > 0 ? desc->threads : omp_get_num_procs()};
  });
}

gatun_status gatun_context_destroy(gatun_context* context, gatun_error* error) {
  return gatun::border("context_destroy", error, [&] { delete context; });
}

gatun_status gatun_context_synchronize(gatun_context* context, gatun_error* error) {
  return gatun::border("context_synchronize", error, [&] { require(context, "context"); });
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

gatun_status gatun_stream_handle(gatun_stream*, void**, gatun_error* error) {
  return gatun::border("stream_handle", error, [] { throw gatun::Error(GATUN_UNSUPPORTED, "the CPU has no CUDA stream"); });
}

// A CPU stream has no queue to record.
static gatun_status no_graphs(const char* operation, gatun_error* error) {
  return gatun::border(operation, error, [] { throw gatun::Error(GATUN_UNSUPPORTED, "the CPU records no graphs"); });
}

gatun_status gatun_stream_begin_capture(gatun_stream*, gatun_error* error) { return no_graphs("stream_begin_capture", error); }

gatun_status gatun_stream_end_capture(gatun_stream*, gatun_graph**, gatun_error* error) { return no_graphs("stream_end_capture", error); }

gatun_status gatun_graph_launch(gatun_graph*, gatun_stream*, gatun_error* error) { return no_graphs("graph_launch", error); }

gatun_status gatun_graph_destroy(gatun_graph* graph, gatun_error* error) {
  return graph == nullptr ? GATUN_OK : no_graphs("graph_destroy", error);
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

gatun_status gatun_event_create(gatun_context* context, gatun_event** event, gatun_error* error) {
  return gatun::border("event_create", error, [&] {
    require(context, "context");
    require(event, "event");
    *event = new gatun_event;
  });
}

gatun_status gatun_event_destroy(gatun_event* event, gatun_error* error) {
  return gatun::border("event_destroy", error, [&] { delete event; });
}

gatun_status gatun_event_record(gatun_stream* stream, gatun_event* event, gatun_error* error) {
  return gatun::border("event_record", error, [&] {
    require(stream, "stream");
    require(event, "event");
    *event = {std::chrono::steady_clock::now(), true};
  });
}

gatun_status gatun_event_elapsed(gatun_event* start, gatun_event* end, double* seconds, gatun_error* error) {
  return gatun::border("event_elapsed", error, [&] {
    require(start, "start");
    require(end, "end");
    require(seconds, "seconds");
    if (!start->recorded || !end->recorded) gatun::invalid("%s has not been recorded", start->recorded ? "end" : "start");
    *seconds = std::chrono::duration<double>(end->time - start->time).count();
  });
}

}  // extern "C"


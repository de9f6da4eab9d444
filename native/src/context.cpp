// SPDX-License-Identifier: Apache-2.0
// Contexts, streams and events of the CPU device.
#include <omp.h>
#include <strings.h>

#include <chrono>
#include <cstdlib>

#include "context.h"
#include "device_info.h"
#include "kernels/common/isa.h"
#include "kernels/common/stream.h"

struct gatun_event {
  std::chrono::steady_clock::time_point time;
  bool recorded = false;
};

namespace {

constexpr int kMaxThreads = 1024;

using gatun::require;

bool waits_actively() {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  return policy == nullptr || strcasecmp(policy, "passive") != 0;
}

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
    if (desc->flags != 0) gatun::invalid("flags is %u, the CPU has none", desc->flags);
    *context = new gatun_context(desc->threads > 0 ? desc->threads : omp_get_num_procs(), desc->memory_limit);
  });
}

gatun_status gatun_context_destroy(gatun_context* context, gatun_error* error) {
  return gatun::border("context_destroy", error, [&] { delete context; });
}

gatun_status gatun_context_synchronize(gatun_context* context, gatun_error* error) {
  return gatun::border("context_synchronize", error, [&] { require(context, "context"); });
}

gatun_status gatun_context_release_threads(gatun_context* context, gatun_error* error) {
  return gatun::border("context_release_threads", error, [&] {
    require(context, "context");
    static const bool active = waits_actively();
    // Refused inside a parallel region only, where the workers are not idle.
    if (active) omp_pause_resource(omp_pause_soft, omp_get_initial_device());
  });
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

// What was submitted to a CPU stream is done.
gatun_status gatun_event_synchronize(gatun_event* event, gatun_error* error) {
  return gatun::border("event_synchronize", error, [&] { require(event, "event"); });
}

gatun_status gatun_event_query(gatun_event* event, int32_t* done, gatun_error* error) {
  return gatun::border("event_query", error, [&] {
    require(event, "event");
    require(done, "done");
    *done = 1;
  });
}

gatun_status gatun_stream_wait_event(gatun_stream* stream, gatun_event* event, gatun_error* error) {
  return gatun::border("stream_wait_event", error, [&] {
    require(stream, "stream");
    require(event, "event");
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


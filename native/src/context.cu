// SPDX-License-Identifier: Apache-2.0
// Contexts, streams, graphs and events of the CUDA device.
#include "context.h"
#include "device_info.h"
#include "kernels/common/cuda.h"

struct gatun_graph {
  cudaGraphExec_t handle;
};

struct gatun_event {
  cudaEvent_t handle;
  bool recorded;
};

namespace {

#if defined(__CUDACC__)
constexpr const char* kDevice = "cuda";
#else
constexpr const char* kDevice = "emulated";
#endif

using gatun::require;

void use(const gatun_context* context) { gatun::check_cuda(cudaSetDevice(context->device)); }

cudaStream_t handle_of(const gatun_stream* stream) { return static_cast<cudaStream_t>(stream->handle); }

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// How many devices can be used, and otherwise why none.
int devices(std::string* problem) {
  int driver = 0, runtime = 0, count = 0;
  (void)cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    (void)cudaGetLastError();
    *problem = "there is no CUDA driver on this machine; this library needs one for CUDA " + version(runtime) + " or newer";
    return 0;
  }
  const cudaError_t status = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    *problem = "the CUDA driver is for CUDA " + version(driver) + ", this library needs one for CUDA " + version(runtime) + " or newer";
  } else if (status != cudaSuccess) {
    *problem = std::string("CUDA reports ") + cudaGetErrorName(status) + ": " + cudaGetErrorString(status);
  } else if (count == 0) {
    *problem = "there is no CUDA device on this machine";
  }
  return status == cudaSuccess ? count : 0;
}

}  // namespace

gatun::DeviceInfo gatun::device_info() {
  std::string problem, list, level = "none";
  int driver = 0, runtime = 0;
  const int count = devices(&problem);
  (void)cudaDriverGetVersion(&driver);
  (void)cudaRuntimeGetVersion(&runtime);
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess) continue;
    if (ordinal == 0) level = "sm_" + std::to_string(properties.major * 10 + properties.minor);
    list += (list.empty() ? "{" : ",{") + ("\"ordinal\":" + std::to_string(ordinal)) + ",\"name\":\"" + properties.name +
            "\",\"compute_capability\":\"" + std::to_string(properties.major) + "." + std::to_string(properties.minor) +
            "\",\"multiprocessors\":" + std::to_string(properties.multiProcessorCount) + ",\"memory_bytes\":" +
            std::to_string(properties.totalGlobalMem) + ",\"l2_bytes\":" + std::to_string(properties.l2CacheSize) + "}";
  }
  std::string json = std::string("\"device\":\"") + kDevice + "\",\"runtime\":\"" + version(runtime) + "\",\"driver\":\"" + version(driver) +
                     "\",\"devices\":[" + list + "]";
  if (!problem.empty()) json += ",\"problem\":\"" + problem + "\"";
  return {json, level};
}

void gatun::enter(const gatun_stream* stream) { use(stream->context); }

extern "C" {

gatun_status gatun_context_create(const gatun_context_desc* desc, gatun_context** context, gatun_error* error) {
  return gatun::border("context_create", error, [&] {
    gatun::check_descriptor(desc);
    require(context, "context");
    std::string problem;
    const int count = devices(&problem);
    if (count == 0) throw gatun::Error(GATUN_NO_DEVICE, problem);
    if (desc->device < 0 || desc->device >= count) {
      gatun::invalid("device is %d, the CUDA devices of this machine are 0 to %d", desc->device, count - 1);
    }
#if defined(__CUDACC__)
    if (desc->flags != 0) gatun::invalid("flags is %u, a CUDA device has none", desc->flags);
#else
    if (desc->flags > (GATUN_CONTEXT_LATE_FIRST | GATUN_CONTEXT_LATE_OTHERS)) gatun::invalid("flags is %u, allowed are 0 to 3", desc->flags);
#endif
    gatun::check_cuda(cudaSetDevice(desc->device));
    gatun::check_cuda(cudaFree(nullptr));  // creates what CUDA creates late: here, not inside the first operation
    *context = new gatun_context(desc->device, desc->memory_limit);
    (*context)->flags = desc->flags;
  });
}

gatun_status gatun_context_destroy(gatun_context* context, gatun_error* error) {
  return gatun::border("context_destroy", error, [&] { delete context; });
}

gatun_status gatun_context_synchronize(gatun_context* context, gatun_error* error) {
  return gatun::border("context_synchronize", error, [&] {
    require(context, "context");
    use(context);
    gatun::check_cuda(cudaDeviceSynchronize());
  });
}

gatun_status gatun_context_release_threads(gatun_context* context, gatun_error* error) {
  return gatun::border("context_release_threads", error, [&] { require(context, "context"); });
}

gatun_status gatun_stream_create(gatun_context* context, gatun_stream** stream, gatun_error* error) {
  return gatun::border("stream_create", error, [&] {
    require(context, "context");
    require(stream, "stream");
    use(context);
    cudaStream_t handle = nullptr;
    gatun::check_cuda(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
#if !defined(__CUDACC__)
    gatun::emulation::set_late(handle, (context->flags & (context->streams++ == 0 ? GATUN_CONTEXT_LATE_FIRST : GATUN_CONTEXT_LATE_OTHERS)) != 0);
#endif
    *stream = new gatun_stream{context, handle};
  });
}

gatun_status gatun_stream_destroy(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_destroy", error, [&] {
    if (stream == nullptr) return;
    gatun::check_cuda(cudaStreamDestroy(handle_of(stream)));
    delete stream;
  });
}

gatun_status gatun_stream_synchronize(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_synchronize", error, [&] {
    require(stream, "stream");
    gatun::check_cuda(cudaStreamSynchronize(handle_of(stream)));
  });
}

gatun_status gatun_stream_handle(gatun_stream* stream, void** handle, gatun_error* error) {
  return gatun::border("stream_handle", error, [&] {
    require(stream, "stream");
    require(handle, "handle");
    *handle = stream->handle;
  });
}

gatun_status gatun_stream_begin_capture(gatun_stream* stream, gatun_error* error) {
  return gatun::border("stream_begin_capture", error, [&] {
    require(stream, "stream");
    gatun::enter(stream);
    // Thread-local: another thread may allocate meanwhile, for instance for the next batch.
    gatun::check_cuda(cudaStreamBeginCapture(handle_of(stream), cudaStreamCaptureModeThreadLocal));
  });
}

gatun_status gatun_stream_end_capture(gatun_stream* stream, gatun_graph** graph, gatun_error* error) {
  return gatun::border("stream_end_capture", error, [&] {
    require(stream, "stream");
    require(graph, "graph");
    cudaGraph_t recorded = nullptr;
    const cudaError_t status = cudaStreamEndCapture(handle_of(stream), &recorded);
    if (status != cudaSuccess) {
      (void)cudaGetLastError();  // the capture is over, and the next launch must not report it
      gatun::invalid("what was submitted cannot be recorded: %s", cudaGetErrorString(status));
    }
    cudaGraphExec_t executable = nullptr;
    const cudaError_t instantiated = cudaGraphInstantiate(&executable, recorded, 0);
    gatun::check_cuda(cudaGraphDestroy(recorded));
    gatun::check_cuda(instantiated);
    *graph = new gatun_graph{executable};
  });
}

gatun_status gatun_graph_launch(gatun_graph* graph, gatun_stream* stream, gatun_error* error) {
  return gatun::border("graph_launch", error, [&] {
    require(graph, "graph");
    require(stream, "stream");
    gatun::enter(stream);
    gatun::check_cuda(cudaGraphLaunch(graph->handle, handle_of(stream)));
  });
}

gatun_status gatun_graph_destroy(gatun_graph* graph, gatun_error* error) {
  return gatun::border("graph_destroy", error, [&] {
    if (graph == nullptr) return;
    gatun::check_cuda(cudaGraphExecDestroy(graph->handle));
    delete graph;
  });
}

gatun_status gatun_event_create(gatun_context* context, gatun_event** event, gatun_error* error) {
  return gatun::border("event_create", error, [&] {
    require(context, "context");
    require(event, "event");
    use(context);
    cudaEvent_t handle = nullptr;
    gatun::check_cuda(cudaEventCreate(&handle));
    *event = new gatun_event{handle, false};
  });
}

gatun_status gatun_event_destroy(gatun_event* event, gatun_error* error) {
  return gatun::border("event_destroy", error, [&] {
    if (event == nullptr) return;
    gatun::check_cuda(cudaEventDestroy(event->handle));
    delete event;
  });
}

gatun_status gatun_event_record(gatun_stream* stream, gatun_event* event, gatun_error* error) {
  return gatun::border("event_record", error, [&] {
    require(stream, "stream");
    require(event, "event");
    gatun::enter(stream);
    gatun::check_cuda(cudaEventRecord(event->handle, handle_of(stream)));
    event->recorded = true;
  });
}

gatun_status gatun_event_synchronize(gatun_event* event, gatun_error* error) {
  return gatun::border("event_synchronize", error, [&] {
    require(event, "event");
    if (event->recorded) gatun::check_cuda(cudaEventSynchronize(event->handle));
  });
}

gatun_status gatun_event_query(gatun_event* event, int32_t* done, gatun_error* error) {
  return gatun::border("event_query", error, [&] {
    require(event, "event");
    require(done, "done");
    const cudaError_t status = event->recorded ? cudaEventQuery(event->handle) : cudaSuccess;
    if (status == cudaErrorNotReady) {
      (void)cudaGetLastError();  // an answer, which the next launch must not report
    } else {
      gatun::check_cuda(status);
    }
    *done = status == cudaSuccess;
  });
}

gatun_status gatun_stream_wait_event(gatun_stream* stream, gatun_event* event, gatun_error* error) {
  return gatun::border("stream_wait_event", error, [&] {
    require(stream, "stream");
    require(event, "event");
    gatun::enter(stream);
    if (event->recorded) gatun::check_cuda(cudaStreamWaitEvent(handle_of(stream), event->handle, 0));
  });
}

gatun_status gatun_event_elapsed(gatun_event* start, gatun_event* end, double* seconds, gatun_error* error) {
  return gatun::border("event_elapsed", error, [&] {
    require(start, "start");
    require(end, "end");
    require(seconds, "seconds");
    if (!start->recorded || !end->recorded) gatun::invalid("%s has not been recorded", start->recorded ? "end" : "start");
    gatun::check_cuda(cudaEventSynchronize(start->handle));
    gatun::check_cuda(cudaEventSynchronize(end->handle));
    float milliseconds = 0;
    gatun::check_cuda(cudaEventElapsedTime(&milliseconds, start->handle, end->handle));
    *seconds = milliseconds * 1e-3;
  });
}

}  // extern "C"

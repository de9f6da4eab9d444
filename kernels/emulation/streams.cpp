// SPDX-License-Identifier: Apache-2.0
// Streams and events. A stream does its work inside the call, or, when late, keeps it until somebody waits for it. What an event stands for is
// made when it is recorded: who waits does so for that, whatever the event is used for afterwards.
#include <chrono>
#include <deque>
#include <memory>
#include <set>

#include "kernels/emulation/graph.h"
#include "kernels/emulation/internal.h"

struct gatun_emulated_stream {
  bool late = false;
  std::deque<gatun::emulation::Work> queue;
};

namespace gatun::emulation {
namespace {

struct Moment {
  cudaStream_t stream;
  bool done = false;
  std::chrono::steady_clock::time_point time{};
};

std::set<cudaStream_t> streams;

bool alive(cudaStream_t stream) { return stream == nullptr || streams.find(stream) != streams.end(); }

void step(cudaStream_t stream) {
  const Work work = std::move(stream->queue.front());
  stream->queue.pop_front();
  record(work());
}

void finish(cudaStream_t stream) {
  while (!stream->queue.empty()) step(stream);
}

void finish(const Moment& moment) {
  while (!moment.done) step(moment.stream);
}

void finish_all() {
  for (const cudaStream_t stream : streams) finish(stream);
}

// What a query answers. Each does a little, or a loop that asks would never end.
cudaError_t ask(cudaStream_t stream, bool done) {
  if (!done) step(stream);
  const cudaError_t error = cudaPeekAtLastError();
  return done || error != cudaSuccess ? error : cudaErrorNotReady;
}

}  // namespace

void wait_for_device() {
  const Hold hold(device_lock);
  finish_all();
}

cudaError_t submit(cudaStream_t stream, Work work) {
  const Hold hold(device_lock);
  if (!alive(stream)) return record(cudaErrorInvalidResourceHandle);
  if (captured(stream, work)) return cudaSuccess;
  if (stream == nullptr || !stream->late) return work();
  stream->queue.push_back(std::move(work));
  return cudaSuccess;
}

void set_late(cudaStream_t stream, bool late) {
  const Hold hold(device_lock);
  finish(stream);
  stream->late = late;
}

}  // namespace gatun::emulation

using namespace gatun::emulation;

struct gatun_emulated_event {
  std::shared_ptr<Moment> moment;   // nullptr before it is recorded
  cudaStream_t capture = nullptr;   // the stream in whose capture it was recorded last
};

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (stream == nullptr || flags > cudaStreamNonBlocking) return record(cudaErrorInvalidValue);
  const Hold hold(device_lock);
  *stream = new gatun_emulated_stream{};
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Hold hold(device_lock);
  if (stream == nullptr || !alive(stream)) return record(cudaErrorInvalidResourceHandle);
  finish(stream);
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Hold hold(device_lock);
  if (!alive(stream)) return record(cudaErrorInvalidResourceHandle);
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  if (stream == nullptr) finish_all();
  else finish(stream);
  return cudaPeekAtLastError();
}
cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Hold hold(device_lock);
  if (!alive(stream)) return record(cudaErrorInvalidResourceHandle);
  return ask(stream, stream == nullptr || stream->queue.empty());
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Hold hold(device_lock);
  if (event == nullptr || !alive(stream)) return record(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr && capturing(event->capture)) {
    // CUDA would join both streams into one capture, which nothing of ours does.
    return event->capture == stream ? cudaSuccess : spoil(event->capture, cudaErrorStreamCaptureUnsupported);
  }
  if (event->moment == nullptr) return cudaSuccess;
  if (capturing(stream)) return spoil(stream, cudaErrorStreamCaptureIsolation);
  return submit(stream, [moment = event->moment] {
    finish(*moment);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (event == nullptr) return record(cudaErrorInvalidValue);
  *event = new gatun_emulated_event{};
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event == nullptr) return record(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Hold hold(device_lock);
  if (event == nullptr || !alive(stream)) return record(cudaErrorInvalidResourceHandle);
  if (capturing(stream)) {
    event->capture = stream;
    return cudaSuccess;
  }
  event->capture = nullptr;
  event->moment = std::make_shared<Moment>(Moment{stream});
  return submit(stream, [moment = event->moment] {
    moment->time = std::chrono::steady_clock::now();
    moment->done = true;
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Hold hold(device_lock);
  if (event == nullptr) return record(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) return record(cudaErrorCapturedEvent);
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  if (event->moment != nullptr) finish(*event->moment);
  return cudaPeekAtLastError();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Hold hold(device_lock);
  if (event == nullptr) return record(cudaErrorInvalidResourceHandle);
  if (event->capture != nullptr) return record(cudaErrorCapturedEvent);
  return event->moment == nullptr ? ask(nullptr, true) : ask(event->moment->stream, event->moment->done);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Hold hold(device_lock);
  if (milliseconds == nullptr || start == nullptr || end == nullptr || start->moment == nullptr || end->moment == nullptr) {
    return record(cudaErrorInvalidResourceHandle);
  }
  if (!start->moment->done || !end->moment->done) return record(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->moment->time - start->moment->time).count();
  return cudaSuccess;
}

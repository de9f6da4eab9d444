// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/graph.h"

#include <map>
#include <thread>
#include <vector>

#include "kernels/emulation/internal.h"

using gatun::emulation::Work;

struct gatun_emulated_graph {
  std::vector<Work> work;
};

namespace gatun::emulation {
namespace {

struct Capture {
  std::vector<Work> work;
  std::thread::id thread;  // CUDA's thread-local mode, the only one Gatun uses: what other threads do is their affair
  bool spoilt;
};
std::map<cudaStream_t, Capture> captures;

}  // namespace

bool captured(cudaStream_t stream, const Work& work) {
  const Hold hold(device_lock);
  const auto capture = captures.find(stream);
  if (capture == captures.end()) return false;
  capture->second.work.push_back(work);
  return true;
}

bool capturing(cudaStream_t stream) {
  const Hold hold(device_lock);
  return captures.find(stream) != captures.end();
}

cudaError_t spoil(cudaStream_t stream, cudaError_t error) {
  const Hold hold(device_lock);
  if (const auto capture = captures.find(stream); capture != captures.end()) capture->second.spoilt = true;
  return record(error);
}

cudaError_t refuse_in_capture() {
  const Hold hold(device_lock);
  bool mine = false;
  for (auto& [stream, capture] : captures) {
    if (capture.thread != std::this_thread::get_id()) continue;
    capture.spoilt = true;
    mine = true;
  }
  return mine ? record(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

}  // namespace gatun::emulation

using namespace gatun::emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr || mode != cudaStreamCaptureModeThreadLocal) return record(cudaErrorStreamCaptureUnsupported);
  const Hold hold(device_lock);
  return captures.emplace(stream, Capture{{}, std::this_thread::get_id(), false}).second ? cudaSuccess : record(cudaErrorIllegalState);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Hold hold(device_lock);
  const auto capture = captures.find(stream);
  if (graph == nullptr || capture == captures.end() || capture->second.thread != std::this_thread::get_id()) return record(cudaErrorIllegalState);
  const bool spoilt = capture->second.spoilt;
  *graph = spoilt ? nullptr : new gatun_emulated_graph{std::move(capture->second.work)};
  captures.erase(capture);
  return spoilt ? record(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (executable == nullptr || graph == nullptr) return record(cudaErrorInvalidValue);
  *executable = new gatun_emulated_graph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (executable == nullptr) return record(cudaErrorInvalidValue);
  const Hold hold(device_lock);
  for (const auto& work : executable->work) {
    if (const cudaError_t error = submit(stream, work); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return cudaGraphDestroy(executable); }

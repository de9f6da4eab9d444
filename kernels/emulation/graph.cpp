// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/graph.h"

#include <map>
#include <mutex>
#include <vector>

using Work = std::vector<std::function<cudaError_t()>>;

struct gatun_emulated_graph {
  Work work;
};

namespace gatun::emulation {
namespace {

struct Capture {
  Work work;
  bool spoilt = false;
};
std::mutex lock;
std::map<cudaStream_t, Capture> captures;

}  // namespace

cudaError_t submit(cudaStream_t stream, std::function<cudaError_t()> work) {
  {
    const std::lock_guard<std::mutex> guard(lock);
    const auto capture = captures.find(stream);
    if (capture != captures.end()) {
      capture->second.work.push_back(std::move(work));
      return cudaSuccess;
    }
  }
  return work();
}

cudaError_t refuse_in_capture() {
  const std::lock_guard<std::mutex> guard(lock);
  if (captures.empty()) return cudaSuccess;
  for (auto& [stream, capture] : captures) capture.spoilt = true;
  return record(cudaErrorStreamCaptureUnsupported);
}

}  // namespace gatun::emulation

using namespace gatun::emulation;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr) return record(cudaErrorStreamCaptureUnsupported);
  const std::lock_guard<std::mutex> guard(lock);
  return captures.emplace(stream, Capture()).second ? cudaSuccess : record(cudaErrorIllegalState);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard<std::mutex> guard(lock);
  const auto capture = captures.find(stream);
  if (graph == nullptr || capture == captures.end()) return record(cudaErrorIllegalState);
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

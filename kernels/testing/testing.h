// SPDX-License-Identifier: Apache-2.0
// What native tests share: a device to run on, layouts, and with numbers.h random data and the derived tolerance.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "doctest/doctest.h"
#include "gatun.h"
#include "kernels/testing/checks.h"
#include "kernels/testing/layout.h"

namespace gatun::testing {

// REQUIREs that a call succeeded and shows its error otherwise.
template <class Call>
void require_ok(Call&& call) {
  gatun_error error{};
  const gatun_status status = call(&error);
  REQUIRE_MESSAGE(status == GATUN_OK, (std::string(error.operation) + ": " + error.message));
}

// Streams of the devices there are; run() records what they are given.
inline std::vector<gatun_stream*>& streams() {
  static std::vector<gatun_stream*> all;
  return all;
}

// A context and a stream; the status of every call is checked.
class Device {
 public:
  explicit Device(int threads = 2) {
    gatun_context_desc desc{sizeof(gatun_context_desc), threads, 0, 0, 0};
    gatun_error error{};
    const gatun_status status = gatun_context_create(&desc, &context_, &error);
    REQUIRE_MESSAGE(status == GATUN_OK, std::string(error.message));
    REQUIRE(gatun_stream_create(context_, &stream_, nullptr) == GATUN_OK);
    streams().push_back(stream_);
  }
  ~Device() {
    std::erase(streams(), stream_);
    gatun_stream_destroy(stream_, nullptr);
    gatun_context_destroy(context_, nullptr);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  gatun_stream* stream() const { return stream_; }
  gatun_context* context() const { return context_; }

 private:
  gatun_context* context_ = nullptr;
  gatun_stream* stream_ = nullptr;
};

// Runs an operation and REQUIREs that it succeeded: run([&](gatun_error* e) { return gatun_x(..., e); })
// On CUDA it is recorded and the record is run: an operation that allocates, waits or leaves its stream fails here.
template <class Call>
void run(Call&& call) {
#if defined(GATUN_CUDA)
  const std::vector<gatun_stream*> recording = streams();
  for (gatun_stream* stream : recording) require_ok([&](gatun_error* e) { return gatun_stream_begin_capture(stream, e); });
#endif
  gatun_error error{};
  const gatun_status status = call(&error);
#if defined(GATUN_CUDA)
  std::vector<gatun_graph*> graphs(recording.size());
  std::string refused;
  for (size_t i = 0; i < recording.size(); ++i) {
    gatun_error ended{};
    if (gatun_stream_end_capture(recording[i], &graphs[i], &ended) != GATUN_OK) refused = ended.message;
  }
  for (size_t i = 0; i < recording.size(); ++i) {
    if (status == GATUN_OK && refused.empty()) {
      require_ok([&](gatun_error* e) { return gatun_graph_launch(graphs[i], recording[i], e); });
      require_ok([&](gatun_error* e) { return gatun_stream_synchronize(recording[i], e); });
    }
    require_ok([&](gatun_error* e) { return gatun_graph_destroy(graphs[i], e); });
  }
  if (status == GATUN_OK) REQUIRE_MESSAGE(refused.empty(), refused);
#endif
  REQUIRE_MESSAGE(status == GATUN_OK, (std::string(error.operation) + ": " + error.message));
}

// REQUIREs that a call is refused as an invalid argument with a message that contains `part`.
template <class Call>
void refused(const std::string& part, Call&& call) {
  gatun_error error{};
  const gatun_status status = call(&error);
  REQUIRE(status == GATUN_INVALID_ARGUMENT);
  CHECK_MESSAGE(std::string(error.message).find(part) != std::string::npos, std::string(error.message));
}

}  // namespace gatun::testing

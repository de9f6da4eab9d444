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

// A context and a stream; the status of every call is checked.
class Device {
 public:
  explicit Device(int threads = 2) {
    gatun_context_desc desc{sizeof(gatun_context_desc), threads, 0, 0};
    gatun_error error{};
    const gatun_status status = gatun_context_create(&desc, &context_, &error);
    REQUIRE_MESSAGE(status == GATUN_OK, std::string(error.message));
    REQUIRE(gatun_stream_create(context_, &stream_, nullptr) == GATUN_OK);
  }
  ~Device() {
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

// REQUIREs that a call succeeded and shows its error otherwise: run([&](gatun_error* e) { return gatun_x(..., e); })
template <class Call>
void run(Call&& call) {
  gatun_error error{};
  const gatun_status status = call(&error);
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

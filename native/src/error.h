// SPDX-License-Identifier: Apache-2.0
// Errors inside the library are C++ exceptions; border() turns them into a status, so that nothing crosses the C border.
#pragma once

#include <cstdarg>
#include <new>
#include <stdexcept>
#include <string>

#include "gatun/base.h"

namespace gatun {

class Error : public std::runtime_error {
 public:
  Error(gatun_status status, const std::string& message) : std::runtime_error(message), status(status) {}
  const gatun_status status;
};

// printf-style Error with status GATUN_INVALID_ARGUMENT
[[noreturn]] __attribute__((format(printf, 1, 2))) void invalid(const char* format, ...);

gatun_status report(gatun_error* error, gatun_status status, const char* operation, const char* message);

// Runs body, which may throw, as the operation's border.
template <class Body>
gatun_status border(const char* operation, gatun_error* error, Body&& body) {
  try {
    body();
    return GATUN_OK;
  } catch (const Error& e) {
    return report(error, e.status, operation, e.what());
  } catch (const std::bad_alloc&) {
    return report(error, GATUN_OUT_OF_MEMORY, operation, "out of host memory");
  } catch (const std::exception& e) {
    return report(error, GATUN_INTERNAL, operation, e.what());
  } catch (...) {
    return report(error, GATUN_INTERNAL, operation, "unknown exception");
  }
}

}  // namespace gatun

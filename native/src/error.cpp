// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <cstdio>
#include <cstring>

namespace gatun {

void invalid(const char* format, ...) {
  char text[sizeof(gatun_error::message)];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error(GATUN_INVALID_ARGUMENT, text);
}

gatun_status report(gatun_error* error, gatun_status status, const char* operation, const char* message) {
  if (error != nullptr) {
    std::memset(error, 0, sizeof *error);
    error->status = status;
    std::snprintf(error->operation, sizeof error->operation, "%s", operation);
    std::snprintf(error->message, sizeof error->message, "%s", message);
  }
  return status;
}

}  // namespace gatun

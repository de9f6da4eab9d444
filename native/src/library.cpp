// SPDX-License-Identifier: Apache-2.0
// What the library says about itself.
#include <algorithm>
#include <cstring>

#include "abi.h"
#include "error.h"
#include "kernels/common/isa.h"

namespace gatun {

namespace abi {

std::vector<std::string>& lines() {
  static std::vector<std::string> all;
  return all;
}

std::vector<std::string>& operations() {
  static std::vector<std::string> all;
  return all;
}

}  // namespace abi

static void write_text(const std::string& value, char* text, size_t capacity, size_t* needed) {
  if (needed == nullptr) invalid("needed is NULL");
  *needed = value.size() + 1;
  if (text == nullptr) return;
  if (capacity < value.size() + 1) invalid("capacity is %zu, %zu bytes are needed", capacity, value.size() + 1);
  std::memcpy(text, value.c_str(), value.size() + 1);
}

static std::vector<std::string> sorted(std::vector<std::string> values) {
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace gatun

extern "C" {

int32_t gatun_abi_version(void) { return GATUN_ABI_VERSION; }

gatun_status gatun_abi_describe(char* text, size_t capacity, size_t* needed, gatun_error* error) {
  return gatun::border("abi_describe", error, [&] {
    std::string all;
    for (const std::string& line : gatun::sorted(gatun::abi::lines())) all += line + "\n";
    gatun::write_text(all, text, capacity, needed);
  });
}

gatun_status gatun_info(char* text, size_t capacity, size_t* needed, gatun_error* error) {
  return gatun::border("info", error, [&] {
    const char* level = gatun::isa_name(gatun::isa());
    std::string json = std::string("{\"abi\":") + std::to_string(GATUN_ABI_VERSION) + ",\"device\":\"cpu\",\"compiler\":\"" +
                       __VERSION__ + "\",\"isa\":\"" + level + "\",\"operations\":{";
    const char* separator = "";
    for (const std::string& name : gatun::sorted(gatun::abi::operations())) {
      json += separator + ("\"" + name + "\":\"") + level + "\"";
      separator = ",";
    }
    gatun::write_text(json + "}}", text, capacity, needed);
  });
}

}  // extern "C"

GATUN_ABI_FUNCTION(gatun_abi_version);
GATUN_ABI_FUNCTION(gatun_abi_describe);
GATUN_ABI_FUNCTION(gatun_info);

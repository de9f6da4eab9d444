// SPDX-License-Identifier: Apache-2.0
// What the library says about itself.
#include <algorithm>
#include <cstring>

#include "abi.h"
#include "device_info.h"
#include "error.h"
#include "gatun/memory.h"

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
    const gatun::DeviceInfo device = gatun::device_info();
    std::string json = std::string("{\"abi\":") + std::to_string(GATUN_ABI_VERSION) + ",\"compiler\":\"" + __VERSION__ + "\"," + device.json +
                       ",\"operations\":{";
    const char* separator = "";
    for (const std::string& name : gatun::sorted(gatun::abi::operations())) {
      json += separator + ("\"" + name + "\":\"") + device.level + "\"";
      separator = ",";
    }
    gatun::write_text(json + "}}", text, capacity, needed);
  });
}

}  // extern "C"

GATUN_ABI_FUNCTION(gatun_abi_version);
GATUN_ABI_FUNCTION(gatun_abi_describe);
GATUN_ABI_FUNCTION(gatun_info);
GATUN_ABI_FUNCTION(gatun_context_create);
GATUN_ABI_FUNCTION(gatun_context_destroy);
GATUN_ABI_FUNCTION(gatun_context_synchronize);
GATUN_ABI_FUNCTION(gatun_context_release_threads);
GATUN_ABI_FUNCTION(gatun_stream_create);
GATUN_ABI_FUNCTION(gatun_stream_destroy);
GATUN_ABI_FUNCTION(gatun_stream_synchronize);
GATUN_ABI_FUNCTION(gatun_stream_handle);
GATUN_ABI_FUNCTION(gatun_stream_begin_capture);
GATUN_ABI_FUNCTION(gatun_stream_end_capture);
GATUN_ABI_FUNCTION(gatun_graph_launch);
GATUN_ABI_FUNCTION(gatun_graph_destroy);
GATUN_ABI_FUNCTION(gatun_memory_allocate);
GATUN_ABI_FUNCTION(gatun_memory_free);
GATUN_ABI_FUNCTION(gatun_memory_allocate_host);
GATUN_ABI_FUNCTION(gatun_memory_free_host);
GATUN_ABI_FUNCTION(gatun_memory_get_usage);
GATUN_ABI_FUNCTION(gatun_memory_query);
GATUN_ABI_FUNCTION(gatun_memory_copy);
GATUN_ABI_FUNCTION(gatun_memory_clear);
GATUN_ABI_FUNCTION(gatun_event_create);
GATUN_ABI_FUNCTION(gatun_event_destroy);
GATUN_ABI_FUNCTION(gatun_event_record);
GATUN_ABI_FUNCTION(gatun_event_synchronize);
GATUN_ABI_FUNCTION(gatun_event_query);
GATUN_ABI_FUNCTION(gatun_event_elapsed);
GATUN_ABI_FUNCTION(gatun_stream_wait_event);
GATUN_ABI_STRUCT(gatun_context_desc, GATUN_ABI_FIELD(gatun_context_desc, struct_size), GATUN_ABI_FIELD(gatun_context_desc, threads),
                 GATUN_ABI_FIELD(gatun_context_desc, device), GATUN_ABI_FIELD(gatun_context_desc, flags), GATUN_ABI_FIELD(gatun_context_desc, memory_limit));
GATUN_ABI_STRUCT(gatun_memory_usage, GATUN_ABI_FIELD(gatun_memory_usage, struct_size), GATUN_ABI_FIELD(gatun_memory_usage, reserved),
                 GATUN_ABI_FIELD(gatun_memory_usage, allocated), GATUN_ABI_FIELD(gatun_memory_usage, host_allocated),
                 GATUN_ABI_FIELD(gatun_memory_usage, limit), GATUN_ABI_FIELD(gatun_memory_usage, device_free),
                 GATUN_ABI_FIELD(gatun_memory_usage, device_total));
GATUN_ABI_STRUCT(gatun_random_key, GATUN_ABI_FIELD(gatun_random_key, seed), GATUN_ABI_FIELD(gatun_random_key, step),
                 GATUN_ABI_FIELD(gatun_random_key, stream), GATUN_ABI_FIELD(gatun_random_key, reserved));

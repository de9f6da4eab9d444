// SPDX-License-Identifier: Apache-2.0
// The border itself: contexts, memory, errors, and what the library says about itself.
#include "kernels/testing/testing.h"

#include <cstdlib>

using namespace gatun::testing;

TEST_CASE("errors name the operation and fit their struct") {
  CHECK(sizeof(gatun_error) == 512);
  gatun_context* context = nullptr;
  gatun_error error{};
  gatun_context_desc desc{sizeof(gatun_context_desc), 5000, 0, 0, 0};
  CHECK(gatun_context_create(&desc, &context, &error) == GATUN_INVALID_ARGUMENT);
  CHECK(std::string(error.operation) == "context_create");
  CHECK(std::string(error.message) == "threads is 5000, allowed are 0 (all) to 1024");
  CHECK(context == nullptr);
  desc = {sizeof(gatun_context_desc), 1, 3, 0, 0};
  CHECK(gatun_context_create(&desc, &context, &error) == GATUN_INVALID_ARGUMENT);
  CHECK(std::string(error.message) == "device is 3, the CPU is device 0");
  // The error is optional.
  CHECK(gatun_context_create(nullptr, &context, nullptr) == GATUN_INVALID_ARGUMENT);
}

TEST_CASE("memory is aligned, usable to its last byte and refused when absurd") {
  Device device;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{4096}, size_t{5} << 20}) {
    void* memory = nullptr;
    run([&](gatun_error* e) { return gatun_memory_allocate(device.context(), bytes, &memory, e); });
    CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
    std::memset(memory, 1, bytes);
    run([&](gatun_error* e) { return gatun_memory_free(device.context(), memory, e); });
  }
  void* memory = nullptr;
  gatun_error error{};
  CHECK(gatun_memory_allocate(device.context(), SIZE_MAX, &memory, &error) == GATUN_OUT_OF_MEMORY);
  CHECK(gatun_memory_allocate(device.context(), SIZE_MAX / 4, &memory, &error) == GATUN_OUT_OF_MEMORY);
  CHECK(std::string(error.message).find("cannot allocate") != std::string::npos);
}

TEST_CASE("descriptions ask for their size first and are complete") {
  size_t needed = 0;
  run([&](gatun_error* e) { return gatun_abi_describe(nullptr, 0, &needed, e); });
  std::string text(needed, '\0');
  refused("capacity", [&](gatun_error* e) { return gatun_abi_describe(text.data(), 3, &needed, e); });
  run([&](gatun_error* e) { return gatun_abi_describe(text.data(), text.size(), &needed, e); });
  CHECK(text.find("function gatun_memory_allocate i32(ptr,u64,ptr,ptr)") != std::string::npos);
  run([&](gatun_error* e) { return gatun_info(nullptr, 0, &needed, e); });
  std::string info(needed, '\0');
  run([&](gatun_error* e) { return gatun_info(info.data(), info.size(), &needed, e); });
  const char* level = std::getenv("GATUN_ISA");
  if (level != nullptr) CHECK(info.find("\"isa\":\"" + std::string(level) + "\"") != std::string::npos);
}

TEST_CASE("copies, clears and events") {
  Device device;
  const std::vector<float> values = normal(1000, 1);
  std::vector<float> copy(values.size());
  gatun_event *start = nullptr, *end = nullptr;
  run([&](gatun_error* e) { return gatun_event_create(device.context(), &start, e); });
  run([&](gatun_error* e) { return gatun_event_create(device.context(), &end, e); });
  double seconds = -1;
  run([&](gatun_error* e) { return gatun_event_record(device.stream(), start, e); });
  refused("end has not been recorded", [&](gatun_error* e) { return gatun_event_elapsed(start, end, &seconds, e); });
  run([&](gatun_error* e) { return gatun_memory_copy(device.stream(), copy.data(), values.data(), values.size() * sizeof(float), e); });
  run([&](gatun_error* e) { return gatun_event_record(device.stream(), end, e); });
  run([&](gatun_error* e) { return gatun_event_elapsed(start, end, &seconds, e); });
  CHECK(seconds >= 0);
  CHECK(same_bits(copy, values));
  run([&](gatun_error* e) { return gatun_memory_clear(device.stream(), copy.data(), 4, e); });
  CHECK(copy[0] == 0);
  CHECK(copy[1] == values[1]);
  run([&](gatun_error* e) { return gatun_memory_copy(device.stream(), nullptr, nullptr, 0, e); });
  refused("source is NULL", [&](gatun_error* e) { return gatun_memory_copy(device.stream(), copy.data(), nullptr, 4, e); });
  run([&](gatun_error* e) { return gatun_context_synchronize(device.context(), e); });
  // The next operation finds its threads again.
  run([&](gatun_error* e) { return gatun_context_release_threads(device.context(), e); });
  run([&](gatun_error* e) { return gatun_memory_copy(device.stream(), copy.data(), values.data(), values.size() * sizeof(float), e); });
  CHECK(same_bits(copy, values));
  refused("context is NULL", [&](gatun_error* e) { return gatun_context_release_threads(nullptr, e); });
  run([&](gatun_error* e) { return gatun_event_destroy(start, e); });
  run([&](gatun_error* e) { return gatun_event_destroy(end, e); });
}

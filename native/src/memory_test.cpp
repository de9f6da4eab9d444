// SPDX-License-Identifier: Apache-2.0
// Memory, limits, pinned memory, events between streams, and threads: the same cases on every device.
#include "kernels/testing/testing.h"

#include <atomic>
#include <thread>

using namespace gatun::testing;

namespace {

constexpr uint32_t kAllLate = GATUN_CONTEXT_LATE_FIRST | GATUN_CONTEXT_LATE_OTHERS;

#if defined(GATUN_CUDA)
constexpr bool kCuda = true;
#else
constexpr bool kCuda = false;
#endif

// A context of its own, with streams that run() does not record.
class Context {
 public:
  explicit Context(uint64_t memory_limit, uint32_t flags = 0) {
    const gatun_context_desc desc{sizeof(gatun_context_desc), 1, 0, flags, memory_limit};
    require_ok([&](gatun_error* e) { return gatun_context_create(&desc, &context_, e); });
  }
  ~Context() {
    for (gatun_stream* stream : streams_) CHECK(gatun_stream_destroy(stream, nullptr) == GATUN_OK);
    for (gatun_event* event : events_) CHECK(gatun_event_destroy(event, nullptr) == GATUN_OK);
    CHECK(gatun_context_destroy(context_, nullptr) == GATUN_OK);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  gatun_context* get() const { return context_; }
  gatun_stream* stream() {
    gatun_stream* stream = nullptr;
    require_ok([&](gatun_error* e) { return gatun_stream_create(context_, &stream, e); });
    streams_.push_back(stream);
    return stream;
  }
  gatun_event* event() {
    gatun_event* event = nullptr;
    require_ok([&](gatun_error* e) { return gatun_event_create(context_, &event, e); });
    events_.push_back(event);
    return event;
  }
  void* allocate(size_t bytes) {
    void* memory = nullptr;
    require_ok([&](gatun_error* e) { return gatun_memory_allocate(context_, bytes, &memory, e); });
    return memory;
  }
  void free(void* memory) {
    require_ok([&](gatun_error* e) { return gatun_memory_free(context_, memory, e); });
  }
  float* allocate_host(size_t count) {
    void* memory = nullptr;
    require_ok([&](gatun_error* e) { return gatun_memory_allocate_host(context_, count * sizeof(float), &memory, e); });
    return static_cast<float*>(memory);
  }
  void free_host(void* memory) {
    require_ok([&](gatun_error* e) { return gatun_memory_free_host(context_, memory, e); });
  }
  gatun_memory_usage usage() {
    gatun_memory_usage usage{};
    usage.struct_size = sizeof usage;
    require_ok([&](gatun_error* e) { return gatun_memory_get_usage(context_, &usage, e); });
    return usage;
  }

 private:
  gatun_context* context_ = nullptr;
  std::vector<gatun_stream*> streams_;
  std::vector<gatun_event*> events_;
};

void copy(gatun_stream* stream, void* to, const void* from, size_t count) {
  require_ok([&](gatun_error* e) { return gatun_memory_copy(stream, to, from, count * sizeof(float), e); });
}

void synchronize(gatun_stream* stream) {
  require_ok([&](gatun_error* e) { return gatun_stream_synchronize(stream, e); });
}

void record(gatun_stream* stream, gatun_event* event) {
  require_ok([&](gatun_error* e) { return gatun_event_record(stream, event, e); });
}

void wait(gatun_stream* stream, gatun_event* event) {
  require_ok([&](gatun_error* e) { return gatun_stream_wait_event(stream, event, e); });
}

// Streams can be late on the emulated device.
bool emulated() {
  gatun_context* context = nullptr;
  const gatun_context_desc desc{sizeof(gatun_context_desc), 1, 0, kAllLate, 0};
  const bool late = gatun_context_create(&desc, &context, nullptr) == GATUN_OK;
  gatun_context_destroy(context, nullptr);
  return late;
}

bool done(gatun_event* event) {
  int32_t answer = -1;
  require_ok([&](gatun_error* e) { return gatun_event_query(event, &answer, e); });
  return answer == 1;
}

}  // namespace

TEST_CASE("a limit holds, is told, and leaves the context usable") {
  Context context(1000);
  CHECK(context.usage().limit == 1000);
  void* most = context.allocate(900);
  void* memory = nullptr;
  gatun_error error{};
  CHECK(gatun_memory_allocate(context.get(), 101, &memory, &error) == GATUN_OUT_OF_MEMORY);
  CHECK(memory == nullptr);
  CHECK(std::string(error.operation) == "memory_allocate");
  CHECK(std::string(error.message) == "cannot allocate 101 bytes: 900 are allocated, the limit is 1000");
  CHECK(context.usage().allocated == 900);
  void* rest = context.allocate(100);
  CHECK(gatun_memory_allocate(context.get(), 1, &memory, nullptr) == GATUN_OUT_OF_MEMORY);
  CHECK(gatun_memory_allocate(context.get(), SIZE_MAX, &memory, nullptr) == GATUN_OUT_OF_MEMORY);
  context.free(most);
  context.free(context.allocate(900));
  context.free(rest);
  CHECK(context.usage().allocated == 0);
}

TEST_CASE("what the device does not have is refused with what it has") {
  Context context(0);
  void* memory = nullptr;
  gatun_error error{};
  CHECK(gatun_memory_allocate(context.get(), SIZE_MAX / 4, &memory, &error) == GATUN_OUT_OF_MEMORY);
  const std::string message = error.message;
  CHECK_MESSAGE(message.find("cannot allocate 4611686018427387903 bytes: 0 are allocated, the ") == 0, message);
  if (kCuda) CHECK_MESSAGE(message.find("the device has ") != std::string::npos, message);
  const gatun_memory_usage usage = context.usage();
  CHECK(usage.allocated == 0);
  CHECK(usage.device_free <= usage.device_total);
  CHECK(usage.device_total > 0);
  gatun_memory_usage wrong{};
  refused("struct_size", [&](gatun_error* e) { return gatun_memory_get_usage(context.get(), &wrong, e); });
}

TEST_CASE("only what a context allocated can be freed, once") {
  Context context(0), other(0);
  void* memory = context.allocate(8);
  refused("not of gatun_memory_allocate", [&](gatun_error* e) { return gatun_memory_free(other.get(), memory, e); });
  refused("not of gatun_memory_allocate_host", [&](gatun_error* e) { return gatun_memory_free_host(context.get(), memory, e); });
  context.free(memory);
  refused("freed already", [&](gatun_error* e) { return gatun_memory_free(context.get(), memory, e); });
  refused("not of", [&](gatun_error* e) { return gatun_memory_free(context.get(), &memory, e); });
  context.free(nullptr);
  context.free_host(nullptr);
}

TEST_CASE("pinned memory is the host's and the device's") {
  Context context(64);  // it does not count
  gatun_stream* stream = context.stream();
  float* up = context.allocate_host(1000);
  float* down = context.allocate_host(1000);
  CHECK(context.usage().host_allocated == 8000);
  void* memory = context.allocate(40);
  int32_t kind = -1, device = -2;
  const auto query = [&](const void* address) {
    require_ok([&](gatun_error* e) { return gatun_memory_query(context.get(), address, &kind, &device, e); });
  };
  query(up + 999);
  CHECK(kind == (kCuda ? GATUN_MEMORY_PINNED : GATUN_MEMORY_HOST));
  CHECK(device == -1);
  query(static_cast<char*>(memory) + 39);
  CHECK(kind == (kCuda ? GATUN_MEMORY_DEVICE : GATUN_MEMORY_HOST));
  CHECK(device == (kCuda ? 0 : -1));
  query(&kind);
  CHECK(kind == GATUN_MEMORY_HOST);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 10; ++i) up[i] = static_cast<float>(10 * round + i);
    copy(stream, memory, up, 10);
    copy(stream, down, memory, 10);
    synchronize(stream);
    for (int i = 0; i < 10; ++i) CHECK(down[i] == static_cast<float>(10 * round + i));
  }
  context.free(memory);
  context.free_host(up);
  context.free_host(down);
  CHECK(context.usage().host_allocated == 0);
}

TEST_CASE("events that were not recorded, and those that happened") {
  Context context(0);
  gatun_stream* stream = context.stream();
  gatun_event* event = context.event();
  CHECK(done(event));
  wait(stream, event);
  require_ok([&](gatun_error* e) { return gatun_event_synchronize(event, e); });
  record(stream, event);
  require_ok([&](gatun_error* e) { return gatun_event_synchronize(event, e); });
  CHECK(done(event));
  refused("event is NULL", [&](gatun_error* e) { return gatun_event_synchronize(nullptr, e); });
  refused("done is NULL", [&](gatun_error* e) { return gatun_event_query(event, nullptr, e); });
  refused("stream is NULL", [&](gatun_error* e) { return gatun_stream_wait_event(nullptr, event, e); });
  refused("event is NULL", [&](gatun_error* e) { return gatun_stream_wait_event(stream, nullptr, e); });
}

TEST_CASE("a late stream does nothing before somebody waits for it") {
  if (!emulated()) return;
  Context context(0, kAllLate);
  gatun_stream *first = context.stream(), *second = context.stream();
  gatun_event* event = context.event();
  float* host = context.allocate_host(2);
  void* memory = context.allocate(4);
  require_ok([&](gatun_error* e) { return gatun_memory_clear(first, memory, 4, e); });
  synchronize(first);

  // The host's memory is written too early: what is copied is what it holds at the end.
  host[0] = 1;
  copy(first, memory, host, 1);
  host[0] = 2;
  // Nothing says that the second stream comes after the first.
  copy(second, host + 1, memory, 1);
  synchronize(second);
  CHECK(host[1] == 0);
  record(first, event);
  CHECK(!done(event));
  // Now it is said, and it is waited for without the host.
  wait(second, event);
  copy(second, host + 1, memory, 1);
  synchronize(second);
  CHECK(host[1] == 2);
  CHECK(done(event));

  // An event stands for what it was recorded for last when somebody began to wait.
  host[0] = 3;
  copy(first, memory, host, 1);
  record(first, event);
  wait(second, event);
  record(second, event);
  copy(second, host + 1, memory, 1);
  synchronize(second);
  CHECK(host[1] == 3);

  // Asking often enough brings it on.
  copy(first, memory, host, 1);
  record(first, event);
  int asked = 0;
  while (!done(event)) ++asked;
  CHECK(asked > 0);
  context.free(memory);
  context.free_host(host);
}

TEST_CASE("only the streams that are to be late are") {
  if (!emulated()) return;
  for (const uint32_t flags : {GATUN_CONTEXT_LATE_FIRST, GATUN_CONTEXT_LATE_OTHERS}) {
    Context context(0, flags);
    gatun_stream* streams[] = {context.stream(), context.stream()};
    float* host = context.allocate_host(4);
    for (int i = 0; i < 2; ++i) {
      host[2 * i] = 1;
      host[2 * i + 1] = 0;
      copy(streams[i], host + 2 * i + 1, host + 2 * i, 1);
      const bool late = i == (flags == GATUN_CONTEXT_LATE_FIRST ? 0 : 1);
      CHECK(host[2 * i + 1] == (late ? 0 : 1));
      synchronize(streams[i]);
      CHECK(host[2 * i + 1] == 1);
    }
    context.free_host(host);
  }
}

#if defined(GATUN_CUDA)
TEST_CASE("a capture knows nothing of events from outside, and nothing of other threads") {
  Context context(0);
  gatun_stream *stream = context.stream(), *other = context.stream();
  gatun_event *outside = context.event(), *inside = context.event();
  void* memory = context.allocate(4);
  gatun_graph* graph = nullptr;
  gatun_error error{};
  record(other, outside);
  require_ok([&](gatun_error* e) { return gatun_stream_begin_capture(stream, e); });
  CHECK(gatun_stream_wait_event(stream, outside, &error) != GATUN_OK);
  CHECK(gatun_stream_end_capture(stream, &graph, &error) != GATUN_OK);

  require_ok([&](gatun_error* e) { return gatun_stream_begin_capture(stream, e); });
  record(stream, inside);
  wait(stream, inside);
  require_ok([&](gatun_error* e) { return gatun_memory_clear(stream, memory, 4, e); });
  std::thread([&] {
    context.free(context.allocate(100));  // a loader's
    require_ok([&](gatun_error* e) { return gatun_memory_clear(other, memory, 4, e); });
    synchronize(other);
  }).join();
  require_ok([&](gatun_error* e) { return gatun_stream_end_capture(stream, &graph, e); });
  require_ok([&](gatun_error* e) { return gatun_graph_launch(graph, stream, e); });
  synchronize(stream);
  require_ok([&](gatun_error* e) { return gatun_graph_destroy(graph, e); });

  require_ok([&](gatun_error* e) { return gatun_stream_begin_capture(stream, e); });
  void* never = nullptr;
  CHECK(gatun_memory_allocate(context.get(), 4, &never, &error) != GATUN_OK);
  CHECK(gatun_stream_end_capture(stream, &graph, &error) != GATUN_OK);
  context.free(memory);
}
#endif

TEST_CASE("flags that a device does not know are refused") {
  gatun_context* context = nullptr;
  const gatun_context_desc desc{sizeof(gatun_context_desc), 1, 0, 4, 0};
  refused("flags is 4", [&](gatun_error* e) { return gatun_context_create(&desc, &context, e); });
}

// Each thread has a stream, memory and pinned memory of its own, and launches, copies and allocates.
TEST_CASE("two threads, of one device and of two") {
  for (const uint32_t flags : {uint32_t{0}, uint32_t{GATUN_CONTEXT_LATE_FIRST}, kAllLate}) {
    if (flags != 0 && !emulated()) return;
    Context shared(0, flags), another(0, flags);
    int failures[4] = {};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      Context& context = t < 2 ? shared : another;
      gatun_stream* stream = context.stream();
      gatun_event* event = context.event();
      threads.emplace_back([&context, &failures, stream, event, t] {
        constexpr int64_t kCount = 300;
        void *x = nullptr, *y = nullptr, *pinned = nullptr;
        int& failed = failures[t];
        const auto ok = [&](gatun_status status) { failed += status != GATUN_OK; };
        ok(gatun_memory_allocate_host(context.get(), 2 * kCount * sizeof(float), &pinned, nullptr));
        float* const up = static_cast<float*>(pinned);
        float* const down = up + kCount;
        gatun_elementwise_desc desc{};
        desc.struct_size = sizeof desc;
        desc.operation = GATUN_ELEMENTWISE_AFFINE;
        desc.alpha = 2;
        desc.beta = 1;
        desc.x = desc.y = {GATUN_F32, 1, {kCount}, {1}};
        for (int round = 0; round < 5; ++round) {
          ok(gatun_memory_allocate(context.get(), kCount * sizeof(float), &x, nullptr));
          ok(gatun_memory_allocate(context.get(), kCount * sizeof(float), &y, nullptr));
          for (int64_t i = 0; i < kCount; ++i) up[i] = static_cast<float>(1000 * t + 10 * round) + static_cast<float>(i);
          ok(gatun_memory_copy(stream, x, up, kCount * sizeof(float), nullptr));
          ok(gatun_elementwise(stream, &desc, x, nullptr, y, nullptr));
          ok(gatun_memory_copy(stream, down, y, kCount * sizeof(float), nullptr));
          ok(gatun_event_record(stream, event, nullptr));
          ok(gatun_event_synchronize(event, nullptr));
          for (int64_t i = 0; i < kCount; ++i) failed += down[i] != 2 * up[i] + 1;
          ok(gatun_memory_free(context.get(), x, nullptr));
          ok(gatun_memory_free(context.get(), y, nullptr));
        }
        ok(gatun_memory_free_host(context.get(), pinned, nullptr));
      });
    }
    // And one that is in the library's code, but never on the device.
    std::atomic<bool> over{false};
    std::thread idle([&over, event = shared.event()] {
      for (int32_t answer = 0; !over;) gatun_event_query(event, &answer, nullptr);
    });
    for (std::thread& thread : threads) thread.join();
    over = true;
    idle.join();
    for (const int failed : failures) CHECK(failed == 0);
  }
}

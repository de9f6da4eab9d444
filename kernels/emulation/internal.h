// SPDX-License-Identifier: Apache-2.0
// State that the runtime's own files share. Kernels see only runtime.h.
#pragma once

#include <bit>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/emulation/runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define GATUN_EMULATION_ASAN 1
#else
#define GATUN_EMULATION_ASAN 0
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#if !defined(GATUN_EMULATION_RACE)
#define GATUN_EMULATION_RACE 0
#endif

// 0 takes ucontext, which costs two system calls a switch.
#if !defined(GATUN_EMULATION_SWITCH)
#if defined(__x86_64__)
#define GATUN_EMULATION_SWITCH 1
#else
#define GATUN_EMULATION_SWITCH 0
#endif
#endif

#if !GATUN_EMULATION_SWITCH
#include <ucontext.h>
#endif

namespace gatun::emulation {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kWarps = kMaxThreads / 32;
constexpr size_t kMaxShared = 227 * 1024;  // what a block may have on sm_90; sm_80 has 163 KiB
// Multiprocessors, each with one block of a cooperative launch: few and odd, so that loops run and nothing divides evenly.
constexpr unsigned kResident = 3;
constexpr size_t kDeviceMemory = size_t{16} << 30;

struct Range {
  uintptr_t low, high;
};

struct AsyncCopy {
  unsigned char* shared;
  const unsigned char* global;
  int bytes;
  int source_bytes;
  Site site;
};

enum class State : uint8_t { kReady, kWarp, kBlock, kNamed, kPhase, kDone };

struct Thread {
#if GATUN_EMULATION_SWITCH
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
  uint3 index{};
  State state = State::kDone;
  Op op{};
  Barrier barrier{};
  bool predicate = false;
  int named = 0;
  uint32_t mask = 0;
  void* argument = nullptr;
  Site site{};
  std::deque<std::vector<AsyncCopy>> groups;  // committed copies, oldest first
  std::vector<AsyncCopy> open;                // issued since the last commit
  std::vector<Range> under_way;               // accumulators of wgmma
};

struct Block {
  unsigned threads = 0;
  unsigned warps = 0;
  uint32_t ready[kWarps] = {};
  uint32_t waiting[kWarps] = {};  // at a warp operation
  uint32_t done[kWarps] = {};
  uint32_t lanes[kWarps] = {};  // that the block has
  uint32_t ready_warps = 0;
  unsigned done_count = 0;
  unsigned at_barrier = 0;
  int barrier_result = 0;
  int first_at_barrier = -1;
  unsigned favourite = 0;  // the warp that runs ahead or behind
  int last = -1;           // the thread that ran last, while another block runs
};

struct Named {
  std::vector<unsigned> arrived, waiting;
  int count = 0;
};

// Whoever launches, copies, allocates or looks holds it: the device does one thing at a time.
using Hold = std::lock_guard<std::recursive_mutex>;
extern std::recursive_mutex device_lock;
// Whether this thread of the host is the one that runs a kernel: others may be in code that the race build instruments.
extern thread_local bool runs_grid __attribute__((tls_model("initial-exec")));

// A block that lives. There is more than one in a cooperative launch only.
struct Resident {
  Thread threads[kMaxThreads];
  Named named[16];
  Block block;  // while another block runs
  uint3 index{};
};

extern Resident residents[kResident];
extern unsigned slot;           // of the running block
extern Thread* threads;         // its threads
extern Block block;             // its state
extern bool cooperative;        // whether all blocks of the launch live at once
extern unsigned live_slots;     // that the launch uses
extern int current;             // the running thread, -1 outside kernels
extern const void* kernel_now;  // its kernel
extern uint64_t launches;

// Set while the runtime works for a kernel. Templates of the standard library that kernels' files instantiate too are instrumented in
// the race build, and the linker may have chosen those for the runtime: what they touch is no kernel's access.
extern bool inside;
struct Inside {
  Inside() { inside = true; }
  ~Inside() { inside = false; }
};

// Reports a defect. Inside a kernel it abandons the launch and does not return, unless `detects(defect)` is off.
// Structural defects leave nothing to go on with: with the detector off the launch ends as if all were well.
void fault(Defect defect, const std::string& text, const Site* site);
void abandon();
std::string where(const Site& site);
std::string thread_name(unsigned thread);
// "function at file:line" of a code address, the innermost one outside this folder.
std::string code_name(const void* address);
std::string function_name(const void* address);
void append_report(const std::string& text);
void write_context(std::string& text);

uint64_t random_next(uint64_t& state);

// memory.cpp
void begin_block_memory();
// Dynamic shared memory is each resident block's own; the static variables are exchanged.
void exchange_shared(unsigned from, unsigned to);
bool set_dynamic_shared(size_t bytes);  // of every resident block
std::string address_name(const void* address);
const std::vector<Range>& shared_ranges();
void protect_device_memory(bool reachable);
bool device_range(uintptr_t address, size_t bytes);
uintptr_t arena_base();
size_t arena_size();
const Range& dynamic_range();

// scheduler.cpp
extern Schedule schedule_now;
extern uint64_t random_state;
Range stack_of(unsigned thread);
bool in_stacks(uintptr_t address);
void drop_copies(unsigned thread);
int pick();
void take(int thread);
void set_ready(unsigned thread);
void stop();
void prepare(unsigned thread);
// Runs thread `next` of the chosen block, or the host for -1; returns when `from`, the host for nullptr, is to run again.
void resume(Thread* from, int next);
void start_fibers(unsigned count, Body body, const void* arguments);
void clean_stacks();
bool was_abandoned();

// grid.cpp
extern uint64_t idle;  // weight of the atomics and polls since something changed
int other_block();     // a thread of another block that can go on, which is chosen then, or -1

// bulk.cpp, wgmma.cpp
void bulk_begin_block();
bool bulk_deliver();  // the copies that somebody waits for; whether a thread can go on then
void bulk_end_block();
std::string bulk_missing(unsigned thread);  // at the barrier that the thread waits for
void wgmma_begin_block();
void wgmma_leave(unsigned thread);
void wgmma_end_block();

// clocks.cpp, race.cpp; empty where the race build is not
using Row = std::shared_ptr<const std::vector<uint32_t>>;  // the clocks of a block's threads, as somebody knows them
struct PhaseClocks {
  std::vector<uint32_t> gathered;  // of who arrived at an mbarrier
  Row completed, from, to;         // `to` is the last result of merging `from` into `completed`
};
struct BulkWrite {
  const void* address;
  size_t bytes;
  unsigned thread;
  uint32_t clock;
  uint64_t cell;
};
// Makes what follows the access of this thread.
class RaceAs {
 public:
  explicit RaceAs(unsigned thread) : saved_(current) { current = static_cast<int>(thread); }
  ~RaceAs() { current = saved_; }

 private:
  int saved_;
};
void race_begin_grid();
void race_select(unsigned to);
void race_begin_block();
void race_sync_warp(unsigned warp, uint32_t mask);
void race_sync_block();
void race_sync_named(const std::vector<unsigned>& arrived, const std::vector<unsigned>& waiting);
void race_fence();
void race_release(const void* address);
void race_acquire(const void* address);
void race_arrive(PhaseClocks& phase);
void race_complete(PhaseClocks& phase);
void race_pass(PhaseClocks& phase, unsigned thread);
void race_proxy_fence();
void race_touch(const void* address, size_t bytes, Access access, bool pending, const Site& site);
BulkWrite race_bulk_write(const void* address, size_t bytes, const Site& site);
void race_settle(const BulkWrite& write, PhaseClocks& phase);  // the bytes are there
void race_bulk_read(const void* address, size_t bytes, const Site& site);
void race_bulk_reads_done(unsigned warp);

}  // namespace gatun::emulation

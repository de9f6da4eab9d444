// SPDX-License-Identifier: Apache-2.0
// What the emulated intrinsics need of the runtime: one fiber a CUDA thread, one block at a time, one primitive for warps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include "kernels/emulation/types.h"

namespace gatun::emulation {

using Site = std::source_location;

// What the detectors can find. Names as reported are in report.cpp.
enum class Defect : unsigned {
  kDivergence,     // threads of a block at different barriers
  kLeft,           // a thread left the kernel before a barrier that others wait at
  kWrongMask,      // a lane calls a warp operation with a mask that lacks it, or lanes name masks that contradict
  kDeadLane,       // a mask names a lane that has left, or that the block does not have
  kDifferent,      // lanes of one mask at different warp operations or lines
  kDeadlock,       // no thread can go on
  kBounds,         // an address outside what the kernel may touch
  kAlignment,      // an address that the instruction does not take
  kRace,           // two threads, one a writer, that nothing orders
  kUninitialised,  // a read of shared memory that nobody in this block has written
  kCopy,           // a read of, or an exit before, an asynchronous copy that was not waited for
  kPhase,          // an mbarrier not initialised, too many arrivals, bytes not expected, the wrong phase
  kWgmma,          // products without fence or wait, accumulators touched before, warps of a warpgroup that differ
  kProxy,          // ordinary writes to shared memory that wgmma or bulk copies need not see yet
  kCount
};

// The order in which threads run. Every order is legal on a GPU; a kernel's result must not depend on it.
struct Schedule {
  enum Kind { kForward, kReverse, kRandom, kAhead, kBehind };
  Kind kind = kForward;
  uint64_t seed = 0;
  std::string name() const;
};
void set_schedule(const Schedule& schedule);
Schedule schedule();

// Reports go to standard error and make the launch fail with cudaErrorLaunchFailure, as a fault does on a GPU.
const std::string& last_report();
void clear_report();
// Tests switch a detector off to show that it is what found a planted bug.
void set_detection(Defect defect, bool on);
bool detects(Defect defect);
const char* defect_name(Defect defect);

// Warp operations. The last lane of the mask to arrive runs `combine` for all: arguments[lane] is what that lane passed.
enum class Op { kSync, kShuffle, kVote, kMatch, kReduce, kLdmatrix, kMma, kWgmma };
using Combine = void (*)(uint32_t mask, void* const* arguments);
void collective(Op op, uint32_t mask, void* argument, Combine combine, const Site& site);
void warp_fault(Defect defect, const char* text, const Site& site);

// Barriers of the block. Returns the number of threads whose predicate holds.
enum class Barrier { kPlain, kCount, kAnd, kOr };
int block_barrier(Barrier kind, bool predicate, const Site& site);
// Named barriers: `count` threads in whole warps; arriving does not wait.
void named_barrier(int id, int count, bool wait, const Site& site);

unsigned lane_id();
// After an atomic (did it change anything?), or in a loop that waits: others run.
enum class Pause { kChanged, kUnchanged, kPoll };
void yield(Pause pause, const Site* site = nullptr);
void fence();
// Of atomics that order: what the calling thread's block did before a release, whoever acquires at the same address knows of.
void release(const void* address);
void acquire(const void* address);
void require_cooperative(const Site& site);
int resident_blocks(unsigned threads, size_t shared_bytes);
unsigned char* dynamic_shared();
size_t dynamic_shared_bytes();

// Memory as the checks see it. Instructions that the compiler cannot instrument announce what they touch.
enum class Access { kRead, kWrite, kAtomic, kAtomicRead };
bool touch(const void* address, size_t bytes, Access access, const Site& site);
bool is_shared(const void* address);
bool is_device(const void* address, size_t bytes);

void copy_async(void* shared, const void* global, int bytes, int source_bytes, const Site& site);
void copy_commit();
void copy_wait(int pending_groups);

using Body = void (*)(const void* arguments);
int run_grid(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, bool all_at_once, Body body, const void* arguments);

}  // namespace gatun::emulation

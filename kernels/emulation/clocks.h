// SPDX-License-Identifier: Apache-2.0
// Who knows of whose accesses, in the race build. Each thread has a clock that it advances when it synchronises; an access is ordered
// before another when the later thread has, through such a synchronisation, learned of the clock of the earlier one.
#pragma once

#include <map>

#include "kernels/emulation/internal.h"

#if GATUN_EMULATION_RACE
namespace gatun::emulation {

constexpr uint64_t kLastSerial = (1u << 21) - 1, kLastClock = 0xffff;

// What threads know of the other blocks: clocks of their threads, by the block's serial.
using Knowledge = std::map<uint64_t, std::vector<uint32_t>>;

struct Fences {
  bool fenced = false;
  Knowledge before;                // all that the last fence releases
  std::vector<uintptr_t> atomics;  // since the last fence
};

// The clocks of a resident block.
struct Clocks {
  uint64_t serial = 0;
  uint32_t clocks[kMaxThreads], at_barrier[kMaxThreads];
  uint32_t seen[kMaxThreads][32];            // of the lanes of the own warp
  Row row[kMaxThreads];                      // of all threads, through named barriers and mbarriers
  uint32_t proxy_clock[kMaxThreads];         // at the last proxy_fence ...
  Row proxy_row[kMaxThreads];                // ... and what was known then
  bool learned = false, proxied = false;
  Knowledge everyone;           // what all threads of the block know of others
  Knowledge own[kMaxThreads];   // what a thread has learned since the last barrier
  Fences fences[kMaxThreads];
};

extern Clocks* now;  // of the running block
extern uint64_t launch_first;

// Whether the running thread knows of what `thread` of the block with this serial did at that clock, whether bulk copies and wgmma may see it.
bool ordered(uint64_t serial, unsigned thread, uint32_t clock);
bool proxy_ordered(unsigned thread, uint32_t clock);
void advance(unsigned thread);
void clocks_begin_grid();
// Of an atomic in global memory by the running thread.
void clocks_atomic(uintptr_t address, bool writes);
// Forgets all accesses there ever were.
void forget_shadow();

}  // namespace gatun::emulation
#endif

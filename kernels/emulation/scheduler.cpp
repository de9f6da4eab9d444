// SPDX-License-Identifier: Apache-2.0
// Fibers, the order in which they run, and what they wait at.
#include <sys/mman.h>

#include <algorithm>

#include "kernels/emulation/internal.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace gatun::emulation {

Resident residents[kResident];
unsigned slot = 0;
Thread* threads = residents[0].threads;
Block block;
int current = -1;
bool inside = false;
Schedule schedule_now;
uint64_t random_state = 1;

namespace {

constexpr size_t kStack = GATUN_EMULATION_ASAN ? size_t{256} << 10 : size_t{64} << 10;
constexpr size_t kGuard = 4096;  // below every stack: an overflow faults at once

unsigned char* stacks[kResident] = {};  // made when a launch first needs them, as are the guards
unsigned guarded[kResident] = {};
bool abandoned = false;
Body body_now = nullptr;
const void* arguments_now = nullptr;
unsigned polled = 0;
int fair = -1;  // who was chosen last because it was its turn

#if GATUN_EMULATION_SWITCH
void* main_context;
#else
ucontext_t main_context;
#endif

}  // namespace

uint64_t random_next(uint64_t& state) {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

Range stack_of(unsigned thread) {
  const auto low = reinterpret_cast<uintptr_t>(stacks[slot]) + thread * (kStack + kGuard) + kGuard;
  return {low, low + kStack};
}
bool in_stacks(uintptr_t address) {
  return std::any_of(stacks, stacks + live_slots, [=](const unsigned char* all) {
    return address - reinterpret_cast<uintptr_t>(all) < kMaxThreads * (kStack + kGuard);
  });
}

}  // namespace gatun::emulation

#if GATUN_EMULATION_SWITCH
// Only what a call must keep is saved; a kernel does not change the floating-point control words.
extern "C" void gatun_emulation_switch(void** save, void* load);
asm(R"(
.text
.type gatun_emulation_switch, @function
gatun_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gatun_emulation_switch, .-gatun_emulation_switch
)");
#endif

namespace gatun::emulation {

void resume(Thread* from, int next) {
  current = next;
  if (next >= 0) threadIdx = threads[next].index;
#if GATUN_EMULATION_SWITCH
  gatun_emulation_switch(from == nullptr ? &main_context : &from->stack_pointer, next < 0 ? main_context : threads[next].stack_pointer);
#else
  swapcontext(from == nullptr ? &main_context : &from->context, next < 0 ? &main_context : &threads[next].context);
#endif
}

namespace {

unsigned lowest(uint32_t bits) { return static_cast<unsigned>(std::countr_zero(bits)); }
unsigned highest(uint32_t bits) { return 31u - static_cast<unsigned>(std::countl_zero(bits)); }
uint32_t above(unsigned bit) { return bit >= 31 ? 0 : ~0u << (bit + 1); }
uint32_t below(unsigned bit) { return (1u << bit) - 1; }

// Not uniform, but quick: it is done at every switch.
unsigned any(uint32_t bits) {
  const auto skip = static_cast<int>(random_next(random_state) >> 59);
  return (static_cast<unsigned>(skip) + lowest(std::rotr(bits, skip))) % 32;
}

int forward_from(int thread, uint32_t warps) {
  const unsigned warp = thread < 0 ? 0 : static_cast<unsigned>(thread) / 32, lane = static_cast<unsigned>(thread) % 32;
  if (thread >= 0 && (warps >> warp & 1) != 0) {
    if (const uint32_t rest = block.ready[warp] & above(lane); rest != 0) return static_cast<int>(warp * 32 + lowest(rest));
  }
  const uint32_t later = thread < 0 ? 0 : warps & above(warp);
  const unsigned next = lowest(later != 0 ? later : warps);
  return static_cast<int>(next * 32 + lowest(block.ready[next]));
}

}  // namespace

int pick() {
  const uint32_t warps = block.ready_warps;
  if (warps == 0) return -1;
  const unsigned warp = current < 0 ? 0 : static_cast<unsigned>(current) / 32, lane = static_cast<unsigned>(current) % 32;
  const uint32_t one = 1u << block.favourite;
  switch (schedule_now.kind) {
    case Schedule::kForward: return forward_from(current, warps);
    case Schedule::kReverse: {
      if (current >= 0) {
        if (const uint32_t rest = block.ready[warp] & below(lane); rest != 0) return static_cast<int>(warp * 32 + highest(rest));
      }
      const uint32_t earlier = current < 0 ? 0 : warps & below(warp);
      const unsigned next = highest(earlier != 0 ? earlier : warps);
      return static_cast<int>(next * 32 + highest(block.ready[next]));
    }
    case Schedule::kRandom: {
      const unsigned next = any(warps);
      return static_cast<int>(next * 32 + any(block.ready[next]));
    }
    // One warp gets as far from the others as the barriers let it: what uniform choices hardly ever try. While somebody polls, what
    // it waits for may be up to any of them.
    case Schedule::kAhead:
    case Schedule::kBehind:
      if (idle > 0 && ++polled % 8 == 0) return fair = forward_from(fair, warps);
      if (schedule_now.kind == Schedule::kBehind) return forward_from(current, (warps & ~one) != 0 ? warps & ~one : warps);
      return forward_from(current, (warps & one) != 0 ? one : warps);
  }
  return -1;
}

void set_ready(unsigned thread) {
  block.ready[thread / 32] |= 1u << thread % 32;
  block.ready_warps |= 1u << thread / 32;
  threads[thread].state = State::kReady;
}

void take(int thread) {
  if (thread < 0) return;
  uint32_t& ready = block.ready[thread / 32];
  ready &= ~(1u << thread % 32);
  if (ready == 0) block.ready_warps &= ~(1u << thread / 32);
}

// The running thread stops here until somebody makes it ready.
void stop() {
  Thread* const from = &threads[current];
  int next = pick();
  if (next < 0 && bulk_deliver()) next = pick();
  if (next < 0 && cooperative) next = other_block();
  take(next);
  if (next < 0 || &threads[next] != from) resume(from, next);
}

namespace {

__attribute__((noinline)) void leave() {
  const auto me = static_cast<unsigned>(current);
  Thread& thread = threads[me];
  thread.state = State::kDone;
  block.done[me / 32] |= 1u << me % 32;
  ++block.done_count;
  idle = 0;
  const AsyncCopy* unfinished = thread.open.empty() ? nullptr : &thread.open.front();
  for (const auto& group : thread.groups) unfinished = group.empty() ? unfinished : &group.front();
  if (unfinished != nullptr) fault(Defect::kCopy, "the thread left the kernel before it waited for its cp.async", &unfinished->site);
  drop_copies(me);
  wgmma_leave(me);
  if (block.done_count == block.threads) {
    bulk_end_block();
    wgmma_end_block();
  }
  if (block.at_barrier > 0) {
    const Thread& other = threads[block.first_at_barrier];
    fault(Defect::kLeft, "the thread left the kernel; " + thread_name(static_cast<unsigned>(block.first_at_barrier)) +
          " waits for it at the barrier", &other.site);
  }
  for (uint32_t others = block.waiting[me / 32]; others != 0; others &= others - 1) {
    const Thread& other = threads[me / 32 * 32 + lowest(others)];
    if ((other.mask >> me % 32 & 1) != 0) fault(Defect::kDeadLane, "the lane left the kernel, but a mask names it", &other.site);
  }
}

// Never returns, so it must have nothing that the address sanitizer would have to clean up.
__attribute__((no_sanitize("address"))) void fiber() {
  inside = false;
  body_now(arguments_now);
  inside = true;
  leave();
  stop();
}

}  // namespace

void prepare(unsigned thread) {
  const Range stack = stack_of(thread);
#if GATUN_EMULATION_SWITCH
  auto** top = reinterpret_cast<void**>(stack.high);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(&fiber);
  std::fill(top - 8, top - 2, nullptr);
  threads[thread].stack_pointer = top - 8;
#else
  ucontext_t& context = threads[thread].context;
  getcontext(&context);
  context.uc_stack.ss_sp = reinterpret_cast<void*>(stack.low);
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, fiber, 0);
#endif
}

namespace {

void make_stacks(unsigned count) {
  for (unsigned i = 0; i < live_slots; ++i) {
    if (stacks[i] == nullptr) {
      stacks[i] = static_cast<unsigned char*>(mmap(nullptr, kMaxThreads * (kStack + kGuard), PROT_READ | PROT_WRITE,
                                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    for (unsigned& done = guarded[i]; done < count; ++done) mprotect(stacks[i] + done * (kStack + kGuard), kGuard, PROT_NONE);
  }
}

}  // namespace

void abandon() {
  abandoned = true;
  if (current >= 0) resume(&threads[current], -1);
}
bool was_abandoned() { return abandoned; }

void start_fibers(unsigned count, Body body, const void* arguments) {
  make_stacks(count);
  body_now = body;
  arguments_now = arguments;
  abandoned = false;
}

void clean_stacks() {  // of frames that were never left
  for (unsigned i = 0; i < block.threads; ++i) {
    const Range stack = stack_of(i);
    ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(stack.low), stack.high - stack.low);
  }
}

std::string Schedule::name() const {
  static const char* const names[] = {"forward", "reverse", "random", "ahead", "behind"};
  return names[kind] + (kind >= kRandom ? ":" + std::to_string(seed) : "");
}
void set_schedule(const Schedule& schedule) { schedule_now = schedule; }
Schedule schedule() { return schedule_now; }
unsigned lane_id() { return static_cast<unsigned>(current) % 32; }

void drop_copies(unsigned thread) {
  threads[thread].open.clear();
  threads[thread].groups.clear();
}

void collective(Op op, uint32_t mask, void* argument, Combine combine, const Site& site) {
  const Inside guard;
  idle = 0;
  const auto me = static_cast<unsigned>(current);
  const unsigned warp = me / 32, lane = me % 32;
  const uint32_t self = 1u << lane;
  if ((mask & self) == 0) fault(Defect::kWrongMask, "the mask does not name the lane that calls", &site);
  if ((mask & ~block.lanes[warp]) != 0) fault(Defect::kDeadLane, "the mask names lanes that the block does not have", &site);
  if ((mask & block.done[warp]) != 0) fault(Defect::kDeadLane, "the mask names lanes that have left the kernel", &site);
  Thread& thread = threads[me];
  for (uint32_t others = block.waiting[warp] & mask; others != 0; others &= others - 1) {
    const Thread& other = threads[warp * 32 + lowest(others)];
    if (other.mask == mask) {
      if (other.op != op || other.site.line() != site.line() || other.site.file_name() != site.file_name()) {
        fault(Defect::kDifferent, "another lane of the mask waits at a different warp operation, " + where(other.site), &site);
      }
      break;  // the others of its group agree with it
    }
    if ((other.mask & self) != 0) fault(Defect::kWrongMask, "another lane waits for this one with a different mask, " + where(other.site), &site);
  }
  thread.op = op;
  thread.mask = mask;
  thread.argument = argument;
  thread.site = site;
  thread.state = State::kWarp;
  block.waiting[warp] |= self;
  bool complete = (block.waiting[warp] & mask) == mask;
  for (uint32_t rest = mask; complete && rest != 0; rest &= rest - 1) complete = threads[warp * 32 + lowest(rest)].mask == mask;
  if (!complete) return stop();

  void* arguments[32] = {};
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) arguments[lowest(rest)] = threads[warp * 32 + lowest(rest)].argument;
  if (combine != nullptr) combine(mask, arguments);
  if (op == Op::kSync) race_sync_warp(warp, mask);  // shuffles and votes order no memory
  block.waiting[warp] &= ~mask;
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) set_ready(warp * 32 + lowest(rest));
  stop();
}

int block_barrier(Barrier kind, bool predicate, const Site& site) {
  const Inside guard;
  idle = 0;
  const auto me = static_cast<unsigned>(current);
  Thread& thread = threads[me];
  if (block.done_count > 0) {
    unsigned gone = 0;
    while (threads[gone].state != State::kDone) ++gone;
    fault(Defect::kLeft, thread_name(gone) + " left the kernel before this barrier", &site);
  }
  if (block.at_barrier > 0) {
    const Thread& other = threads[block.first_at_barrier];
    if (other.barrier != kind || other.site.line() != site.line() || other.site.file_name() != site.file_name()) {
      fault(Defect::kDivergence, thread_name(static_cast<unsigned>(block.first_at_barrier)) + " waits at a different barrier, " + where(other.site), &site);
    }
  } else {
    block.first_at_barrier = current;
    block.barrier_result = 0;
  }
  thread.state = State::kBlock;
  thread.barrier = kind;
  thread.site = site;
  block.barrier_result += predicate ? 1 : 0;
  if (++block.at_barrier == block.threads) {
    race_sync_block();
    block.at_barrier = 0;
    for (unsigned i = 0; i < block.threads; ++i) {
      threads[i].argument = reinterpret_cast<void*>(static_cast<intptr_t>(block.barrier_result));
      set_ready(i);
    }
    if (cooperative && schedule_now.kind == Schedule::kRandom && random_next(random_state) % 4 == 0) {
      if (const int next = other_block(); next >= 0) {
        take(next);
        resume(&thread, next);
        return static_cast<int>(reinterpret_cast<intptr_t>(thread.argument));
      }
    }
  }
  stop();
  return static_cast<int>(reinterpret_cast<intptr_t>(thread.argument));
}

void named_barrier(int id, int count, bool wait, const Site& site) {
  const Inside guard;
  if (id < 0 || id > 15 || count <= 0 || count % 32 != 0) return fault(Defect::kWrongMask, "named barriers are 0 to 15, for whole warps", &site);
  idle = 0;
  Named& barrier = residents[slot].named[id];
  if (barrier.arrived.empty()) barrier.count = count;
  if (barrier.count != count) fault(Defect::kDivergence, "threads give the named barrier different counts", &site);
  const auto me = static_cast<unsigned>(current);
  barrier.arrived.push_back(me);
  if (wait) {
    threads[me].state = State::kNamed;
    threads[me].site = site;
    barrier.waiting.push_back(me);
  }
  if (static_cast<int>(barrier.arrived.size()) == count) {
    race_sync_named(barrier.arrived, barrier.waiting);
    for (const unsigned i : barrier.waiting) set_ready(i);
    barrier.arrived.clear();
    barrier.waiting.clear();
  }
  if (wait) stop();
}

}  // namespace gatun::emulation

// SPDX-License-Identifier: Apache-2.0
// Fibers, the order in which they run, and the life of a grid.
#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <numeric>

#include "kernels/emulation/host.h"
#include "kernels/emulation/internal.h"
#if !GATUN_EMULATION_SWITCH
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace gatun::emulation {

Thread threads[kMaxThreads];
Block block;
int current = -1;
const void* kernel_now = nullptr;
uint64_t launches = 0;
bool inside = false;

namespace {

constexpr size_t kStack = GATUN_EMULATION_ASAN ? size_t{256} << 10 : size_t{64} << 10;
constexpr uint64_t kMostYields = 4'000'000;
constexpr size_t kGuard = 4096;  // below every stack: an overflow faults at once

Schedule schedule_now;
uint64_t random_state = 1;
unsigned favourite = 0;  // the warp that runs ahead or behind
unsigned char* stacks = nullptr;
bool abandoned = false;
Body body_now = nullptr;
const void* arguments_now = nullptr;
unsigned atomics = 0;

#if GATUN_EMULATION_SWITCH
void* main_context;
#else
ucontext_t main_context, contexts[kMaxThreads];
#endif

}  // namespace

uint64_t random_next(uint64_t& state) {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

Range stack_of(unsigned thread) {
  const auto low = reinterpret_cast<uintptr_t>(stacks) + thread * (kStack + kGuard) + kGuard;
  return {low, low + kStack};
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
namespace {

void switch_to(int next) {
  const int from = current;
  current = next;
  if (next >= 0) threadIdx = threads[next].index;
#if GATUN_EMULATION_SWITCH
  gatun_emulation_switch(from < 0 ? &main_context : &threads[from].stack_pointer, next < 0 ? main_context : threads[next].stack_pointer);
#else
  swapcontext(from < 0 ? &main_context : &contexts[from], next < 0 ? &main_context : &contexts[next]);
#endif
}

unsigned lowest(uint32_t bits) { return static_cast<unsigned>(std::countr_zero(bits)); }
unsigned highest(uint32_t bits) { return 31u - static_cast<unsigned>(std::countl_zero(bits)); }
uint32_t above(unsigned bit) { return bit >= 31 ? 0 : ~0u << (bit + 1); }
uint32_t below(unsigned bit) { return (1u << bit) - 1; }

unsigned any(uint32_t bits) {
  unsigned skip = static_cast<unsigned>(random_next(random_state) % static_cast<unsigned>(std::popcount(bits)));
  while (skip-- > 0) bits &= bits - 1;
  return lowest(bits);
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

int pick() {
  const uint32_t warps = block.ready_warps;
  if (warps == 0) return -1;
  const unsigned warp = current < 0 ? 0 : static_cast<unsigned>(current) / 32, lane = static_cast<unsigned>(current) % 32;
  const uint32_t one = 1u << favourite;
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
    // One warp gets as far from the others as the barriers let it: what uniform choices hardly ever try.
    case Schedule::kAhead: return forward_from(current, (warps & one) != 0 ? one : warps);
    case Schedule::kBehind: return forward_from(current, (warps & ~one) != 0 ? warps & ~one : warps);
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
  const int next = pick();
  take(next);
  if (next != current) switch_to(next);
}

__attribute__((noinline)) void leave() {
  const auto me = static_cast<unsigned>(current);
  Thread& thread = threads[me];
  thread.state = State::kDone;
  block.done[me / 32] |= 1u << me % 32;
  ++block.done_count;
  const AsyncCopy* unfinished = thread.open.empty() ? nullptr : &thread.open.front();
  for (const auto& group : thread.groups) unfinished = group.empty() ? unfinished : &group.front();
  if (unfinished != nullptr) fault(Defect::kCopy, "the thread left the kernel before it waited for its cp.async", &unfinished->site);
  drop_copies(me);
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

void prepare(unsigned thread) {
  const Range stack = stack_of(thread);
#if GATUN_EMULATION_SWITCH
  auto** top = reinterpret_cast<void**>(stack.high);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(&fiber);
  std::fill(top - 8, top - 2, nullptr);
  threads[thread].stack_pointer = top - 8;
#else
  getcontext(&contexts[thread]);
  contexts[thread].uc_stack.ss_sp = reinterpret_cast<void*>(stack.low);
  contexts[thread].uc_stack.ss_size = kStack;
  contexts[thread].uc_link = nullptr;
  makecontext(&contexts[thread], fiber, 0);
#endif
}

void make_stacks() {
  if (stacks != nullptr) return;
  stacks = static_cast<unsigned char*>(mmap(nullptr, kMaxThreads * (kStack + kGuard), PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  for (unsigned i = 0; i < kMaxThreads; ++i) mprotect(stacks + i * (kStack + kGuard), kGuard, PROT_NONE);
}

// Nobody can run: either lanes wait for each other with masks that contradict, or it is a plain deadlock.
void report_deadlock() {
  const auto waits = [](unsigned i) { return threads[i].state != State::kDone; };
  const auto same = [](unsigned i, unsigned j) {
    return threads[j].state == threads[i].state && where(threads[j].site) == where(threads[i].site);
  };
  unsigned first = 0;
  while (!waits(first)) ++first;
  Defect defect = Defect::kDeadlock;
  std::string text = "no thread can go on:";
  for (unsigned i = first, last = i; i < block.threads; i = ++last) {
    if (!waits(i)) continue;
    while (last + 1 < block.threads && same(i, last + 1)) ++last;
    text += std::string(i == first ? " " : ", ") + thread_name(i) + (last > i ? " to " + thread_name(last) : "") +
            (threads[i].state == State::kWarp ? " at the warp operation " : " at the barrier ") + where(threads[i].site);
  }
  for (unsigned i = first; i < block.threads; ++i) {
    if (threads[i].state != State::kWarp) continue;
    for (uint32_t others = block.waiting[i / 32] & threads[i].mask; others != 0; others &= others - 1) {
      const Thread& other = threads[i / 32 * 32 + lowest(others)];
      if (other.mask == threads[i].mask || (other.mask >> i % 32 & 1) == 0) continue;
      defect = Defect::kWrongMask;
      first = i;
      text = thread_name(i) + " and another lane wait for each other with different masks, " + where(other.site);
      i = block.threads - 1;
      break;
    }
  }
  current = -1;
  threadIdx = threads[first].index;
  const Site site = threads[first].site;
  fault(defect, text, &site);
  abandoned = true;
}

void run_block(unsigned count) {
  block = Block{};
  block.threads = count;
  block.warps = (count + 31) / 32;
  random_state = schedule_now.seed * 0x9e3779b97f4a7c15u + launches * 1000003u + blockIdx.x + 7919u * blockIdx.y + 104729u * blockIdx.z;
  favourite = static_cast<unsigned>(random_next(random_state) % block.warps);
  for (unsigned i = 0; i < count; ++i) {
    threads[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    prepare(i);
    set_ready(i);
    block.lanes[i / 32] |= 1u << i % 32;
  }
  begin_block_memory();
  race_begin_block();
  const int first = pick();
  take(first);
  switch_to(first);
  if (!abandoned && block.done_count < count) report_deadlock();
  current = -1;
  if (abandoned) {
    for (unsigned i = 0; i < count; ++i) {
      drop_copies(i);
      const Range stack = stack_of(i);  // frames that were never left
      ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(stack.low), kStack);
    }
  }
}

}  // namespace

void abandon() {
  abandoned = true;
  if (current >= 0) switch_to(-1);
}

std::string Schedule::name() const {
  static const char* const names[] = {"forward", "reverse", "random", "ahead", "behind"};
  return names[kind] + (kind >= kRandom ? ":" + std::to_string(seed) : "");
}
void set_schedule(const Schedule& schedule) { schedule_now = schedule; }
Schedule schedule() { return schedule_now; }
unsigned lane_id() { return static_cast<unsigned>(current) % 32; }

void yield(const Site* site) {
  if (current < 0) return;
  const Inside guard;
  if (++block.yields == kMostYields) fault(Defect::kDeadlock, "a block does four million atomics: it waits for another block, or for ever", site);
  // Enough for a thread that spins on an atomic to let the others run.
  const bool now = schedule_now.kind == Schedule::kRandom ? random_next(random_state) % 4 == 0 : ++atomics % 16 == 0;
  if (!now) return;
  set_ready(static_cast<unsigned>(current));
  stop();
}

void drop_copies(unsigned thread) {
  threads[thread].open.clear();
  threads[thread].groups.clear();
}

void collective(Op op, uint32_t mask, void* argument, Combine combine, const Site& site) {
  const Inside guard;
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
  }
  stop();
  return static_cast<int>(reinterpret_cast<intptr_t>(thread.argument));
}

void named_barrier(int id, int count, bool wait, const Site& site) {
  const Inside guard;
  static struct { std::vector<unsigned> arrived, waiting; int count; uint64_t launch; unsigned bx, by, bz; } named[16];
  if (id < 0 || id > 15 || count <= 0 || count % 32 != 0) return fault(Defect::kWrongMask, "named barriers are 0 to 15, for whole warps", &site);
  auto& barrier = named[id];
  if (barrier.launch != launches || barrier.bx != blockIdx.x || barrier.by != blockIdx.y || barrier.bz != blockIdx.z) {
    barrier = {{}, {}, count, launches, blockIdx.x, blockIdx.y, blockIdx.z};
  }
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
    uint32_t warps = 0;
    for (const unsigned i : barrier.waiting) warps |= 1u << i / 32;
    race_sync_named(barrier.arrived, warps);
    for (const unsigned i : barrier.waiting) set_ready(i);
    barrier.arrived.clear();
    barrier.waiting.clear();
  }
  if (wait) stop();
}

int run_grid(const void* kernel, dim3 grid, dim3 threads_of_block, size_t shared_bytes, Body body, const void* arguments) {
  static std::recursive_mutex one_grid;
  const std::lock_guard<std::recursive_mutex> lock(one_grid);
  const uint64_t count = uint64_t{threads_of_block.x} * threads_of_block.y * threads_of_block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || count == 0 ||
      count > kMaxThreads || threads_of_block.z > 64 || !set_dynamic_shared(shared_bytes)) {
    return cudaErrorInvalidConfiguration;
  }
  make_stacks();
  ++launches;
  gridDim = grid;
  blockDim = threads_of_block;
  kernel_now = kernel;
  body_now = body;
  arguments_now = arguments;
  abandoned = false;
  clear_report();
  protect_device_memory(true);
  race_begin_grid();
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  std::vector<uint64_t> order(blocks);
  std::iota(order.begin(), order.end(), uint64_t{0});
  uint64_t state = schedule_now.seed + launches;
  if (schedule_now.kind == Schedule::kReverse) std::reverse(order.begin(), order.end());
  if (schedule_now.kind == Schedule::kRandom) {
    for (uint64_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random_next(state) % i]);
  }
  for (uint64_t i = 0; i < blocks && !abandoned; ++i) {
    blockIdx = {static_cast<unsigned>(order[i] % grid.x), static_cast<unsigned>(order[i] / grid.x % grid.y),
                static_cast<unsigned>(order[i] / grid.x / grid.y)};
    run_block(static_cast<unsigned>(count));
  }
  protect_device_memory(false);
  kernel_now = nullptr;
  return last_report().empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace gatun::emulation

// SPDX-License-Identifier: Apache-2.0
// The life of a grid: its blocks run one after the other or, in a cooperative launch, live all at once. Then the running block changes
// where a thread waits for others: at a poll, now and then at an atomic and, under the random schedules, at barriers.
#include <algorithm>
#include <numeric>

#include "kernels/emulation/host.h"
#include "kernels/emulation/internal.h"

namespace gatun::emulation {

const void* kernel_now = nullptr;
uint64_t launches = 0;
bool cooperative = false;
unsigned live_slots = 1;
uint64_t idle = 0;
thread_local bool runs_grid = false;

namespace {

// So much waiting without any change is waiting for ever. A poll gives all the others a turn, an atomic may be work.
constexpr uint64_t kMostIdle = 400'000, kPollWeight = 20;

unsigned favourite_block = 0;  // runs ahead or behind
unsigned pauses = 0, turns = 0;

void select(unsigned to) {
  if (to == slot) return;
  block.last = current;
  residents[slot].block = block;
  exchange_shared(slot, to);
  slot = to;
  threads = residents[to].threads;
  block = residents[to].block;
  blockIdx = residents[to].index;
  race_select(to);
}

bool can_run(unsigned i) { return (i == slot ? block : residents[i].block).ready_warps != 0; }

std::string triple(const uint3& v) { return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")"; }

std::string blocks_that_left() {
  std::string text;
  for (unsigned i = 0; cooperative && i < live_slots; ++i) {
    const Block& other = i == slot ? block : residents[i].block;
    if (other.done_count == other.threads) text += "; block " + triple(residents[i].index) + " has left the kernel";
  }
  return text;
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
            (threads[i].state == State::kWarp ? " at the warp operation " : " at the barrier ") + where(threads[i].site) +
            (threads[i].state == State::kPhase ? bulk_missing(i) : "");
  }
  for (unsigned i = first; i < block.threads; ++i) {
    if (threads[i].state != State::kWarp) continue;
    for (uint32_t others = block.waiting[i / 32] & threads[i].mask; others != 0; others &= others - 1) {
      const Thread& other = threads[i / 32 * 32 + static_cast<unsigned>(std::countr_zero(others))];
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
  abandon();
}

// A block of `count` threads, ready to run, in the chosen slot.
void begin_block(const uint3& index, unsigned count) {
  block = Block{};
  block.threads = count;
  block.warps = (count + 31) / 32;
  blockIdx = residents[slot].index = index;
  random_state = schedule_now.seed * 0x9e3779b97f4a7c15u + launches * 1000003u + index.x + 7919u * index.y + 104729u * index.z;
  block.favourite = static_cast<unsigned>(random_next(random_state) % block.warps);
  for (Named& barrier : residents[slot].named) barrier = {};
  for (unsigned i = 0; i < count; ++i) {
    threads[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    prepare(i);
    set_ready(i);
    block.lanes[i / 32] |= 1u << i % 32;
  }
  begin_block_memory();
  bulk_begin_block();
  wgmma_begin_block();
  race_begin_block();
}

void run_blocks() {
  current = -1;
  const int first = pick();
  take(first);
  resume(nullptr, first);
  for (unsigned i = 0; i < live_slots; ++i) {
    select(i);
    if (!was_abandoned() && block.done_count < block.threads) report_deadlock();
  }
  current = -1;
  for (unsigned i = 0; was_abandoned() && i < live_slots; ++i) {
    select(i);
    for (unsigned thread = 0; thread < block.threads; ++thread) drop_copies(thread);
    clean_stacks();
  }
  select(0);
}

void run_all_at_once(const std::vector<uint3>& order, unsigned count) {
  for (unsigned i = 0; i < live_slots; ++i) {
    current = -1;
    select(i);
    begin_block(order[i], count);
  }
  favourite_block = static_cast<unsigned>(random_next(random_state) % live_slots);
  current = -1;
  switch (schedule_now.kind) {
    case Schedule::kForward: case Schedule::kReverse: select(0); break;  // `order` is reversed already
    case Schedule::kRandom: case Schedule::kAhead: select(favourite_block); break;
    case Schedule::kBehind: select((favourite_block + 1) % live_slots); break;
  }
  run_blocks();
}

std::vector<uint3> order_of(dim3 grid) {
  std::vector<uint3> order;
  order.reserve(size_t{grid.x} * grid.y * grid.z);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) order.push_back({x, y, z});
    }
  }
  uint64_t state = schedule_now.seed + launches;
  if (schedule_now.kind == Schedule::kReverse) std::reverse(order.begin(), order.end());
  if (schedule_now.kind == Schedule::kRandom) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_next(state) % i]);
  }
  return order;
}

}  // namespace

int other_block() {
  unsigned choices[kResident], count = 0;
  for (unsigned i = 1; i < live_slots; ++i) {
    if (const unsigned other = (slot + i) % live_slots; can_run(other)) choices[count++] = other;
  }
  if (count == 0) return -1;
  unsigned to = choices[0];
  const auto favourite = std::find(choices, choices + count, favourite_block);
  switch (schedule_now.kind) {
    case Schedule::kForward: break;
    case Schedule::kReverse: to = choices[count - 1]; break;
    case Schedule::kRandom: to = choices[random_next(random_state) % count]; break;
    case Schedule::kAhead: to = favourite != choices + count ? favourite_block : to; break;
    case Schedule::kBehind: to = favourite == choices && count > 1 ? choices[1] : to; break;
  }
  if (++turns % 16 == 0) to = choices[turns / 16 % count];  // nobody waits for ever
  select(to);
  current = block.last;
  return pick();
}

void yield(Pause pause, const Site* site) {
  if (current < 0) return;
  const Inside guard;
  const bool poll = pause == Pause::kPoll, random = schedule_now.kind == Schedule::kRandom;
  idle = pause == Pause::kChanged ? 0 : idle + (poll ? kPollWeight : 1);
  if (idle > kMostIdle) {
    fault(Defect::kDeadlock, cooperative ? "the threads only wait, and nothing changes" + blocks_that_left()
                                         : "the threads only wait, and nothing changes: blocks of this launch run one after the other", site);
  }
  // Enough for a thread that spins on an atomic to let the others run.
  ++pauses;
  if (!poll && (random ? random_next(random_state) % 4 != 0 : pauses % 16 != 0)) return;
  Thread* const from = &threads[current];
  set_ready(static_cast<unsigned>(current));
  if (cooperative && (poll || (random ? random_next(random_state) % 4 == 0 : pauses % 64 == 0))) {
    if (const int next = other_block(); next >= 0) {
      take(next);
      return resume(from, next);
    }
  }
  stop();
}

void require_cooperative(const Site& site) {
  const Inside guard;
  if (!cooperative) fault(Defect::kDeadlock, "a grid barrier in a launch that is not cooperative", &site);
}

int resident_blocks(unsigned count, size_t shared_bytes) {
  return count > 0 && count <= kMaxThreads && shared_bytes <= kMaxShared ? static_cast<int>(kResident) : 0;
}

int run_grid(const void* kernel, dim3 grid, dim3 threads_of_block, size_t shared_bytes, bool all_at_once, Body body, const void* arguments) {
  const Hold hold(device_lock);
  const uint64_t count = uint64_t{threads_of_block.x} * threads_of_block.y * threads_of_block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || count == 0 ||
      count > kMaxThreads || threads_of_block.z > 64 || !set_dynamic_shared(shared_bytes)) {
    return cudaErrorInvalidConfiguration;
  }
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (all_at_once && blocks > kResident) return cudaErrorCooperativeLaunchTooLarge;
  live_slots = all_at_once ? static_cast<unsigned>(blocks) : 1;
  start_fibers(static_cast<unsigned>(count), body, arguments);
  ++launches;
  gridDim = grid;
  blockDim = threads_of_block;
  kernel_now = kernel;
  cooperative = all_at_once;
  idle = 0;
  clear_report();
  runs_grid = true;
  protect_device_memory(true);
  race_begin_grid();
  const std::vector<uint3> order = order_of(grid);
  if (cooperative) {
    run_all_at_once(order, static_cast<unsigned>(count));
  } else {
    for (size_t i = 0; i < order.size() && !was_abandoned(); ++i) {
      begin_block(order[i], static_cast<unsigned>(count));
      run_blocks();
    }
  }
  protect_device_memory(false);
  runs_grid = false;
  kernel_now = nullptr;
  cooperative = false;
  return last_report().empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace gatun::emulation

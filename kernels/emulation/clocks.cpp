// SPDX-License-Identifier: Apache-2.0
#include "kernels/emulation/clocks.h"

#if GATUN_EMULATION_RACE
#include <algorithm>
#include <cstring>

namespace gatun::emulation {

uint64_t launch_first = 1;

namespace {

uint64_t last_serial = 0;
Clocks all_clocks[kResident];
std::map<uintptr_t, Knowledge> released;  // by the atomic's address

}  // namespace

Clocks* now = all_clocks;

namespace {

void merge(std::vector<uint32_t>& into, const std::vector<uint32_t>& from) {
  into.resize(std::max(into.size(), from.size()));
  for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

void merge(Knowledge& into, const Knowledge& from) {
  for (const auto& [serial, clocks] : from) merge(into[serial], clocks);
}

bool knows(const Knowledge& knowledge, uint64_t serial, unsigned thread, uint32_t clock) {
  const auto clocks = knowledge.find(serial);
  return clocks != knowledge.end() && thread < clocks->second.size() && clock <= clocks->second[thread];
}

bool knows(const Row& row, unsigned thread, uint32_t clock) { return row != nullptr && thread < row->size() && clock <= (*row)[thread]; }

// What is ordered before the next access of a thread, of its own block.
std::vector<uint32_t> known_here(unsigned thread) {
  std::vector<uint32_t> result(now->at_barrier, now->at_barrier + block.threads);
  if (now->row[thread] != nullptr) merge(result, *now->row[thread]);
  const unsigned first = thread / 32 * 32;
  for (unsigned i = 0; i < 32 && first + i < block.threads; ++i) result[first + i] = std::max(result[first + i], now->seen[thread][i]);
  result[thread] = now->clocks[thread];
  return result;
}

// And of all blocks.
Knowledge known() {
  const auto me = static_cast<unsigned>(current);
  Knowledge result = now->everyone;
  if (now->learned) merge(result, now->own[me]);
  result[now->serial] = known_here(me);
  return result;
}

void learn(uintptr_t address) {
  const auto found = released.find(address);
  if (found == released.end()) return;
  merge(now->own[current], found->second);
  now->learned = true;
}

}  // namespace

bool ordered(uint64_t serial, unsigned thread, uint32_t clock) {
  const auto me = static_cast<unsigned>(current);
  if (serial != now->serial) {
    return serial < launch_first || knows(now->everyone, serial, thread, clock) || (now->learned && knows(now->own[me], serial, thread, clock));
  }
  return thread == me || clock <= now->at_barrier[thread] || (thread / 32 == me / 32 && clock <= now->seen[me][thread % 32]) ||
         knows(now->row[me], thread, clock);
}

bool proxy_ordered(unsigned thread, uint32_t clock) {
  return now->proxied && (clock <= now->proxy_clock[thread] || knows(now->proxy_row[current], thread, clock));
}

void advance(unsigned thread) {
  if (++now->clocks[thread] > kLastClock) {
    append_report("emulation: a thread synchronises more than 65535 times in a block; test a smaller case in the race build\n");
    now->clocks[thread] = kLastClock;
  }
}

void clocks_begin_grid() {
  launch_first = last_serial + 1;
  released.clear();
}

void race_select(unsigned to) { now = &all_clocks[to]; }

void race_begin_block() {
  // Once in two million blocks everything is forgotten, which can only miss a race. Blocks that live together keep their serials.
  if (++last_serial > kLastSerial && slot == 0) {
    forget_shadow();
    last_serial = launch_first = 1;
  }
  now->serial = last_serial;
  std::fill_n(now->clocks, block.threads, 1u);
  std::fill_n(now->at_barrier, block.threads, 0u);
  std::fill_n(now->proxy_clock, block.threads, 0u);
  std::memset(now->seen, 0, block.threads * sizeof now->seen[0]);
  now->learned = now->proxied = false;
  now->everyone.clear();
  for (unsigned i = 0; i < block.threads; ++i) {
    now->row[i] = now->proxy_row[i] = nullptr;
    now->own[i].clear();
    now->fences[i].fenced = false;
    now->fences[i].atomics.clear();
  }
}

void race_sync_warp(unsigned warp, uint32_t mask) {
  uint32_t joined[32] = {};
  Knowledge learned;
  Row row;
  bool rows_differ = false;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const unsigned thread = warp * 32 + lane;
    for (unsigned i = 0; i < 32; ++i) joined[i] = std::max(joined[i], now->seen[thread][i]);
    joined[lane] = std::max(joined[lane], now->clocks[thread]);
    if (now->learned) merge(learned, now->own[thread]);
    rows_differ = rows_differ || (lane != static_cast<unsigned>(std::countr_zero(mask)) && now->row[thread] != row);
    row = now->row[thread];
  }
  if (rows_differ) {
    std::vector<uint32_t> all;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1) != 0 && now->row[warp * 32 + lane] != nullptr) merge(all, *now->row[warp * 32 + lane]);
    }
    row = std::make_shared<const std::vector<uint32_t>>(std::move(all));
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const unsigned thread = warp * 32 + lane;
    std::memcpy(now->seen[thread], joined, sizeof joined);
    now->row[thread] = row;
    if (now->learned) now->own[thread] = learned;
    advance(thread);
  }
}

void race_sync_block() {
  for (unsigned i = 0; i < block.threads; ++i) {
    now->at_barrier[i] = now->clocks[i];
    now->row[i] = nullptr;
    advance(i);
    if (!now->learned) continue;
    merge(now->everyone, now->own[i]);
    now->own[i].clear();
  }
  now->learned = false;
}

void race_sync_named(const std::vector<unsigned>& arrived, const std::vector<unsigned>& waiting) {
  std::vector<uint32_t> joined;
  Knowledge learned;
  for (const unsigned thread : arrived) {
    merge(joined, known_here(thread));
    if (now->learned) merge(learned, now->own[thread]);
  }
  const Row row = std::make_shared<const std::vector<uint32_t>>(std::move(joined));
  for (const unsigned thread : waiting) {
    now->row[thread] = row;
    if (now->learned) now->own[thread] = learned;
  }
  for (const unsigned thread : arrived) advance(thread);
}

void race_fence() {
  if (current < 0) return;
  Fences& mine = now->fences[current];
  for (const uintptr_t address : mine.atomics) learn(address);
  mine.atomics.clear();
  mine.before = known();
  mine.fenced = true;
  advance(static_cast<unsigned>(current));
}

void race_release(const void* address) {
  if (current < 0) return;
  merge(released[reinterpret_cast<uintptr_t>(address)], known());
  advance(static_cast<unsigned>(current));
}

void race_acquire(const void* address) {
  if (current >= 0) learn(reinterpret_cast<uintptr_t>(address));
}

void clocks_atomic(uintptr_t address, bool writes) {
  Fences& mine = now->fences[current];
  if (mine.atomics.empty() || mine.atomics.back() != address) mine.atomics.push_back(address);
  if (mine.fenced && writes) merge(released[address], mine.before);
}

void race_arrive(PhaseClocks& phase) {
  merge(phase.gathered, known_here(static_cast<unsigned>(current)));
  advance(static_cast<unsigned>(current));
}

void race_complete(PhaseClocks& phase) {
  phase.completed = std::make_shared<const std::vector<uint32_t>>(phase.gathered);
  phase.from = phase.to = nullptr;
}

void race_pass(PhaseClocks& phase, unsigned thread) {
  Row& mine = now->row[thread];
  if (phase.completed == nullptr) return;
  if (mine != nullptr && mine != phase.completed && mine != phase.to) {
    if (mine != phase.from) {
      std::vector<uint32_t> all = *mine;
      merge(all, *phase.completed);
      phase.from = mine;
      phase.to = std::make_shared<const std::vector<uint32_t>>(std::move(all));
    }
    mine = phase.to;
  } else if (mine == nullptr) {
    mine = phase.completed;
  }
}

void race_proxy_fence() {
  const auto me = static_cast<unsigned>(current);
  now->proxied = true;
  now->proxy_clock[me] = now->clocks[me];
  now->proxy_row[me] = std::make_shared<const std::vector<uint32_t>>(known_here(me));
  advance(me);
}

// Each lane of the warp has waited for what the first of them is said to have read.
void race_bulk_reads_done(unsigned warp) {
  const unsigned first = warp * 32;
  for (unsigned lane = 0; lane < 32 && first + lane < block.threads; ++lane) now->seen[first + lane][0] = std::max(now->seen[first + lane][0], now->clocks[first]);
  advance(first);
}

}  // namespace gatun::emulation

#else

namespace gatun::emulation {
void race_select(unsigned) {}
void race_begin_block() {}
void race_sync_warp(unsigned, uint32_t) {}
void race_sync_block() {}
void race_sync_named(const std::vector<unsigned>&, const std::vector<unsigned>&) {}
void race_fence() {}
void race_release(const void*) {}
void race_acquire(const void*) {}
void race_arrive(PhaseClocks&) {}
void race_complete(PhaseClocks&) {}
void race_pass(PhaseClocks&, unsigned) {}
void race_proxy_fence() {}
void race_bulk_reads_done(unsigned) {}
}  // namespace gatun::emulation

#endif

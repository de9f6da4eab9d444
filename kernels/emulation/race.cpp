// SPDX-License-Identifier: Apache-2.0
// The race build. Kernels are compiled with -fsanitize=thread and linked to these __tsan_* functions instead of libtsan: every access
// of a kernel to shared or device memory is checked against the last write and two of the last reads of each byte.
//
// Order comes from barriers and __syncwarp only. Each thread has a clock that it advances at each of them; an access is ordered before
// another when the later thread has, through such a synchronisation, seen the clock of the earlier one. Blocks of a launch are ordered
// only by a release and an acquire of the same address, or by fence, atomic, atomic, fence: as when the last block to finish adds up
// what the others left.
#include "kernels/emulation/internal.h"

#if GATUN_EMULATION_RACE
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace gatun::emulation {
namespace {

// split 1 | serial of the block 21 | thread 10 | clock 16 | site 14 | atomic 1 | cp.async under way 1
using Cell = uint64_t;
constexpr uint64_t kLastSerial = (1u << 21) - 1, kLastClock = 0xffff, kSplit = 1ull << 63;
constexpr unsigned kSites = 1u << 14;

// Of a byte, or of four aligned bytes: the first one's holds for all while its write is not marked as split.
struct Shadow {
  Cell write, reads[2];
};
struct Place {
  uint64_t key;
  uintptr_t code;
  Site site;
};
struct StaticRange : Range {
  Shadow* shadow[kResident];
};

Shadow* arena_shadow = nullptr;
std::vector<StaticRange> statics;
std::vector<Range> modules;
Range cached[4];
unsigned next_cached = 0;
uintptr_t arena_low = 0;
size_t arena_bytes = 0;

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
  uint32_t seen_named[kWarps][kMaxThreads];  // through named barriers
  bool named_used = false, learned = false;
  Knowledge everyone;           // what all threads of the block know of others
  Knowledge own[kMaxThreads];   // what a thread has learned since the last barrier
  Fences fences[kMaxThreads];
};

uint64_t last_serial = 0, launch_first = 1;
Clocks all_clocks[kResident];
Clocks* now = all_clocks;
Place places[kSites];
std::map<uintptr_t, Knowledge> released;  // by the atomic's address

uint64_t serial_of(Cell c) { return c >> 42 & kLastSerial; }
unsigned thread_of(Cell c) { return c >> 32 & 1023; }
uint32_t clock_of(Cell c) { return c >> 16 & 0xffff; }
unsigned place_of(Cell c) { return c >> 2 & (kSites - 1); }
bool atomic(Cell c) { return (c & 2) != 0; }
bool pending(Cell c) { return (c & 1) != 0; }

bool knows(const Knowledge& knowledge, Cell c) {
  const auto block_clocks = knowledge.find(serial_of(c));
  return block_clocks != knowledge.end() && thread_of(c) < block_clocks->second.size() && clock_of(c) <= block_clocks->second[thread_of(c)];
}

bool ordered(Cell c) {
  const unsigned other = thread_of(c), me = static_cast<unsigned>(current);
  if (serial_of(c) != now->serial) return serial_of(c) < launch_first || knows(now->everyone, c) || (now->learned && knows(now->own[me], c));
  const uint32_t clock = clock_of(c);
  return other == me || clock <= now->at_barrier[other] || (other / 32 == me / 32 && clock <= now->seen[me][other % 32]) ||
         (now->named_used && clock <= now->seen_named[me / 32][other]);
}

// Where an access was made, as a small number: the table is lossless until it is full, which no program of ours comes near.
unsigned place(uintptr_t code, const Site* site) {
  const uint64_t key = site == nullptr ? code : (reinterpret_cast<uintptr_t>(site->file_name()) * 4096 + site->line()) | 1ull << 63;
  unsigned at = static_cast<unsigned>(key * 0x9e3779b97f4a7c15u >> 50);
  for (unsigned tries = 0; tries < kSites; ++tries, at = (at + 1) & (kSites - 1)) {
    if (places[at].key == key) return at;
    if (places[at].key == 0) {
      places[at] = {key, code, site != nullptr ? *site : Site{}};
      return at;
    }
  }
  return at;
}

std::string place_name(unsigned at) { return places[at].code != 0 ? code_name(reinterpret_cast<const void*>(places[at].code)) : where(places[at].site); }

void __attribute__((noinline, cold)) found(Defect defect, const std::string& text, Cell mine) {
  if (!detects(defect)) return;
  fault(defect, text + "\n  here: " + place_name(place_of(mine)), nullptr);
}

void __attribute__((noinline, cold)) race(uintptr_t address, bool write, Cell mine, Cell other, bool other_write) {
  if (!detects(Defect::kRace)) return;
  const bool blocks = serial_of(other) != now->serial;
  found(Defect::kRace, std::string(blocks ? "between blocks: " : "within a block: ") + (write ? "write" : "read") + " of " +
        address_name(reinterpret_cast<const void*>(address)) + " and " + (other_write ? "write" : "read") + " by " +
        (blocks ? "another block" : thread_name(thread_of(other))) + " at " + place_name(place_of(other)), mine);
}

// Returns the shadow of an address that the race check follows, or nullptr. Reports an address that no kernel may touch.
Shadow* shadow_of(uintptr_t address, size_t bytes, bool& shared, Cell mine) {
  shared = true;
  const uintptr_t offset = address - arena_low;
  if (offset < arena_bytes) {
    const Range& dynamic = dynamic_range();
    if (address >= dynamic.low && address + bytes <= dynamic.high) return arena_shadow + offset;
    shared = false;
    for (const Range& range : cached) {
      if (address >= range.low && address + bytes <= range.high) return arena_shadow + offset;
    }
    if (!device_range(address, bytes)) {
      found(Defect::kBounds, std::to_string(bytes) + " bytes at " + address_name(reinterpret_cast<const void*>(address)), mine);
      return nullptr;
    }
    // Neighbouring accesses mostly stay within a page or so of this one.
    const uintptr_t low = device_range(address & ~uintptr_t{4095}, 4096) ? address & ~uintptr_t{4095} : address;
    cached[next_cached++ % 4] = {low, low == address ? address + bytes : low + 4096};
    return arena_shadow + offset;
  }
  for (const StaticRange& range : statics) {
    if (address >= range.low && address + bytes <= range.high) return range.shadow[slot] + (address - range.low);
  }
  for (const Range& range : modules) {
    if (address >= range.low && address + bytes <= range.high) return nullptr;  // constants, threadIdx
  }
  found(Defect::kBounds, in_stacks(address) ? "local memory of another thread, or beyond the stack" : "memory of the host", mine);
  return nullptr;
}

struct Visit {
  Cell mine;
  bool shared, reads, is_atomic;
};

void visit(Shadow& s, uintptr_t at, const Visit& v) {
  const uint64_t serial = now->serial;
  if (v.reads || v.is_atomic) {
    if (v.shared && serial_of(s.write) != serial) {
      found(Defect::kUninitialised, std::string(v.is_atomic ? "atomic" : "read") + " of " + address_name(reinterpret_cast<const void*>(at)), v.mine);
    } else if (pending(s.write) && serial_of(s.write) == serial) {
      found(Defect::kCopy, "read of a destination of cp.async before its wait, issued at " + place_name(place_of(s.write)), v.mine);
    }
  }
  // What an earlier block left in shared memory is nobody's access any more.
  if (!(v.shared && serial_of(s.write) != serial) && !(v.is_atomic && atomic(s.write)) && !ordered(s.write)) race(at, !v.reads, v.mine, s.write, true);
  if (v.reads) {
    // The first reader that nothing orders is kept, and the latest one.
    const bool stale = v.shared && serial_of(s.reads[0]) != serial;
    s.reads[stale || ordered(s.reads[0]) ? 0 : 1] = v.mine;
    return;
  }
  for (const Cell reader : s.reads) {
    if (reader != 0 && !(v.shared && serial_of(reader) != serial) && !(v.is_atomic && atomic(reader)) && !ordered(reader)) race(at, true, v.mine, reader, false);
  }
  s = {v.mine | (s.write & kSplit), {0, 0}};
}

bool same(const Shadow& a, const Shadow& b) { return a.write == b.write && a.reads[0] == b.reads[0] && a.reads[1] == b.reads[1]; }

void check(uintptr_t address, size_t bytes, Access access, bool under_way, uintptr_t code, const Site* site) {
  if (current < 0) return;
  const Range stack = stack_of(static_cast<unsigned>(current));
  if (address >= stack.low && address < stack.high) return;
  const bool is_atomic = access == Access::kAtomic || access == Access::kAtomicRead;
  Visit v{now->serial << 42 | static_cast<uint64_t>(current) << 32 | static_cast<uint64_t>(now->clocks[current]) << 16 |
              static_cast<uint64_t>(place(code, site)) << 2 | (is_atomic ? 2 : 0) | (under_way ? 1 : 0),
          false, access == Access::kRead || access == Access::kAtomicRead, is_atomic};
  Shadow* const shadow = shadow_of(address, bytes, v.shared, v.mine);
  if (shadow == nullptr) return;
  Shadow before{}, after{};
  for (size_t i = 0; i < bytes;) {
    const uintptr_t at = address + i, part = at % 4;
    Shadow* const four = shadow + i - part;
    if (part == 0 && bytes - i >= 4) {
      i += 4;
      if ((four->write & kSplit) == 0) {
        if (at != address && same(*four, before)) {  // most often as the four before
          *four = after;
        } else {
          before = *four;
          visit(*four, at, v);
          after = *four;
        }
        continue;
      }
      for (unsigned j = 0; j < 4; ++j) visit(four[j], at + j, v);
      if (!v.reads) four->write &= ~kSplit;  // all is one again
    } else {
      if ((four->write & kSplit) == 0) {
        for (unsigned j = 1; j < 4; ++j) four[j] = *four;
        four->write |= kSplit;
      }
      visit(four[part], at, v);
      ++i;
    }
  }
}

void kernel_access(const void* address, size_t bytes, Access access, const void* code) {
  if (inside || current < 0) return;
  const Inside guard;
  check(reinterpret_cast<uintptr_t>(address), bytes, access, false, reinterpret_cast<uintptr_t>(code), nullptr);
}

int find_modules(dl_phdr_info* info, size_t, void*) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    if (header.p_type == PT_LOAD) modules.push_back({info->dlpi_addr + header.p_vaddr, info->dlpi_addr + header.p_vaddr + header.p_memsz});
  }
  return 0;
}

void* reserve(size_t bytes) {
  return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

void advance(unsigned thread) {
  if (++now->clocks[thread] > kLastClock) {
    append_report("emulation: a thread synchronises more than 65535 times in a block; test a smaller case in the race build\n");
    now->clocks[thread] = kLastClock;
  }
}

void merge(std::vector<uint32_t>& into, const std::vector<uint32_t>& from) {
  into.resize(std::max(into.size(), from.size()));
  for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

void merge(Knowledge& into, const Knowledge& from) {
  for (const auto& [serial, clocks] : from) merge(into[serial], clocks);
}

// All that is ordered before the next access of the running thread.
Knowledge known() {
  const auto me = static_cast<unsigned>(current);
  Knowledge result = now->everyone;
  if (now->learned) merge(result, now->own[me]);
  std::vector<uint32_t>& block_clocks = result[now->serial];
  block_clocks.assign(now->at_barrier, now->at_barrier + block.threads);
  for (unsigned i = 0; now->named_used && i < block.threads; ++i) block_clocks[i] = std::max(block_clocks[i], now->seen_named[me / 32][i]);
  for (unsigned i = me / 32 * 32; i < block.threads && i < me / 32 * 32 + 32; ++i) block_clocks[i] = std::max(block_clocks[i], now->seen[me][i % 32]);
  block_clocks[me] = now->clocks[me];
  return result;
}

void learn(uintptr_t address) {
  const auto found = released.find(address);
  if (found == released.end()) return;
  merge(now->own[current], found->second);
  now->learned = true;
}

}  // namespace

void race_begin_grid() {
  if (arena_shadow == nullptr) {
    arena_low = arena_base();
    arena_bytes = arena_size();
    arena_shadow = static_cast<Shadow*>(reserve(arena_bytes * sizeof(Shadow)));
    if (arena_shadow == MAP_FAILED) std::abort();
    for (const Range& range : shared_ranges()) {
      StaticRange entry{{range.low, range.high}, {}};
      for (Shadow*& shadow : entry.shadow) shadow = static_cast<Shadow*>(reserve((range.high - range.low + 8) * sizeof(Shadow))) + 4;
      statics.push_back(entry);
    }
    dl_iterate_phdr(find_modules, nullptr);
  }
  std::fill(std::begin(cached), std::end(cached), Range{});
  launch_first = last_serial + 1;
  released.clear();
}

void race_select(unsigned to) { now = &all_clocks[to]; }

void race_begin_block() {
  // Once in two million blocks everything is forgotten, which can only miss a race. Blocks that live together keep their serials.
  if (++last_serial > kLastSerial && slot == 0) {
    madvise(arena_shadow, arena_bytes * sizeof(Shadow), MADV_DONTNEED);
    for (const StaticRange& range : statics) {
      for (Shadow* shadow : range.shadow) std::memset(static_cast<void*>(shadow), 0, (range.high - range.low) * sizeof(Shadow));
    }
    last_serial = launch_first = 1;
  }
  now->serial = last_serial;
  std::fill_n(now->clocks, block.threads, 1u);
  std::fill_n(now->at_barrier, block.threads, 0u);
  std::memset(now->seen, 0, block.threads * sizeof now->seen[0]);
  now->named_used = now->learned = false;
  now->everyone.clear();
  for (unsigned i = 0; i < block.threads; ++i) {
    now->own[i].clear();
    now->fences[i].fenced = false;
    now->fences[i].atomics.clear();
  }
}

void race_sync_warp(unsigned warp, uint32_t mask) {
  uint32_t joined[32] = {};
  Knowledge learned;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const unsigned thread = warp * 32 + lane;
    for (unsigned i = 0; i < 32; ++i) joined[i] = std::max(joined[i], now->seen[thread][i]);
    joined[lane] = std::max(joined[lane], now->clocks[thread]);
    if (now->learned) merge(learned, now->own[thread]);
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    std::memcpy(now->seen[warp * 32 + lane], joined, sizeof joined);
    if (now->learned) now->own[warp * 32 + lane] = learned;
    advance(warp * 32 + lane);
  }
}

void race_sync_block() {
  for (unsigned i = 0; i < block.threads; ++i) {
    now->at_barrier[i] = now->clocks[i];
    advance(i);
    if (!now->learned) continue;
    merge(now->everyone, now->own[i]);
    now->own[i].clear();
  }
  now->learned = false;
}

void race_sync_named(const std::vector<unsigned>& arrived, uint32_t waiting_warps) {
  if (!now->named_used) std::memset(now->seen_named, 0, sizeof now->seen_named);
  now->named_used = true;
  std::vector<uint32_t> joined(block.threads);
  Knowledge learned;
  for (const unsigned thread : arrived) {
    const unsigned first = thread / 32 * 32;
    for (unsigned i = 0; i < block.threads; ++i) joined[i] = std::max(joined[i], now->seen_named[thread / 32][i]);
    for (unsigned i = 0; i < 32 && first + i < block.threads; ++i) joined[first + i] = std::max(joined[first + i], now->seen[thread][i]);
    joined[thread] = std::max(joined[thread], now->clocks[thread]);
    if (now->learned) merge(learned, now->own[thread]);
  }
  for (unsigned warp = 0; warp < block.warps; ++warp) {
    if ((waiting_warps >> warp & 1) == 0) continue;
    std::copy(joined.begin(), joined.end(), now->seen_named[warp]);
    for (unsigned i = warp * 32; now->learned && i < block.threads && i < warp * 32 + 32; ++i) merge(now->own[i], learned);
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

void race_touch(const void* address, size_t bytes, Access access, bool under_way, const Site& site) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  check(at, bytes, access, under_way, 0, &site);
  if ((access != Access::kAtomic && access != Access::kAtomicRead) || current < 0 || is_shared(address)) return;
  Fences& mine = now->fences[current];
  if (mine.atomics.empty() || mine.atomics.back() != at) mine.atomics.push_back(at);
  if (mine.fenced && access == Access::kAtomic) merge(released[at], mine.before);
}

}  // namespace gatun::emulation

using gatun::emulation::Access;

#define GATUN_TSAN(NAME, BYTES, ACCESS)                                                                                       \
  void __tsan_##NAME(void* address) {                                                                                         \
    gatun::emulation::kernel_access(address, BYTES, ACCESS, __builtin_return_address(0));                                     \
  }
#define GATUN_TSAN_SIZES(PREFIX, ACCESS)                                                                                      \
  GATUN_TSAN(PREFIX##1, 1, ACCESS) GATUN_TSAN(PREFIX##2, 2, ACCESS) GATUN_TSAN(PREFIX##4, 4, ACCESS)                          \
  GATUN_TSAN(PREFIX##8, 8, ACCESS) GATUN_TSAN(PREFIX##16, 16, ACCESS)

extern "C" {
GATUN_TSAN_SIZES(read, Access::kRead)
GATUN_TSAN_SIZES(write, Access::kWrite)
GATUN_TSAN_SIZES(unaligned_read, Access::kRead)
GATUN_TSAN_SIZES(unaligned_write, Access::kWrite)
GATUN_TSAN_SIZES(volatile_read, Access::kRead)
GATUN_TSAN_SIZES(volatile_write, Access::kWrite)
void __tsan_read_range(void* address, unsigned long bytes) {
  gatun::emulation::kernel_access(address, bytes, Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(void* address, unsigned long bytes) {
  gatun::emulation::kernel_access(address, bytes, Access::kWrite, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
// Guards of static variables in host code of a .cu file.
unsigned char __tsan_atomic8_load(const volatile unsigned char* address, int order) { return __atomic_load_n(address, order); }
}

#else

namespace gatun::emulation {
void race_begin_grid() {}
void race_begin_block() {}
void race_sync_warp(unsigned, uint32_t) {}
void race_sync_block() {}
void race_sync_named(const std::vector<unsigned>&, uint32_t) {}
void race_select(unsigned) {}
void race_fence() {}
void race_release(const void*) {}
void race_acquire(const void*) {}
void race_touch(const void*, size_t, Access, bool, const Site&) {}
}  // namespace gatun::emulation

#endif

// SPDX-License-Identifier: Apache-2.0
// The race build. Kernels are compiled with -fsanitize=thread and linked to these __tsan_* functions instead of libtsan: every access
// of a kernel to shared or device memory is checked against the last write and two of the last reads of each byte.
#include "kernels/emulation/clocks.h"

#if GATUN_EMULATION_RACE
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace gatun::emulation {
namespace {

// split 1 | serial of the block 21 | thread 10 | clock 16 | site 14 | kind 2
using Cell = uint64_t;
enum Kind : uint64_t { kOrdinary, kOfAtomic, kUnderWay, kBulk };  // an asynchronous copy under way; a bulk copy that has come
constexpr uint64_t kSplit = 1ull << 63;
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

Place places[kSites];

uint64_t serial_of(Cell c) { return c >> 42 & kLastSerial; }
unsigned thread_of(Cell c) { return c >> 32 & 1023; }
uint32_t clock_of(Cell c) { return c >> 16 & 0xffff; }
unsigned place_of(Cell c) { return c >> 2 & (kSites - 1); }
Kind kind_of(Cell c) { return static_cast<Kind>(c & 3); }
bool atomic(Cell c) { return kind_of(c) == kOfAtomic; }

bool ordered(Cell c) { return emulation::ordered(serial_of(c), thread_of(c), clock_of(c)); }

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
  bool shared, reads, is_atomic, bulk;
};

void visit(Shadow& s, uintptr_t at, const Visit& v) {
  const uint64_t serial = now->serial;
  if (v.reads || v.is_atomic) {
    if (v.shared && serial_of(s.write) != serial) {
      found(Defect::kUninitialised, std::string(v.is_atomic ? "atomic" : "read") + " of " + address_name(reinterpret_cast<const void*>(at)), v.mine);
    } else if (kind_of(s.write) == kUnderWay && serial_of(s.write) == serial) {
      if (!detects(Defect::kCopy)) return;  // the text costs
      found(Defect::kCopy, "read of a copy's destination before the wait for it, issued at " + place_name(place_of(s.write)), v.mine);
    }
  }
  // What an earlier block left in shared memory is nobody's access any more.
  if (!(v.shared && serial_of(s.write) != serial) && !(v.is_atomic && atomic(s.write)) && !ordered(s.write)) race(at, !v.reads, v.mine, s.write, true);
  if (v.bulk && v.shared && kind_of(s.write) != kBulk && detects(Defect::kProxy) && !proxy_ordered(thread_of(s.write), clock_of(s.write))) {
    found(Defect::kProxy, "wgmma reads " + address_name(reinterpret_cast<const void*>(at)) + ", written by " + thread_name(thread_of(s.write)) +
          " at " + place_name(place_of(s.write)) + " without proxy_fence", v.mine);
  }
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

void __attribute__((noinline, cold)) check_accumulators(uintptr_t address, size_t bytes, Cell mine) {
  for (const Range& range : threads[current].under_way) {
    if (address < range.high && address + bytes > range.low) found(Defect::kWgmma, "accumulators are touched before the wait for their product", mine);
  }
}

Cell cell(uintptr_t code, const Site* site, Kind kind) {
  return now->serial << 42 | static_cast<uint64_t>(current) << 32 | static_cast<uint64_t>(now->clocks[current]) << 16 |
         static_cast<uint64_t>(place(code, site)) << 2 | kind;
}

void check(uintptr_t address, size_t bytes, Access access, Kind kind, uintptr_t code, const Site* site) {
  if (current < 0) return;
  const Range stack = stack_of(static_cast<unsigned>(current));
  if (address >= stack.low && address < stack.high) {
    if (!threads[current].under_way.empty()) check_accumulators(address, bytes, cell(code, site, kind));
    return;
  }
  const bool reads = access == Access::kRead || access == Access::kAtomicRead;
  Visit v{cell(code, site, kind), false, reads, kind == kOfAtomic, kind == kBulk};
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
  if (!runs_grid || inside || current < 0) return;
  const Inside guard;
  check(reinterpret_cast<uintptr_t>(address), bytes, access, kOrdinary, reinterpret_cast<uintptr_t>(code), nullptr);
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
  clocks_begin_grid();
}

void forget_shadow() {
  madvise(arena_shadow, arena_bytes * sizeof(Shadow), MADV_DONTNEED);
  for (const StaticRange& range : statics) {
    for (Shadow* shadow : range.shadow) std::memset(static_cast<void*>(shadow), 0, (range.high - range.low) * sizeof(Shadow));
  }
}

void race_touch(const void* address, size_t bytes, Access access, bool under_way, const Site& site) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const bool of_atomic = access == Access::kAtomic || access == Access::kAtomicRead;
  check(at, bytes, access, of_atomic ? kOfAtomic : under_way ? kUnderWay : kOrdinary, 0, &site);
  if (of_atomic && current >= 0 && !is_shared(address)) clocks_atomic(at, access == Access::kAtomic);
}

BulkWrite race_bulk_write(const void* address, size_t bytes, const Site& site) {
  const auto me = static_cast<unsigned>(current);
  const BulkWrite write{address, bytes, me, now->clocks[me], cell(0, &site, kUnderWay)};
  check(reinterpret_cast<uintptr_t>(address), bytes, Access::kWrite, kUnderWay, 0, &site);
  advance(me);
  return write;
}

// Who passes the barrier afterwards knows of this write, but not of what else its thread did.
void race_settle(const BulkWrite& write, PhaseClocks& phase) {
  bool shared = false;
  Shadow* const shadow = shadow_of(reinterpret_cast<uintptr_t>(write.address), write.bytes, shared, write.cell);
  for (size_t i = 0; shadow != nullptr && i < write.bytes; ++i) {
    if ((shadow[i].write & ~kSplit) == write.cell) shadow[i].write |= kBulk;
  }
  phase.gathered.resize(std::max<size_t>(phase.gathered.size(), write.thread + 1));
  phase.gathered[write.thread] = std::max(phase.gathered[write.thread], write.clock);
}

void race_bulk_read(const void* address, size_t bytes, const Site& site) {
  check(reinterpret_cast<uintptr_t>(address), bytes, Access::kRead, kBulk, 0, &site);
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
// Reference counts there: a launch is kept for its graph.
int __tsan_atomic32_fetch_add(volatile int* address, int value, int order) { return __atomic_fetch_add(address, value, order); }
}

#else

namespace gatun::emulation {
void race_begin_grid() {}
void race_touch(const void*, size_t, Access, bool, const Site&) {}
BulkWrite race_bulk_write(const void*, size_t, const Site&) { return {}; }
void race_settle(const BulkWrite&, PhaseClocks&) {}
void race_bulk_read(const void*, size_t, const Site&) {}
}  // namespace gatun::emulation

#endif

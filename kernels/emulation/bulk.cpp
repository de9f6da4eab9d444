// SPDX-License-Identifier: Apache-2.0
// Barriers in shared memory and bulk tensor copies. A copy poisons its destination at once and brings its bytes when nobody can go on
// without them, or now and then earlier under the random schedules; it must have been expected, and waited for.
#include "kernels/emulation/bulk.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "kernels/emulation/internal.h"

namespace gatun::emulation {
namespace {

struct Copy {
  TensorMap map;
  unsigned char* to;
  int at[5];
  BulkWrite write;
  Site site;
};

struct Mbarrier {
  unsigned count = 0, pending = 0;
  int64_t bytes = 0;   // expected in this phase and not yet brought
  uint64_t phase = 0;  // that runs now
  unsigned initialised_by = 0;
  bool fenced = false;
  std::vector<Copy> copies;  // under way
  std::vector<unsigned> waiting;
  std::map<unsigned, uint64_t> seen;  // by thread: one more than the phase before which it last passed
  PhaseClocks clocks;
};

std::map<uintptr_t, Mbarrier> barriers[kResident];
constexpr int64_t kMostBytes = (1 << 20) - 1;

uint64_t mark(uintptr_t address) { return address * 0x9e3779b97f4a7c15u ^ 0x6d62617272696572u; }

Mbarrier* find(uint64_t* barrier, const Site& site) {
  const auto address = reinterpret_cast<uintptr_t>(barrier);
  race_touch(barrier, sizeof *barrier, Access::kAtomic, false, site);
  const auto found = barriers[slot].find(address);
  if (found == barriers[slot].end()) {
    fault(Defect::kPhase, "no mbarrier was initialised at " + address_name(barrier), &site);
    return nullptr;
  }
  if (*barrier != mark(address)) {
    fault(Defect::kPhase, "the mbarrier at " + address_name(barrier) + " was overwritten", &site);
    return nullptr;
  }
  return &found->second;
}

uint64_t tile_bytes(const TensorMap& map) {
  uint64_t bytes = 2;
  for (unsigned i = 0; i < map.rank; ++i) bytes *= map.box[i];
  return bytes;
}

// Calls f(row of the tile, its first element or nullptr where the row lies outside, elements that exist before, and inside).
template <class F>
void each_row(const Copy& copy, F&& f) {
  const TensorMap& map = copy.map;
  for (uint32_t row = 0; row < map.box[1]; ++row) {
    const unsigned char* from = map.base;
    bool inside_tensor = true;
    for (unsigned i = 1; i < map.rank; ++i) {
      const int64_t at = copy.at[i] + (i == 1 ? static_cast<int64_t>(row) : 0);
      inside_tensor = inside_tensor && at >= 0 && at < static_cast<int64_t>(map.size[i]);
      from += at * static_cast<int64_t>(map.stride[i]);
    }
    const int64_t first = std::max<int64_t>(-copy.at[0], 0);
    const int64_t last = std::min<int64_t>(map.box[0], static_cast<int64_t>(map.size[0]) - copy.at[0]);
    if (!inside_tensor || first >= last) f(row, nullptr, 0, 0);
    else f(row, from + (copy.at[0] + first) * 2, first, last - first);
  }
}

void deliver(Mbarrier& barrier, const Copy& copy) {
  each_row(copy, [&](uint32_t row, const unsigned char* from, int64_t first, int64_t count) {
    unsigned char line[128] = {};
    if (from != nullptr) std::memcpy(line + first * 2, from, static_cast<size_t>(count) * 2);
    for (unsigned chunk = 0; chunk < 8; ++chunk) std::memcpy(copy.to + row * 128 + (chunk ^ row % 8) * 16, line + chunk * 16, 16);
  });
  race_settle(copy.write, barrier.clocks);
  barrier.bytes -= static_cast<int64_t>(tile_bytes(copy.map));
}

// Of a barrier at which all have arrived.
void check_expected(const Mbarrier& barrier) {
  int64_t under_way = 0;
  for (const Copy& copy : barrier.copies) under_way += static_cast<int64_t>(tile_bytes(copy.map));
  if (barrier.pending > 0 || under_way <= barrier.bytes) return;
  const Site unexpected = barrier.copies.back().site;
  fault(Defect::kPhase, "the barrier's phase ends without bytes that a copy brings: they were not expected", &unexpected);
}

// Ends the phase if it can end; `now` brings what is under way.
void advance(Mbarrier& barrier, bool now) {
  if (barrier.pending > 0) return;
  check_expected(barrier);
  const bool early = schedule_now.kind == Schedule::kRandom && random_next(random_state) % 2 == 0;
  if (!now && !early && !barrier.copies.empty()) return;
  while (!barrier.copies.empty()) {
    const size_t i = schedule_now.kind == Schedule::kForward ? 0 : random_next(random_state) % barrier.copies.size();
    deliver(barrier, barrier.copies[i]);
    barrier.copies.erase(barrier.copies.begin() + static_cast<ptrdiff_t>(i));
  }
  if (barrier.bytes > 0) return;
  ++barrier.phase;
  barrier.pending = barrier.count;
  race_complete(barrier.clocks);
  for (const unsigned thread : barrier.waiting) {
    barrier.seen[thread] = barrier.phase + 1;
    race_pass(barrier.clocks, thread);
    set_ready(thread);
  }
  barrier.waiting.clear();
}

}  // namespace

void bulk_begin_block() { barriers[slot].clear(); }

bool bulk_deliver() {
  for (auto& [address, barrier] : barriers[slot]) {
    if (!barrier.waiting.empty() && !barrier.copies.empty()) advance(barrier, true);
  }
  return block.ready_warps != 0;
}

void bulk_end_block() {
  for (const auto& [address, barrier] : barriers[slot]) {
    if (!barrier.copies.empty()) fault(Defect::kCopy, "the block ended before anybody waited for its bulk copy", &barrier.copies.front().site);
  }
}

std::string bulk_missing(unsigned thread) {
  for (const auto& [address, barrier] : barriers[slot]) {
    if (std::find(barrier.waiting.begin(), barrier.waiting.end(), thread) == barrier.waiting.end()) continue;
    return ", which lacks " + std::to_string(barrier.pending) + " arrivals and " + std::to_string(barrier.bytes) + " bytes";
  }
  return {};
}

void mbarrier_init(uint64_t* barrier, unsigned count, const Site& site) {
  const Inside guard;
  idle = 0;
  const auto address = reinterpret_cast<uintptr_t>(barrier);
  if (address % 8 != 0) return fault(Defect::kAlignment, "an mbarrier that is not aligned to 8 bytes", &site);
  if (!is_shared(barrier)) return fault(Defect::kBounds, "the mbarrier is " + address_name(barrier), &site);
  if (count == 0 || count > kMostBytes) return fault(Defect::kPhase, "an mbarrier counts 1 to 2^20 - 1 arrivals", &site);
  if (barriers[slot].count(address) != 0) return fault(Defect::kPhase, "the mbarrier is initialised for the second time", &site);
  race_touch(barrier, sizeof *barrier, Access::kWrite, false, site);
  *barrier = mark(address);
  Mbarrier& made = barriers[slot][address];
  made.count = made.pending = count;
  made.initialised_by = static_cast<unsigned>(current);
}

void mbarrier_init_fence() {
  const Inside guard;
  for (auto& [address, barrier] : barriers[slot]) {
    if (barrier.initialised_by == static_cast<unsigned>(current)) barrier.fenced = true;
  }
}

void mbarrier_arrive(uint64_t* barrier, unsigned bytes, const Site& site) {
  const Inside guard;
  idle = 0;
  Mbarrier* const found = find(barrier, site);
  if (found == nullptr) return;
  if (found->pending == 0) return fault(Defect::kPhase, "more arrivals than the mbarrier counts, before its phase has ended", &site);
  race_arrive(found->clocks);
  found->bytes += bytes;
  if (found->bytes > kMostBytes) return fault(Defect::kPhase, "an mbarrier expects at most 2^20 - 1 bytes", &site);
  --found->pending;
  advance(*found, false);
  yield(Pause::kChanged, &site);
}

void mbarrier_wait(uint64_t* barrier, unsigned parity, const Site& site) {
  const Inside guard;
  Mbarrier* const found = find(barrier, site);
  if (found == nullptr) return;
  if (parity > 1) return fault(Defect::kPhase, "a parity is 0 or 1", &site);
  const auto me = static_cast<unsigned>(current);
  if ((found->phase & 1) == parity) {
    found->waiting.push_back(me);
    threads[me].state = State::kPhase;
    threads[me].site = site;
    advance(*found, false);
    return stop();
  }
  uint64_t& seen = found->seen[me];
  if (seen == found->phase + 1) return fault(Defect::kPhase, "the thread waits for a phase whose end it has seen: the parity is the last one's", &site);
  seen = found->phase + 1;
  race_pass(found->clocks, me);
  yield(Pause::kChanged, &site);
}

void proxy_fence() {
  const Inside guard;
  race_proxy_fence();
}

cudaError_t make_tensor_map(TensorMap& map, const void* base, unsigned rank, const uint64_t* size, const uint64_t* stride_bytes, const uint32_t* box) {
  map = {static_cast<const unsigned char*>(base), rank, {}, {}, {}};
  bool good = base != nullptr && reinterpret_cast<uintptr_t>(base) % 16 == 0;
  for (unsigned i = 0; i < rank; ++i) {
    map.size[i] = size[i];
    map.stride[i] = i == 0 ? 2 : stride_bytes[i - 1];
    map.box[i] = box[i];
    good = good && size[i] >= 1 && size[i] <= uint64_t{1} << 32 && box[i] >= 1 && box[i] <= 256;
    good = good && (i == 0 || (map.stride[i] % 16 == 0 && map.stride[i] < uint64_t{1} << 40));
  }
  return good ? cudaSuccess : record(cudaErrorInvalidValue);
}

void copy_tile(void* shared, const TensorMap& map, uint64_t* barrier, unsigned rank, const int* at, const Site& site) {
  const Inside guard;
  idle = 0;
  Mbarrier* const found = find(barrier, site);
  if (found == nullptr) return;
  if (!found->fenced) return fault(Defect::kProxy, "the mbarrier of a bulk copy was initialised without mbarrier_init_fence", &site);
  if (map.rank != rank) return fault(Defect::kBounds, "the tensor has " + std::to_string(map.rank) + " dimensions", &site);
  const auto to = reinterpret_cast<uintptr_t>(shared);
  const size_t bytes = tile_bytes(map);
  if (to < dynamic_range().low || to + bytes > dynamic_range().high) {
    return fault(Defect::kBounds, "the destination of a bulk copy of " + std::to_string(bytes) + " bytes is " + address_name(shared), &site);
  }
  if (to % 1024 != 0) return fault(Defect::kAlignment, "a swizzled tile does not begin at a multiple of 1024 bytes", &site);
  Copy copy{map, static_cast<unsigned char*>(shared), {}, {}, site};
  std::copy_n(at, rank, copy.at);
  bool good = true;
  each_row(copy, [&](uint32_t, const unsigned char* from, int64_t, int64_t count) {
    if (from == nullptr) return;
    good = good && is_device(from, static_cast<size_t>(count) * 2);
    if (good) race_touch(from, static_cast<size_t>(count) * 2, Access::kRead, false, site);
  });
  if (!good) return fault(Defect::kBounds, "a bulk copy reads beyond its allocation: the tensor is described larger than it is", &site);
  copy.write = race_bulk_write(shared, bytes, site);
  std::memset(shared, 0xff, bytes);
  found->copies.push_back(copy);
  check_expected(*found);
}

}  // namespace gatun::emulation

// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup. Each warp works on its 16 rows by itself, as on the hardware; operands are checked when a product is issued
// and read as late as the program allows, at the wait for its group, or under the random schedules now and then earlier. Until then
// the accumulators hold NaN.
#include <algorithm>
#include <cstring>
#include <deque>
#include <list>

#include "kernels/emulation/bulk.h"
#include "kernels/emulation/half.h"
#include "kernels/emulation/internal.h"

namespace gatun::emulation {
namespace {

constexpr uint32_t kPoison = 0xffffffffu;

// Accumulators under way: what the lanes gave, and the warp's 16 x n.
struct Flight {
  float* d[32];
  int n = 0;
  std::vector<float> value;
  int products = 0;  // under way
};
struct Operation {
  Product product;
  float a[16][16];  // of registers
  Flight* flight;
  bool done;
  Site site;
};
struct Warp {
  bool fenced = false;
  std::deque<Operation> operations;  // under way, oldest first
  std::deque<size_t> groups;         // how many of them each committed group has
  size_t open = 0;                   // since the last commit
  std::list<Flight> flights;
  size_t issued = 0;
};
Warp warps[kResident][kWarps];
std::vector<uint64_t> issues[kResident][kWarps / 4];  // what the warps of a warpgroup must all issue, as hashes

struct Issue {
  const Product* product;
  const Site* site;
};

// Where element (row, k) of an operand lies: rows are m or n.
class Tile {
 public:
  Tile(uint64_t descriptor, bool transposed)
      : start_((descriptor & 0x3fff) << 4), leading_((descriptor >> 16 & 0x3fff) << 4), stride_((descriptor >> 32 & 0x3fff) << 4),
        transposed_(transposed), plain_((descriptor >> 49 & 7) == 0 && descriptor >> 62 == 1) {}
  const char* wrong() const {
    if (!plain_) return "a descriptor without the 128-byte swizzle";
    if (transposed_ ? start_ % 1024 != 0 : start_ % 1024 >= 128 || start_ % 32 != 0) return "an operand that does not begin where a swizzled tile's rows do";
    return nullptr;
  }
  // Of the chunk of 8 elements that has this one.
  uint64_t chunk(int row, int k) const {
    const auto r = static_cast<uint64_t>(row), c = static_cast<uint64_t>(k);
    const uint64_t at = transposed_ ? start_ + r / 64 * leading_ + r % 64 * 2 + c % 8 * 128 + c / 8 * stride_
                                    : start_ + r / 8 * stride_ + r % 8 * 128 + c * 2;
    return (at ^ (at >> 7 & 7) << 4) & ~uint64_t{15};
  }
  int lane(int row, int k) const { return transposed_ ? row % 8 : k % 8; }
  // Calls f(offset) for each chunk of rows [first, first + count).
  template <class F>
  void each_chunk(int first, int count, F&& f) const {
    if (transposed_) {
      for (int k = 0; k < 16; ++k) {
        for (int row = first; row < first + count; row += 8) f(chunk(row, k));
      }
    } else {
      for (int row = first; row < first + count; ++row) f(chunk(row, 0)), f(chunk(row, 8));
    }
  }

 private:
  uint64_t start_, leading_, stride_;
  bool transposed_, plain_;
};

unsigned char* shared_at(uint64_t offset) { return dynamic_shared() + offset; }

float element(const Tile& tile, int row, int k, bool bf16) {
  uint16_t bits;
  std::memcpy(&bits, shared_at(tile.chunk(row, k)) + tile.lane(row, k) * 2, 2);
  return bf16 ? bfloat16_value(bits) : half_value(bits);
}

// Both at the issue, when what the operands hold must be there, and at the wait, when nobody may have written over it.
bool read_operands(const Operation& operation, unsigned warp) {
  const Product& product = operation.product;
  const RaceAs lane0(warp * 32);
  const auto read = [&](const Tile& tile, int first, int count) {
    if (tile.wrong() != nullptr) return fault(Defect::kAlignment, tile.wrong(), &operation.site), false;
    uint64_t end = 0;
    tile.each_chunk(first, count, [&](uint64_t offset) { end = std::max(end, offset + 16); });
    if (end > dynamic_shared_bytes()) {
      fault(Defect::kBounds, "an operand of wgmma ends at byte " + std::to_string(end) + " of dynamic shared memory", &operation.site);
      return false;
    }
    tile.each_chunk(first, count, [&](uint64_t offset) { race_bulk_read(shared_at(offset), 16, operation.site); });
    return true;
  };
  return (!product.a_in_memory || read(Tile(product.a, product.transpose_a), static_cast<int>(warp % 4) * 16, 16)) &&
         read(Tile(product.b, product.transpose_b), 0, product.n);
}

void execute(Operation& operation, unsigned warp) {
  const Product& product = operation.product;
  operation.done = true;
  if (product.a_in_memory) {
    const Tile a(product.a, product.transpose_a);
    for (int row = 0; row < 16; ++row) {
      for (int k = 0; k < 16; ++k) operation.a[row][k] = element(a, static_cast<int>(warp % 4) * 16 + row, k, product.bf16);
    }
  }
  const Tile b(product.b, product.transpose_b);
  std::vector<float> line(static_cast<size_t>(product.n));
  float* const d = operation.flight->value.data();
  if (!product.accumulate) std::fill_n(d, 16 * product.n, 0.0f);
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < product.n; ++n) line[static_cast<size_t>(n)] = element(b, n, k, product.bf16);
    for (int row = 0; row < 16; ++row) {
      for (int n = 0; n < product.n; ++n) d[row * product.n + n] += operation.a[row][k] * line[static_cast<size_t>(n)];
    }
  }
}

void execute_all(unsigned warp, size_t count) {
  Warp& mine = warps[slot][warp];
  for (size_t i = 0; i < count; ++i) {
    if (!mine.operations[i].done) execute(mine.operations[i], warp);
  }
}

template <class F>
void each_accumulator(const Flight& flight, F&& f) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < flight.n / 2; ++i) {
      f(flight.d[lane][i], static_cast<size_t>((lane / 4 + i / 2 % 2 * 8) * flight.n + i / 4 * 8 + lane % 4 * 2 + i % 2));
    }
  }
}

Flight& launch_flight(unsigned warp, void* const* arguments) {
  Warp& mine = warps[slot][warp];
  const Product& first = *static_cast<Issue*>(arguments[0])->product;
  for (Flight& flight : mine.flights) {
    if (flight.d[0] == first.d) return flight;
  }
  Flight& flight = mine.flights.emplace_back();
  flight.n = first.n;
  flight.value.resize(static_cast<size_t>(16 * first.n));
  for (unsigned lane = 0; lane < 32; ++lane) {
    flight.d[lane] = static_cast<Issue*>(arguments[lane])->product->d;
    const auto low = reinterpret_cast<uintptr_t>(flight.d[lane]);
    threads[warp * 32 + lane].under_way.push_back({low, low + static_cast<size_t>(first.n) * 2});
  }
  each_accumulator(flight, [&](float& d, size_t at) {
    flight.value[at] = d;
    std::memcpy(&d, &kPoison, sizeof d);
  });
  return flight;
}

void issue(uint32_t, void* const* arguments) {
  const unsigned warp = static_cast<unsigned>(current) / 32;
  const auto& [first, site] = *static_cast<Issue*>(arguments[0]);
  Warp& mine = warps[slot][warp];
  if (block.threads < (warp / 4 + 1) * 128) return fault(Defect::kWgmma, "the warpgroup is not whole", site);
  if (!mine.fenced) return fault(Defect::kWgmma, "a group of products begins without wgmma_fence", site);
  for (unsigned lane = 1; lane < 32; ++lane) {
    const Product& other = *static_cast<Issue*>(arguments[lane])->product;
    if (other.a != first->a || other.b != first->b || other.accumulate != first->accumulate) {
      return fault(Defect::kWgmma, "lanes give different descriptors", site);
    }
  }
  std::vector<uint64_t>& sequence = issues[slot][warp / 4];
  uint64_t hash = (first->a * 31 + first->b) * 31 + site->line() * 4u + first->accumulate;
  hash = random_next(hash);
  if (mine.issued == sequence.size()) sequence.push_back(hash);
  if (sequence[mine.issued++] != hash) return fault(Defect::kWgmma, "the warps of a warpgroup do different products", site);

  Flight& flight = launch_flight(warp, arguments);
  if (flight.n != first->n) return fault(Defect::kWgmma, "accumulators under way are given to a product of another shape", site);
  ++flight.products;
  Operation& operation = mine.operations.emplace_back(Operation{*first, {}, &flight, false, *site});
  ++mine.open;
  for (int lane = 0; lane < 32 && !first->a_in_memory; ++lane) {
    const uint32_t* fragment = static_cast<Issue*>(arguments[lane])->product->fragment;
    for (int i = 0; i < 8; ++i) {
      const auto bits = static_cast<uint16_t>(fragment[i / 2] >> i % 2 * 16);
      operation.a[lane / 4 + i / 2 % 2 * 8][lane % 4 * 2 + i % 2 + i / 4 * 8] = first->bf16 ? bfloat16_value(bits) : half_value(bits);
    }
  }
  if (!read_operands(operation, warp)) return;
  if (schedule_now.kind == Schedule::kRandom && random_next(random_state) % 4 == 0) execute_all(warp, mine.operations.size());
}

void land(Flight& flight, unsigned warp, const Site& site) {
  bool kept = true;
  each_accumulator(flight, [&](float& d, size_t at) {
    kept = kept && std::memcmp(&d, &kPoison, sizeof d) == 0;
    d = flight.value[at];
  });
  for (unsigned lane = 0; lane < 32; ++lane) {
    std::erase_if(threads[warp * 32 + lane].under_way, [&](const Range& range) { return range.low == reinterpret_cast<uintptr_t>(flight.d[lane]); });
  }
  if (!kept) fault(Defect::kWgmma, "accumulators were written before the wait for their product", &site);
}

struct Wait {
  size_t pending;
  const Site* site;
};

void wait(uint32_t, void* const* arguments) {
  const unsigned warp = static_cast<unsigned>(current) / 32;
  const auto& [pending, site] = *static_cast<Wait*>(arguments[0]);
  Warp& mine = warps[slot][warp];
  while (mine.groups.size() > pending) {
    execute_all(warp, mine.groups.front());
    for (size_t i = mine.groups.front(); i > 0; --i) {
      Operation& operation = mine.operations.front();
      read_operands(operation, warp);
      if (--operation.flight->products == 0) {
        land(*operation.flight, warp, *site);
        mine.flights.remove_if([&](const Flight& flight) { return &flight == operation.flight; });
      }
      mine.operations.pop_front();
    }
    mine.groups.pop_front();
  }
  race_bulk_reads_done(warp);
}

void commit(uint32_t, void* const*) {
  Warp& mine = warps[slot][static_cast<unsigned>(current) / 32];
  mine.groups.push_back(mine.open);
  mine.open = 0;
  mine.fenced = false;
}

void fence_registers(uint32_t, void* const*) { warps[slot][static_cast<unsigned>(current) / 32].fenced = true; }

}  // namespace

void wgmma_begin_block() {
  for (unsigned i = 0; i < block.warps; ++i) warps[slot][i] = {};
  for (auto& sequence : issues[slot]) sequence.clear();
  for (unsigned i = 0; i < block.threads; ++i) threads[i].under_way.clear();
}

void wgmma_leave(unsigned thread) {
  const Warp& mine = warps[slot][thread / 32];
  if (!mine.operations.empty()) fault(Defect::kWgmma, "the thread left the kernel before it waited for its wgmma", &mine.operations.front().site);
}

void wgmma_end_block() {
  for (unsigned i = 0; i < block.warps; ++i) {
    if (warps[slot][i].issued != issues[slot][i / 4].size()) {
      fault(Defect::kWgmma, "warp " + std::to_string(i) + " did fewer products than its warpgroup", nullptr);
    }
  }
}

uint32_t shared_offset(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  // What lies elsewhere gets an address that no block has: the product reports it.
  return at >= dynamic_range().low && at < dynamic_range().high ? static_cast<uint32_t>(at - dynamic_range().low) : 0x3fc00;
}

void wgmma(const Product& product, const Site& site) {
  Issue mine{&product, &site};
  collective(Op::kWgmma, 0xffffffffu, &mine, issue, site);
}
void wgmma_fence(const Site& site) { collective(Op::kWgmma, 0xffffffffu, nullptr, fence_registers, site); }
void wgmma_commit(const Site& site) { collective(Op::kWgmma, 0xffffffffu, nullptr, commit, site); }
void wgmma_wait(int pending_groups, const Site& site) {
  Wait mine{static_cast<size_t>(pending_groups), &site};
  collective(Op::kWgmma, 0xffffffffu, &mine, wait, site);
}
void set_registers(int, bool, const Site& site) { collective(Op::kWgmma, 0xffffffffu, nullptr, nullptr, site); }

}  // namespace gatun::emulation

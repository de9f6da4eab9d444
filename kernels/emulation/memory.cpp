// SPDX-License-Identifier: Apache-2.0
// Device and shared memory. All device memory lies in one reserved range, so that an address tells what it is; between allocations
// there are red zones. Outside launches the plain build makes the range unreachable: host code that reads device memory faults,
// as it does with a GPU. Pinned memory of the host lies at its end and stays open.
#include "kernels/emulation/internal.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "kernels/emulation/graph.h"
#include "kernels/emulation/host.h"

namespace gatun::emulation {

std::recursive_mutex device_lock;

namespace {

// Reserved, not used. The race build reserves 24 times as much again for its shadow.
constexpr size_t kArena = size_t{GATUN_EMULATION_RACE ? 16 : 64} << 30;
constexpr size_t kSlot = size_t{1} << 20;       // of dynamic shared memory for each resident block, in its middle
constexpr size_t kWindow = kResident * kSlot;   // the first bytes of the range
constexpr size_t kPinned = kArena / 8 * 7;      // where pinned memory begins
constexpr size_t kRedZone = 256;                // cudaMalloc's alignment
constexpr size_t kStep = size_t{2} << 20;       // the range grows by this

struct Allocation {
  size_t bytes;
  bool pinned;
};

// A part of the range that grows.
struct Region {
  size_t top;       // next free byte
  size_t open_end;  // what may be touched at all
  size_t end;
};
unsigned char* arena = nullptr;
Region device{kWindow, kWindow, kPinned}, pinned{kPinned, kPinned, kArena};
std::map<uintptr_t, Allocation> allocations;
size_t in_use = 0;  // of the device's memory
Range dynamic{};
[[maybe_unused]] bool reachable = true;
[[maybe_unused]] size_t reachable_from = kWindow;  // what is below has been freed, and stays closed

void make_arena() {
  if (arena != nullptr) return;
  void* memory = mmap(nullptr, kArena, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::fputs("emulation: cannot reserve the device's address range\n", stderr);
    std::abort();
  }
  arena = static_cast<unsigned char*>(memory);
  mprotect(arena, kWindow, PROT_READ | PROT_WRITE);
  ASAN_POISON_MEMORY_REGION(arena, kWindow);
}

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Sections that hold __shared__ variables, in every object of the process that has some.
int find_sections(dl_phdr_info* info, size_t, void* out) {
  const char* path = info->dlpi_name[0] == '\0' ? "/proc/self/exe" : info->dlpi_name;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ElfW(Ehdr) header{};
  std::vector<ElfW(Shdr)> sections;
  std::vector<char> names;
  const auto load = [&](void* to, size_t bytes, size_t at) { return pread(file, to, bytes, static_cast<off_t>(at)) == static_cast<ssize_t>(bytes); };
  if (load(&header, sizeof header, 0) && std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_shnum > 0) {
    sections.resize(header.e_shnum);
    if (load(sections.data(), sections.size() * sizeof sections[0], header.e_shoff)) {
      names.resize(sections[header.e_shstrndx].sh_size + 1);
      if (!load(names.data(), names.size() - 1, sections[header.e_shstrndx].sh_offset)) sections.clear();
      for (const auto& section : sections) {
        if (std::strncmp(names.data() + section.sh_name, ".noinit", 7) != 0 || section.sh_size == 0) continue;
        const uintptr_t low = info->dlpi_addr + section.sh_addr;
        static_cast<std::vector<Range>*>(out)->push_back({low, low + section.sh_size});
      }
    }
  }
  close(file);
  return 0;
}

// Past the sanitizer: red zones lie between the variables.
void fill(uintptr_t low, size_t bytes, int value) {
#if defined(__x86_64__)
  asm volatile("rep stosb" : "+D"(low), "+c"(bytes) : "a"(value) : "memory");
#else
  for (auto* at = reinterpret_cast<volatile unsigned char*>(low); bytes > 0; --bytes) *at++ = static_cast<unsigned char>(value);
#endif
}

void copy_bytes(uintptr_t to, uintptr_t from, size_t bytes) {
#if defined(__x86_64__)
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
#else
  for (; bytes > 0; --bytes) *reinterpret_cast<volatile unsigned char*>(to++) = *reinterpret_cast<volatile unsigned char*>(from++);
#endif
}

}  // namespace

const std::vector<Range>& shared_ranges() {
  static const std::vector<Range> ranges = [] {
    std::vector<Range> found;
    dl_iterate_phdr(find_sections, &found);
    return found;
  }();
  return ranges;
}

uintptr_t arena_base() { make_arena(); return reinterpret_cast<uintptr_t>(arena); }
size_t arena_size() { return kArena; }
const Range& dynamic_range() { return dynamic; }

void protect_device_memory(bool open) {
  make_arena();
#if !GATUN_EMULATION_ASAN && !GATUN_EMULATION_RACE
  if (open == reachable) return;
  reachable = open;
  // Addresses are not used again: without this, each launch would cost as much as all that was ever allocated.
  if (open) reachable_from = (allocations.empty() ? device.top : allocations.begin()->first - arena_base()) / 4096 * 4096;
  if (device.open_end > reachable_from) mprotect(arena + reachable_from, device.open_end - reachable_from, open ? PROT_READ | PROT_WRITE : PROT_NONE);
#else
  (void)open;
#endif
}

bool set_dynamic_shared(size_t bytes) {
  make_arena();
  if (bytes > kMaxShared) return false;
  ASAN_POISON_MEMORY_REGION(arena, kWindow);
  for (unsigned i = 0; i < kResident; ++i) ASAN_UNPOISON_MEMORY_REGION(arena + i * kSlot + kSlot / 2, bytes);
  const auto low = reinterpret_cast<uintptr_t>(arena) + slot * kSlot + kSlot / 2;
  dynamic = {low, low + bytes};
  return true;
}

void exchange_shared(unsigned from, unsigned to) {
  static std::vector<unsigned char> statics[kResident];
  size_t at = 0;
  for (const Range& range : shared_ranges()) at += range.high - range.low;
  for (const unsigned i : {from, to}) statics[i].resize(at);
  at = 0;
  for (const Range& range : shared_ranges()) {
    copy_bytes(reinterpret_cast<uintptr_t>(statics[from].data()) + at, range.low, range.high - range.low);
    copy_bytes(range.low, reinterpret_cast<uintptr_t>(statics[to].data()) + at, range.high - range.low);
    at += range.high - range.low;
  }
  dynamic.low = dynamic.low - from * kSlot + to * kSlot;
  dynamic.high = dynamic.high - from * kSlot + to * kSlot;
}

// All ones is a NaN in float, half and bfloat16, and no sensible index.
void begin_block_memory() {
  for (const Range& range : shared_ranges()) fill(range.low, range.high - range.low, 0xff);
  fill(dynamic.low, dynamic.high - dynamic.low, 0xff);
}

unsigned char* dynamic_shared() { return reinterpret_cast<unsigned char*>(dynamic.low); }
size_t dynamic_shared_bytes() { return dynamic.high - dynamic.low; }

bool is_shared(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at >= dynamic.low && at < dynamic.high) return true;
  for (const Range& range : shared_ranges()) {
    if (at >= range.low && at < range.high) return true;
  }
  return false;
}

bool device_range(uintptr_t address, size_t bytes) {
  static thread_local Range last{};
  static thread_local uint64_t generation = 0;
  static uint64_t changes = 1;
  if (bytes == 0) {  // somebody allocated or freed
    ++changes;
    return true;
  }
  if (generation == changes && address >= last.low && address + bytes <= last.high) return true;
  const Hold hold(device_lock);
  const auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  const auto& [low, allocation] = *std::prev(next);
  if (address + bytes > low + allocation.bytes) return false;
  last = {low, low + allocation.bytes};
  generation = changes;
  return true;
}

bool is_device(const void* address, size_t bytes) { return bytes == 0 || device_range(reinterpret_cast<uintptr_t>(address), bytes); }

std::string address_name(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at >= dynamic.low && at < dynamic.high + kMaxShared) return "byte " + std::to_string(at - dynamic.low) + " of dynamic shared memory";
  if (is_shared(address)) return "static shared memory";
  const Hold hold(device_lock);
  const auto next = allocations.upper_bound(at);
  if (next == allocations.begin() || at - arena_base() >= kArena) return "memory that is not the device's";
  const auto& [low, allocation] = *std::prev(next);
  return "byte " + std::to_string(at - low) + " of a device allocation of " + std::to_string(allocation.bytes) + " bytes";
}

namespace {

cudaError_t allocate(void** memory, size_t bytes, bool of_host) {
  if (memory == nullptr) return record(cudaErrorInvalidValue);
  const Hold hold(device_lock);
  make_arena();
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  Region& region = of_host ? pinned : device;
  const size_t start = region.top + kRedZone, end = round_up(start + bytes + kRedZone, kRedZone);
  if (bytes > kArena || end > region.end || (!of_host && bytes > kDeviceMemory - in_use)) return record(cudaErrorMemoryAllocation);
  if (end > region.open_end) {
    const size_t next = round_up(end, kStep);
    if (mprotect(arena + region.open_end, next - region.open_end, PROT_READ | PROT_WRITE) != 0) return record(cudaErrorMemoryAllocation);
    ASAN_POISON_MEMORY_REGION(arena + region.open_end, next - region.open_end);
    region.open_end = next;
  }
  region.top = end;
  allocations[reinterpret_cast<uintptr_t>(arena + start)] = {bytes, of_host};
  if (!of_host) in_use += bytes;
  protect_device_memory(true);
  ASAN_UNPOISON_MEMORY_REGION(arena + start, bytes);
  device_range(0, 0);
  std::memset(arena + start, 0xff, bytes);
  if (kernel_now == nullptr) protect_device_memory(false);
  *memory = arena + start;
  return cudaSuccess;
}

// Addresses are not used again: whoever keeps a freed pointer is found out. Only its pages go back.
cudaError_t release(void* memory, bool of_host) {
  if (memory == nullptr) return cudaSuccess;
  wait_for_device();
  const Hold hold(device_lock);
  const auto found = allocations.find(reinterpret_cast<uintptr_t>(memory));
  if (found == allocations.end() || found->second.pinned != of_host) {
    append_report("emulation: free of a pointer that was not allocated, or was freed before\n");
    return record(cudaErrorInvalidValue);
  }
  const size_t bytes = found->second.bytes;
  if (!of_host) in_use -= bytes;
  ASAN_POISON_MEMORY_REGION(memory, bytes);
  const uintptr_t low = round_up(found->first, 4096), high = (found->first + bytes) / 4096 * 4096;
  if (high > low) madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
  allocations.erase(found);
  device_range(0, 0);
  return cudaSuccess;
}

bool in_arena(const void* address) { return reinterpret_cast<uintptr_t>(address) - arena_base() < kArena; }

// A pointer of a copy: device memory inside one allocation, or host memory.
bool allowed(const void* address, size_t bytes, bool on_device, const char* which) {
  const bool ok = in_arena(address) ? is_device(address, bytes) && (on_device || allocations.at(std::prev(allocations.upper_bound(
                                          reinterpret_cast<uintptr_t>(address)))->first).pinned)
                                    : !on_device;
  if (!ok) append_report(std::string("emulation: the ") + which + " of a copy is not " + (on_device ? "device" : "host") + " memory, or too short: " + address_name(address) + "\n");
  return ok;
}

cudaError_t copy(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind) {
  if (width == 0 || height == 0) return cudaSuccess;
  if (height > 1 && (width > to_pitch || width > from_pitch)) return record(cudaErrorInvalidValue);
  if (to == nullptr || from == nullptr) return record(cudaErrorInvalidValue);
  const Hold hold(device_lock);
  const bool to_device = kind == cudaMemcpyDefault ? in_arena(to) : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDefault ? in_arena(from) : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (!allowed(to, (height - 1) * to_pitch + width, to_device, "destination") ||
      !allowed(from, (height - 1) * from_pitch + width, from_device, "source")) {
    return record(cudaErrorInvalidValue);
  }
  protect_device_memory(true);
  for (size_t row = 0; row < height; ++row) {
    std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  }
  if (kernel_now == nullptr) protect_device_memory(false);
  return cudaSuccess;
}

}  // namespace
}  // namespace gatun::emulation

using namespace gatun::emulation;

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const cudaError_t error = refuse_in_capture();
  return error == cudaSuccess ? allocate(memory, bytes, false) : error;
}
cudaError_t cudaFree(void* memory) {
  const cudaError_t error = memory == nullptr ? cudaSuccess : refuse_in_capture();
  return error == cudaSuccess ? release(memory, false) : error;
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t) { return cudaMalloc(memory, bytes); }
cudaError_t cudaFreeAsync(void* memory, cudaStream_t) { return cudaFree(memory); }
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const cudaError_t error = refuse_in_capture();
  return error == cudaSuccess ? allocate(memory, bytes, true) : error;
}
cudaError_t cudaFreeHost(void* memory) {
  const cudaError_t error = memory == nullptr ? cudaSuccess : refuse_in_capture();
  return error == cudaSuccess ? release(memory, true) : error;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (free == nullptr || total == nullptr) return record(cudaErrorInvalidValue);
  const Hold hold(device_lock);
  *total = kDeviceMemory;
  *free = kDeviceMemory - in_use;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  if (attributes == nullptr) return record(cudaErrorInvalidValue);
  const Hold hold(device_lock);
  *attributes = {cudaMemoryTypeUnregistered, -2};
  if (is_device(memory, 1)) {
    const auto found = std::prev(allocations.upper_bound(reinterpret_cast<uintptr_t>(memory)));
    *attributes = {found->second.pinned ? cudaMemoryTypeHost : cudaMemoryTypeDevice, 0};
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  wait_for_device();
  return copy(to, bytes, from, bytes, bytes, 1, kind);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return submit(stream, [=] { return copy(to, bytes, from, bytes, bytes, 1, kind); });
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return submit(stream, [=] { return copy(to, to_pitch, from, from_pitch, width, height, kind); });
}
static cudaError_t set(void* memory, int value, size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  const Hold hold(device_lock);
  if (!allowed(memory, bytes, true, "destination")) return record(cudaErrorInvalidValue);
  protect_device_memory(true);
  std::memset(memory, value, bytes);
  if (kernel_now == nullptr) protect_device_memory(false);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) return error;
  wait_for_device();
  return set(memory, value, bytes);
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return submit(stream, [=] { return set(memory, value, bytes); });
}

// SPDX-License-Identifier: Apache-2.0
// Accesses that no compiler can instrument: atomics, ldmatrix and cp.async.
#include <cstring>

#include "kernels/emulation/internal.h"

namespace gatun::emulation {

bool touch(const void* address, size_t bytes, Access access, const Site& site) {
  const Inside guard;
  if (!is_shared(address) && !is_device(address, bytes)) {
    fault(Defect::kBounds, std::to_string(bytes) + " bytes at " + address_name(address), &site);
    return false;
  }
  race_touch(address, bytes, access, false, site);
  return true;
}

void fence() {
  const Inside guard;
  race_fence();
}

void release(const void* address) {
  const Inside guard;
  race_release(address);
}
void acquire(const void* address) {
  const Inside guard;
  race_acquire(address);
}

// The destination is poisoned at once and written as late as the program allows: a kernel that reads it before its wait, or that
// overwrites the source too early, computes garbage on every run.
void copy_async(void* shared, const void* global, int bytes, int source_bytes, const Site& site) {
  const Inside guard;
  if (source_bytes < 0 || source_bytes > bytes) return fault(Defect::kBounds, "cp.async reads more bytes than it writes", &site);
  const auto units = static_cast<uintptr_t>(bytes);
  if (reinterpret_cast<uintptr_t>(shared) % units != 0 || (source_bytes > 0 && reinterpret_cast<uintptr_t>(global) % units != 0)) {
    return fault(Defect::kAlignment, "cp.async of " + std::to_string(bytes) + " bytes", &site);
  }
  if (!is_shared(shared) || !is_shared(static_cast<char*>(shared) + bytes - 1)) {
    return fault(Defect::kBounds, "the destination of cp.async is " + address_name(shared), &site);
  }
  if (source_bytes > 0 && !is_device(global, static_cast<size_t>(source_bytes))) {
    return fault(Defect::kBounds, "the source of cp.async is " + address_name(global), &site);
  }
  race_touch(shared, static_cast<size_t>(bytes), Access::kWrite, true, site);
  std::memset(shared, 0xff, static_cast<size_t>(bytes));
  threads[current].open.push_back({static_cast<unsigned char*>(shared), static_cast<const unsigned char*>(global), bytes, source_bytes, site});
}

void copy_commit() {
  const Inside guard;
  Thread& thread = threads[current];
  // A group without copies counts for the wait, but holds nothing that could be forgotten.
  thread.groups.push_back(std::move(thread.open));
  thread.open.clear();
}

void copy_wait(int pending_groups) {
  const Inside guard;
  Thread& thread = threads[current];
  while (thread.groups.size() > static_cast<size_t>(pending_groups)) {
    for (const AsyncCopy& copy : thread.groups.front()) {
      if (copy.source_bytes > 0) race_touch(copy.global, static_cast<size_t>(copy.source_bytes), Access::kRead, false, copy.site);
      race_touch(copy.shared, static_cast<size_t>(copy.bytes), Access::kWrite, false, copy.site);
      if (copy.source_bytes > 0) std::memcpy(copy.shared, copy.global, static_cast<size_t>(copy.source_bytes));
      std::memset(copy.shared + copy.source_bytes, 0, static_cast<size_t>(copy.bytes - copy.source_bytes));
    }
    thread.groups.pop_front();
  }
}

}  // namespace gatun::emulation

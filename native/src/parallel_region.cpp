// SPDX-License-Identifier: Apache-2.0
// Parallel regions as GCC compiles them, begun and ended faster than its run time does. A region of one thread is a plain call: the run
// time allocates a team for it, makes a system call that wakes nobody and frees the team, which takes longer than a small operation. A team's threads wait for each other
// spinning before they leave: the run time's own barrier sleeps as soon as the process has more of its threads than processors.
#include <omp.h>

#include "kernels/common/spin_barrier.h"

namespace {

struct Region {
  void (*body)(void*);
  void* data;
  gatun::SpinBarrier end;
};

void run(void* data) {
  Region& region = *static_cast<Region*>(data);
  region.body(region.data);
  region.end.wait();
}

}  // namespace

extern "C" {

// What GCC compiles `#pragma omp parallel` to; the linker (--wrap) sends the library's own calls of it here, and nobody else's.
void __real_GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);

void __wrap_GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags) {
  // Within a caller's region the body would take part in the caller's team.
  if (threads == 1 && omp_get_level() == 0) return body(data);
  Region region{body, data, {}};
  __real_GOMP_parallel(run, &region, threads, flags);
}

}  // extern "C"

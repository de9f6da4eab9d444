// SPDX-License-Identifier: Apache-2.0
// A parallel region of one thread is a plain call. GCC's run time allocates a team for it, wakes nobody with a system call and frees the team again:
// more time than a small operation takes.
#include <omp.h>

extern "C" {

// What GCC compiles `#pragma omp parallel` to; the linker (--wrap) sends the library's own calls of it here, and nobody else's.
void __real_GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);

void __wrap_GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags) {
  // Within a caller's region the body would take part in the caller's team.
  if (threads == 1 && omp_get_level() == 0) return body(data);
  __real_GOMP_parallel(body, data, threads, flags);
}

}  // extern "C"

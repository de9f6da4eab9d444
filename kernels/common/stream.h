// SPDX-License-Identifier: Apache-2.0
// What a kernel may know about where it runs.
#pragma once

#include <cstdint>

#if defined(GATUN_CUDA)
// A stream of the CUDA device, or of the emulated one. The handle is a cudaStream_t; the border needs no CUDA header for it.
struct gatun_stream {
  struct gatun_context* context;
  void* handle;
};
#else
// A CPU stream runs an operation inside the call that submits it.
struct gatun_stream {
  struct gatun_context* context;
  int thread_count;
  int threads() const { return thread_count; }
};
#endif

namespace gatun {

using Stream = gatun_stream;

// Work is cut into chunks of a size that depends on the shapes only, never on the number of threads: partial results
// combined in chunk order are then the same bits for any number of threads.
constexpr int64_t chunk_count(int64_t items, int64_t chunk) { return (items + chunk - 1) / chunk; }

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// A barrier within a parallel region whose parts take some ten microseconds. OpenMP's own sleeps after a few microseconds as soon as the process has more of
// its threads than processors (another library's, another Java thread's), and waking takes longer than such a part. A region's end waits so too
// (native/src/parallel_region.cpp).
#pragma once

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "hwy/cache_control.h"

namespace gatun {

class SpinBarrier {
 public:
  // By every thread of the innermost parallel region.
  void wait() {
    const int team = omp_get_num_threads();
    const uint32_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == team) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    static const int processors = omp_get_num_procs();
    int spins = team <= processors ? kSpins : 0;
    while (round_.load(std::memory_order_acquire) == round) {
      if (spins > 0) --spins, hwy::Pause();
      else std::this_thread::yield();
    }
  }

 private:
  static constexpr int kSpins = 20000;  // some 0.3 ms
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Which instruction set a kernel runs on: chosen once per process, the same for every operation.
// Each kernel source is compiled once per level (hwy/foreach_target.h); GATUN_DISPATCH picks the level at run time.
#pragma once

namespace gatun {

enum class Isa { kScalar = 0, kAvx2 = 1, kAvx512 = 2, kNeon = 3 };

// The level in use: the highest that this processor and this build have, or the one that the environment variable GATUN_ISA
// (scalar, avx2, avx512, neon) asks for. Asking for one that is not there is an error at context creation, not a fallback.
Isa isa();

// "scalar", "avx2", "avx512", "neon"
const char* isa_name(Isa level);

// Empty when isa() is as asked; otherwise what is wrong with GATUN_ISA.
const char* isa_problem();

template <class F>
F* pick_isa([[maybe_unused]] F* scalar, [[maybe_unused]] F* avx2, [[maybe_unused]] F* avx512) {
  switch (isa()) {
    case Isa::kAvx512: return avx512;
    case Isa::kAvx2: return avx2;
    default: return scalar;
  }
}

}  // namespace gatun

// The Highway namespaces that foreach_target.h compiled (Highway itself is used as headers only, without its dispatcher).
#if defined(__x86_64__)
#define GATUN_DISPATCH(FUNCTION) \
  (*::gatun::pick_isa(&N_SCALAR::FUNCTION, &N_AVX2::FUNCTION, &N_AVX3::FUNCTION))
#else
#define GATUN_DISPATCH(FUNCTION) (HWY_STATIC_DISPATCH(FUNCTION))
#endif

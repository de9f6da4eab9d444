// SPDX-License-Identifier: Apache-2.0
#include "kernels/common/isa.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace gatun {

namespace {

struct Choice {
  Isa level;
  const char* problem;
};

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
}
Choice choose() {
  __builtin_cpu_init();
  const Isa best = has_avx512() ? Isa::kAvx512 : has_avx2() ? Isa::kAvx2 : Isa::kScalar;
  const char* asked = std::getenv("GATUN_ISA");
  if (asked == nullptr || *asked == '\0') return {best, ""};
  for (const Isa level : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (std::strcmp(asked, isa_name(level)) == 0) {
      if (level <= best) return {level, ""};
      return {best, "GATUN_ISA asks for an instruction set that this processor does not have"};
    }
  }
  return {best, "GATUN_ISA must be scalar, avx2 or avx512"};
}
#else
Choice choose() {
  const char* asked = std::getenv("GATUN_ISA");
  if (asked == nullptr || *asked == '\0' || std::strcmp(asked, "neon") == 0) return {Isa::kNeon, ""};
  return {Isa::kNeon, "GATUN_ISA must be neon on this processor"};
}
#endif

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

Isa isa() { return choice().level; }
const char* isa_problem() { return choice().problem; }

const char* isa_name(Isa level) {
  switch (level) {
    case Isa::kScalar: return "scalar";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    default: return "neon";
  }
}

}  // namespace gatun

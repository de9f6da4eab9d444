// SPDX-License-Identifier: Apache-2.0
// doctest's main on the emulated device: every case under every schedule. GATUN_SCHEDULE=random:3 runs one.
#define DOCTEST_CONFIG_IMPLEMENT
#include "doctest/doctest.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/emulation/runtime.h"

int main(int argc, char** argv) {
  using gatun::emulation::Schedule;
  const std::vector<Schedule> all = {{Schedule::kForward, 0}, {Schedule::kReverse, 0}, {Schedule::kRandom, 1},
                                     {Schedule::kRandom, 2},  {Schedule::kAhead, 1},   {Schedule::kBehind, 2}};
  const char* only = std::getenv("GATUN_SCHEDULE");
  bool ran = false;
  for (const Schedule& schedule : all) {
    if (only != nullptr && schedule.name() != only) continue;
    ran = true;
    gatun::emulation::set_schedule(schedule);
    const int failed = doctest::Context(argc, argv).run();
    if (failed != 0) {
      std::printf("failed under GATUN_SCHEDULE=%s\n", schedule.name().c_str());
      return failed;
    }
  }
  if (!ran) std::printf("there is no schedule %s\n", only);
  return ran ? 0 : 1;
}

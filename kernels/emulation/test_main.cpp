// SPDX-License-Identifier: Apache-2.0
// doctest's main on the emulated device. The plain build runs every case under six schedules, the sanitizers under two and the race check
// under three: what they look for hardly depends on the order. GATUN_SCHEDULE=all runs six in each build, GATUN_SCHEDULE=random:3 that one.
#define DOCTEST_CONFIG_IMPLEMENT
#include "doctest/doctest.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/emulation/runtime.h"

namespace {

using gatun::emulation::Schedule;

#if defined(__SANITIZE_ADDRESS__)
constexpr char kBuild = 'a';
#elif GATUN_EMULATION_RACE
constexpr char kBuild = 'r';
#else
constexpr char kBuild = 'p';
#endif

struct Choice {
  Schedule schedule;
  const char* builds;
};
const Choice kChoices[] = {{{Schedule::kForward, 0}, "par"}, {{Schedule::kReverse, 0}, "p"}, {{Schedule::kRandom, 1}, "pr"},
                           {{Schedule::kRandom, 2}, "pa"},   {{Schedule::kAhead, 1}, "p"},   {{Schedule::kBehind, 2}, "pr"}};

bool parse(const std::string& text, Schedule& schedule) {
  for (int kind = Schedule::kForward; kind <= Schedule::kBehind; ++kind) {
    schedule = {static_cast<Schedule::Kind>(kind), std::strtoull(text.substr(std::min(text.find(':'), text.size() - 1) + 1).c_str(), nullptr, 10)};
    if (schedule.name() == text) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const char* variable = std::getenv("GATUN_SCHEDULE");
  const std::string wanted = variable == nullptr ? "" : variable;
  std::vector<Schedule> schedules;
  if (Schedule one; !wanted.empty() && wanted != "all" && !parse(wanted, one)) {
    std::printf("GATUN_SCHEDULE is all, forward, reverse, random:N, ahead:N or behind:N, not %s\n", variable);
    return 1;
  } else if (!wanted.empty() && wanted != "all") {
    schedules = {one};
  }
  for (const Choice& choice : kChoices) {
    if (wanted == "all" || (wanted.empty() && std::string(choice.builds).find(kBuild) != std::string::npos)) schedules.push_back(choice.schedule);
  }
  for (const Schedule& schedule : schedules) {
    gatun::emulation::set_schedule(schedule);
    const int failed = doctest::Context(argc, argv).run();
    if (failed != 0) {
      std::printf("failed under GATUN_SCHEDULE=%s\n", schedule.name().c_str());
      return failed;
    }
  }
  return 0;
}

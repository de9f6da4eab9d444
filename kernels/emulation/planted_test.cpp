// SPDX-License-Identifier: Apache-2.0
// Every planted bug is found by the builds that claim to, under every schedule, with its kernel and line; and not found once its
// detector is off, so that it is this detector that finds it.
#include "kernels/emulation/planted.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "doctest/doctest.h"
#include "kernels/emulation/runtime.h"

using namespace gatun;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr char kBuild = 'a';
#elif GATUN_EMULATION_RACE
constexpr char kBuild = 'r';
#else
constexpr char kBuild = 'p';
#endif

// A sanitizer ends the process, so each bug runs in one of its own. Returns what it wrote to standard error.
std::string run_apart(const planted::Plant& plant) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    plant.run();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t bytes; (bytes = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(bytes));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return text;
}

std::string line_of(const std::string& file, const std::string& name) {
  std::ifstream source(std::string(GATUN_ROOT) + "/kernels/emulation/" + file);
  REQUIRE(source);
  int number = 0;
  for (std::string line; std::getline(source, line);) {
    ++number;
    const std::string mark = "// planted: " + name;
    if (line.size() >= mark.size() && line.compare(line.size() - mark.size(), mark.size(), mark) == 0) return file + ":" + std::to_string(number);
  }
  FAIL("no line is marked as planted: " << name);
  return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void check_plants(const std::vector<planted::Plant>& plants, const std::string& file) {
  for (const planted::Plant& plant : plants) {
    CAPTURE(plant.name);
    if (!contains(plant.builds, std::string(1, kBuild))) continue;
    const std::string mark = plant.mark == nullptr ? plant.name : plant.mark, text = run_apart(plant);
    CAPTURE(text);
    if (!mark.empty()) CHECK(contains(text, line_of(file, mark)));
    CHECK(contains(text, std::string("kernel ")));
    CHECK(contains(text, plant.name));
    CHECK(contains(text, "block (") );
    CHECK(contains(text, "thread ("));
    const bool sanitizer = contains(text, "AddressSanitizer") || contains(text, "runtime error");
    if (!sanitizer) {
      CHECK(contains(text, std::string("emulation: ") + plant.report));
      for (unsigned i = 0; i < static_cast<unsigned>(emulation::Defect::kCount); ++i) {
        const auto defect = static_cast<emulation::Defect>(i);
        if (emulation::defect_name(defect) == std::string(plant.report)) emulation::set_detection(defect, false);
      }
      const std::string without = run_apart(plant);
      CHECK(!contains(without, std::string("emulation: ") + plant.report));
      for (unsigned i = 0; i < static_cast<unsigned>(emulation::Defect::kCount); ++i) emulation::set_detection(static_cast<emulation::Defect>(i), true);
    }
  }
}

}  // namespace

TEST_CASE("planted: synchronisation") { check_plants(planted::synchronisation_plants(), "planted_synchronisation.cu"); }
TEST_CASE("planted: memory") { check_plants(planted::memory_plants(), "planted_memory.cu"); }
TEST_CASE("planted: cooperative launches") { check_plants(planted::grid_plants(), "planted_grid.cu"); }

TEST_CASE("planted: mbarriers, bulk copies, wgmma") { check_plants(planted::hopper_plants(), "planted_hopper.cu"); }

TEST_CASE("planted: bugs of the host") {
  CHECK(planted::clean_bytes() == cudaSuccess);
  CHECK(planted::too_many_blocks() == cudaErrorCooperativeLaunchTooLarge);
  CHECK(cudaGetLastError() == cudaErrorCooperativeLaunchTooLarge);
  float* memory = planted::memory(16);
  float host[17] = {};
  CHECK(cudaMemcpy(host, memory, sizeof host, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);   // longer than the allocation
  CHECK(cudaMemcpy(host, host, 4, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);               // not device memory
  CHECK(cudaMemcpy(host, memory, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);             // the wrong direction
  CHECK(cudaMemset(host, 0, 4) == cudaErrorInvalidValue);
  CHECK(cudaFree(host) == cudaErrorInvalidValue);
  CHECK(cudaFree(memory) == cudaSuccess);
  CHECK(cudaFree(memory) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
}

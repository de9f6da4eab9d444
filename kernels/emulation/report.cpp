// SPDX-License-Identifier: Apache-2.0
// What a defect is told as: what, in which kernel, block and thread, at which line.
#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/emulation/internal.h"

namespace gatun::emulation {
namespace {

std::string report;
uint32_t detectors = ~0u;

const char* const kNames[] = {"barrier divergence", "left before a barrier", "wrong mask", "dead lane", "different warp operations",
                              "deadlock", "out of bounds", "misaligned address", "race", "uninitialised shared memory", "missing wait for a copy",
                              "wrong mbarrier use", "wrong wgmma use", "missing proxy fence"};
static_assert(sizeof kNames / sizeof *kNames == static_cast<size_t>(Defect::kCount));

std::string short_path(const char* path) {
  const char* folder = std::strstr(path, "kernels/");
  return folder != nullptr ? folder : path;
}

// The answer of addr2line, one "function\nfile:line" for each inlined frame, innermost first. Only reports pay for it.
std::vector<std::pair<std::string, std::string>> frames(const void* address) {
  Dl_info info{};
  if (address == nullptr || dladdr(address, &info) == 0 || info.dli_fname == nullptr) return {};
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  std::string object = std::strstr(info.dli_fname, ".so") != nullptr ? info.dli_fname : path;
  char command[4400];
  const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(info.dli_fbase);
  std::snprintf(command, sizeof command, "addr2line -C -f -i -e '%.4096s' 0x%zx 2>/dev/null", object.c_str(), static_cast<size_t>(offset));
  std::vector<std::pair<std::string, std::string>> result;
  if (FILE* pipe = popen(command, "r"); pipe != nullptr) {
    char function[2048], line[2048];
    while (std::fgets(function, sizeof function, pipe) != nullptr && std::fgets(line, sizeof line, pipe) != nullptr) {
      function[std::strcspn(function, "\n")] = 0;
      line[std::strcspn(line, "\n ")] = 0;
      result.emplace_back(function, short_path(line));
    }
    pclose(pipe);
  }
  return result;
}

std::string triple(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

}  // namespace

const std::string& last_report() { return report; }
void clear_report() { report.clear(); }
void set_detection(Defect defect, bool on) {
  const uint32_t bit = 1u << static_cast<unsigned>(defect);
  detectors = on ? detectors | bit : detectors & ~bit;
}
bool detects(Defect defect) { return (detectors >> static_cast<unsigned>(defect) & 1) != 0; }

const char* defect_name(Defect defect) { return kNames[static_cast<unsigned>(defect)]; }

std::string where(const Site& site) { return short_path(site.file_name()) + ":" + std::to_string(site.line()); }
std::string thread_name(unsigned thread) { return "thread " + triple(threads[thread].index); }

std::string function_name(const void* address) {
  const auto all = frames(address);
  if (all.empty()) return "?";
  std::string name = all.back().first;
  for (size_t at; (at = name.find("(anonymous namespace)::")) != std::string::npos;) name.erase(at, 23);
  return name.substr(0, name.find('('));
}

std::string code_name(const void* address) {
  // A return address is one instruction too far.
  const auto all = frames(static_cast<const char*>(address) - 1);
  for (const auto& [function, line] : all) {
    const bool ours = line.find("kernels/emulation/") == 0 && line.find(".h:") != std::string::npos;
    if (!ours && line.find("kernels/") == 0) return line;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%p", address);
  return all.empty() ? text : all.front().second;
}

void write_context(std::string& text) {
  if (kernel_now == nullptr) return;
  text += "  kernel " + function_name(kernel_now) + ", block " + triple(blockIdx) + ", thread " + triple(threadIdx) + ", schedule " +
          schedule().name();
}

void append_report(const std::string& text) {
  report += text;
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

void fault(Defect defect, const std::string& text, const Site* site) {
  const bool structural = defect <= Defect::kDeadlock;
  if (detects(defect)) {
    std::string message = std::string("emulation: ") + kNames[static_cast<unsigned>(defect)] + ": " + text + "\n";
    write_context(message);
    if (site != nullptr) message += ", at " + where(*site);
    append_report(message + "\n");
  }
  if (kernel_now != nullptr && (structural || detects(defect))) abandon();
}

void warp_fault(Defect defect, const char* text, const Site& site) {
  const Inside guard;
  fault(defect, text, &site);
}

}  // namespace gatun::emulation

#if GATUN_EMULATION_ASAN
// The sanitizers know no CUDA threads: their report is followed by ours.
#define GATUN_HOOK extern "C" __attribute__((visibility("default")))
static void tell() {
  std::string text;
  gatun::emulation::write_context(text);
  if (!text.empty()) std::fprintf(stderr, "emulation: the sanitizer stopped\n%s\n", text.c_str());
}
GATUN_HOOK void __asan_on_error() { tell(); }
GATUN_HOOK void __ubsan_on_report() { tell(); }
// Kernels run on stacks of ours; a launch that was abandoned leaves what it allocated.
GATUN_HOOK const char* __asan_default_options() { return "detect_stack_use_after_return=0:detect_leaks=0"; }
#endif

// SPDX-License-Identifier: Apache-2.0
// doctest's main on a CUDA device: exits with 77 (skipped) where there is none. A kernel that breaks the CUDA context makes every later call
// fail, so the run stops at the case that did it: exit status 3, and a line that names its file. `-sfe=*NAME*` leaves that file out.
#define DOCTEST_CONFIG_IMPLEMENT
#include "doctest/doctest.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gatun.h"

namespace {

gatun_context* device = nullptr;

struct Watch : doctest::IReporter {
  explicit Watch(const doctest::ContextOptions&) {}
  void test_case_start(const doctest::TestCaseData& now) override { test = &now; }
  void test_case_end(const doctest::CurrentTestCaseStats&) override {
    gatun_error error{};
    if (device == nullptr || gatun_context_synchronize(device, &error) == GATUN_OK) return;
    std::printf("the device failed in \"%s\" (%s); no later case was run\ndevice lost in: %s\n", test->m_name, error.message, test->m_file.c_str());
    std::fflush(nullptr);
    std::_Exit(3);
  }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
  const doctest::TestCaseData* test = nullptr;
};
REGISTER_LISTENER("watch", 1, Watch);

// Help and lists need no device.
bool asks_only(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const char* name = argv[i] + std::strspn(argv[i], "-");
    if (std::strncmp(name, "dt-", 3) == 0) name += 3;
    for (const char* query : {"?", "h", "help", "v", "version", "c", "count", "ltc", "list-test-cases", "lts", "list-test-suites", "lr", "list-reporters"}) {
      if (std::strcmp(name, query) == 0) return true;
    }
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  doctest::Context tests(argc, argv);
  if (asks_only(argc, argv)) return tests.run();
  const gatun_context_desc desc{sizeof desc, 1, 0, 0, 0};
  gatun_error error{};
  const gatun_status status = gatun_context_create(&desc, &device, &error);
  if (status != GATUN_OK) {
    std::printf("skipped: %s\n", error.message);
    return status == GATUN_NO_DEVICE ? 77 : 1;
  }
  const int failed = tests.run();
  gatun_context_destroy(device, nullptr);
  return failed;
}

// SPDX-License-Identifier: Apache-2.0
// doctest's main, which exits with 77 (skipped) where this processor lacks the instruction set that GATUN_ISA asks for.
#define DOCTEST_CONFIG_IMPLEMENT
#include "doctest/doctest.h"

#include <cstdio>
#include <cstring>

#include "gatun.h"

int main(int argc, char** argv) {
  const gatun_context_desc desc{sizeof desc, 1, 0, 0, 0};
  gatun_context* context = nullptr;
  gatun_error error{};
  if (gatun_context_create(&desc, &context, &error) != GATUN_OK) {
    std::printf("skipped: %s\n", error.message);
    return std::strstr(error.message, "does not have") != nullptr ? 77 : 1;
  }
  gatun_context_destroy(context, nullptr);
  return doctest::Context(argc, argv).run();
}

// SPDX-License-Identifier: Apache-2.0
// gatun-trials selftest|bench|list: every operation of the library that this program is linked to. A line of text a row, or with --json a
// JSON object a line (what `gatun selftest` and `gatun bench` read).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace {

using namespace gatun::trial;

struct Options {
  std::string command;
  std::vector<std::string> operations;
  bool quick = false, json = false;
  uint32_t seed = 1;
  int threads = 0;
};

Options options;
Ceilings ceilings;
int rows = 0, failures = 0;

std::string number(double value) {  // JSON has no infinity and no NaN
  if (!std::isfinite(value)) return std::isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

template <class Row>
void print_key(const Row& row) {
  std::printf("{\"operation\":\"%s\",\"direction\":\"%s\",\"shape\":\"%s\",\"dtype\":\"%s\"", row.operation.c_str(), row.direction.c_str(),
              row.shape.c_str(), row.dtype.c_str());
}

void report_selftest(const Selftest::Row& row) {
  ++rows;
  if (!row.passed()) ++failures;
  if (options.json) {
    print_key(row);
    std::printf(",\"error\":%s,\"bound\":%s,\"passed\":%s}\n", number(row.error).c_str(), number(row.bound).c_str(), row.passed() ? "true" : "false");
  } else {
    std::printf("%-18s %-22s %-5s %-30s error %9.3g  bound %9.3g  %s\n", row.operation.c_str(), row.direction.c_str(), row.dtype.c_str(),
                row.shape.c_str(), row.error, row.bound, row.passed() ? "ok" : "FAILED");
  }
  std::fflush(stdout);
}

void report_bench(const Bench::Row& row) {
  ++rows;
  const double peak = row.cost.tensor_cores ? ceilings.tensor_flops : ceilings.flops;
  const double by_flops = peak > 0 ? row.cost.flops / peak : 0, by_bytes = ceilings.bytes > 0 ? row.cost.bytes / ceilings.bytes : 0;
  const char* limit = by_flops > by_bytes ? (row.cost.tensor_cores ? "tensor" : "fma") : "copy";
  const double fraction = row.seconds > 0 ? std::max(by_flops, by_bytes) / row.seconds : 0;
  if (options.json) {
    print_key(row);
    std::printf(",\"flops\":%s,\"bytes\":%s", number(row.cost.flops).c_str(), number(row.cost.bytes).c_str());
    if (row.seconds > 0) {
      std::printf(",\"seconds\":%s,\"limit\":\"%s\",\"fraction\":%s", number(row.seconds).c_str(), limit, number(fraction).c_str());
    }
    std::printf("}\n");
  } else {
    std::printf("%-18s %-22s %-5s %-30s %10.2f us %9.1f GFLOP/s %8.1f GB/s  %3.0f %% of %s\n", row.operation.c_str(), row.direction.c_str(),
                row.dtype.c_str(), row.shape.c_str(), row.seconds * 1e6, row.cost.flops / row.seconds * 1e-9, row.cost.bytes / row.seconds * 1e-9,
                100 * fraction, limit);
  }
  std::fflush(stdout);
}

bool wanted(const std::string& name) {
  return options.operations.empty() || std::find(options.operations.begin(), options.operations.end(), name) != options.operations.end();
}

void report_ceilings() {
  if (options.json) {
    std::printf("{\"ceilings\":{\"flops\":%s,\"tensor_flops\":%s,\"bytes\":%s}}\n", number(ceilings.flops).c_str(),
                number(ceilings.tensor_flops).c_str(), number(ceilings.bytes).c_str());
  } else {
    std::printf("ceilings now: %.1f GFLOP/s, matrix units %.1f GFLOP/s, copy %.1f GB/s\n", ceilings.flops * 1e-9, ceilings.tensor_flops * 1e-9,
                ceilings.bytes * 1e-9);
  }
}

int run() {
  const Device device(options.threads);
  std::vector<Operation> all = operations();
  std::sort(all.begin(), all.end(), [](const Operation& a, const Operation& b) { return a.name < b.name; });
  for (const std::string& name : options.operations) {
    if (std::none_of(all.begin(), all.end(), [&](const Operation& operation) { return operation.name == name; })) {
      std::string known;
      for (const Operation& operation : all) known += " " + operation.name;
      std::fprintf(stderr, "there is no operation %s; known are%s\n", name.c_str(), known.c_str());
      return 2;
    }
  }
  const bool list = options.command == "list";
  if (options.json && !list) std::printf("{\"library\":%s}\n", device.info().c_str());
  for (const Operation& operation : all) {
    if (!wanted(operation.name)) continue;
    if (options.command == "selftest") {
      Selftest selftest(device, operation.name, options.seed, options.quick, report_selftest);
      operation.selftest(selftest);
    } else {
      if (!list) {
        ceilings = measure_ceilings(device);  // before each operation: the speed of shared machines drifts
        report_ceilings();
      }
      Bench bench(device, operation.name, device.emulated() ? 0 : options.quick ? 0.02 : 0.2, list, report_bench);
      operation.bench(bench);
    }
  }
  if (options.command == "selftest" && !options.json) std::printf("%d rows, %d failed\n", rows, failures);
  if (rows == 0) {
    std::fprintf(stderr, "nothing was run\n");
    return 2;
  }
  return failures == 0 ? 0 : 1;
}

const char* kUsage =
    "gatun-trials selftest|bench|list [--op NAME]... [--quick] [--seed N] [--threads N] [--json]\n"
    "  selftest  every kernel against the double reference on random shapes; exit status 1 if one misses its bound\n"
    "  bench     time of each kernel, its rate, and the fraction of what the device can do at this moment\n"
    "  list      the rows of bench, without running them\n";

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool has_value = i + 1 < argc;
    if (argument == "--quick") options.quick = true;
    else if (argument == "--json") options.json = true;
    else if (argument == "--op" && has_value) options.operations.push_back(argv[++i]);
    else if (argument == "--seed" && has_value) options.seed = static_cast<uint32_t>(std::atoll(argv[++i]));
    else if (argument == "--threads" && has_value) options.threads = std::atoi(argv[++i]);
    else if (options.command.empty() && (argument == "selftest" || argument == "bench" || argument == "list")) options.command = argument;
    else {
      std::fprintf(stderr, "%s is not understood\n%s", argv[i], kUsage);
      return 2;
    }
  }
  if (options.command.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    return run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 3;
  }
}

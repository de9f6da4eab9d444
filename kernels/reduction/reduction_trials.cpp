// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduction/reduction_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

// Over all elements, over the columns of a row, or over the rows of a column.
enum Over { kAll, kColumns, kRows };

gatun_reduction_desc desc_of(int32_t operation, Over over, int64_t rows, int64_t columns, int32_t dtype = GATUN_F32) {
  const gatun_layout y = over == kAll ? layout(GATUN_F32, {1}) : over == kColumns ? layout(GATUN_F32, {rows, 1}) : layout(GATUN_F32, {columns});
  return {sizeof(gatun_reduction_desc), operation, layout(dtype, {rows, columns}), y};
}

const char* name_of(int32_t operation) {
  return operation == GATUN_REDUCTION_SUM ? "sum" : operation == GATUN_REDUCTION_MEAN ? "mean" : "maximum";
}

ShapeText text_of(Over over, int64_t rows, int64_t columns) {
  return ShapeText({rows, columns}) + (over == kAll ? " to one" : over == kColumns ? " over columns" : " over rows");
}

size_t workspace_of(const gatun_reduction_desc& desc) {
  size_t bytes = 0;
  call([&](gatun_error* e) { return gatun_reduction_workspace(&desc, &bytes, e); });
  return bytes;
}

size_t outputs_of(const gatun_reduction_desc& desc) {
  size_t count = 1;
  for (int i = 0; i < desc.y.rank; ++i) count *= static_cast<size_t>(desc.y.shape[i]);
  return count;
}

// x stored as T, results f32.
template <class T>
void selftest_of(Selftest& s) {
  for (const int32_t operation : {GATUN_REDUCTION_SUM, GATUN_REDUCTION_MEAN, GATUN_REDUCTION_MAXIMUM}) {
    for (const Over over : {kAll, kColumns, kRows}) {
      const int64_t rows = s.extent(1, 3000), columns = s.extent(1, 1200);
      const gatun_reduction_desc desc = desc_of(operation, over, rows, columns, testing::kDtype<T>);
      const std::vector<T> stored = testing::stored<T>(s.normal(rows * columns));
      const std::vector<float> x = testing::loaded(stored);
      std::vector<double> truth(outputs_of(desc));
      std::vector<float> naive(truth.size());
      reduction_reference<double>(operation, desc.x, testing::widen(x).data(), desc.y, truth.data());
      reduction_reference<float>(operation, desc.x, x.data(), desc.y, naive.data());
      Buffer<T> in(s.device(), stored);
      Buffer<float> y(s.device(), truth.size());
      Buffer<char> workspace(s.device(), workspace_of(desc));
      call([&](gatun_error* e) { return gatun_reduction(s.stream(), &desc, in.data(), y.data(), workspace.data(), workspace.size(), e); });
      s.check(name_of(operation), dtype<T>(), text_of(over, rows, columns), y.values(), truth, naive);
    }
  }
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
    const int64_t count = s.extent(1, 200000);
    std::vector<float> x = s.normal(count);
    int32_t expected = 0;
    for (float& v : x) {
      if (!s.chance(0.001)) continue;
      v = s.chance(0.5) ? NAN : -INFINITY;
      ++expected;
    }
    Buffer<float> in(s.device(), x);
    Buffer<int32_t> found(s.device(), 1);
    const gatun_reduction_count_nonfinite_desc desc{sizeof desc, 0, layout(GATUN_F32, {count}), layout(GATUN_I32, {1})};
    call([&](gatun_error* e) { return gatun_reduction_count_nonfinite(s.stream(), &desc, in.data(), found.data(), e); });
    s.check_equal("count nonfinite", "f32", {count}, found.values(), std::vector<int32_t>{expected});
  }
}

void bench(Bench& b) {
  struct Case { int32_t operation; Over over; int64_t rows, columns; };
  const int64_t large = b.emulated() ? 64 : b.device().cpu() ? 8192 : 65536, wide = b.emulated() ? 100 : 1024;
  const std::vector<Case> cases{{GATUN_REDUCTION_SUM, kAll, large, wide},
                                {GATUN_REDUCTION_SUM, kRows, large, wide},
                                {GATUN_REDUCTION_MEAN, kColumns, large, wide},
                                {GATUN_REDUCTION_MAXIMUM, kColumns, large, wide}};
  for (const auto& [operation, over, rows, columns] : cases) {
    const double n = static_cast<double>(rows * columns);
    for_each_storage(b.device(), [&](auto type) {
      using T = decltype(type);
      const gatun_reduction_desc desc = desc_of(operation, over, rows, columns, testing::kDtype<T>);
      b.row(name_of(operation), dtype<T>(), text_of(over, rows, columns), {.flops = n, .bytes = sizeof(T) * n}, [&](Run& run) {
        Rotating<T> x = run.normal<T>(rows * columns);
        Rotating<float> y = run.empty<float>(static_cast<int64_t>(outputs_of(desc)));
        const size_t bytes = workspace_of(desc);
        Rotating<char> workspace = run.empty<char>(static_cast<int64_t>(bytes));
        run.time([&](int i, gatun_error* e) { return gatun_reduction(run.stream(), &desc, x[i], y[i], workspace[i], bytes, e); });
      });
    });
  }
  const int64_t count = large * wide;
  b.row("count nonfinite", "f32", {count}, {.flops = static_cast<double>(count), .bytes = 4.0 * static_cast<double>(count)}, [&](Run& run) {
    Rotating<float> x = run.normal<float>(count);
    Rotating<int32_t> found = run.empty<int32_t>(1);
    const gatun_reduction_count_nonfinite_desc desc{sizeof desc, 0, layout(GATUN_F32, {count}), layout(GATUN_I32, {1})};
    run.time([&](int i, gatun_error* e) { return gatun_reduction_count_nonfinite(run.stream(), &desc, x[i], found[i], e); });
  });
}

GATUN_TRIALS(reduction, selftest, bench);

}  // namespace
}  // namespace gatun::trial

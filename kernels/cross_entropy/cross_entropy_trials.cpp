// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy/cross_entropy_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

// Soft targets, or labels.
template <class T>
struct Descriptors {
  gatun_layout matrix, targets, line, kept;
  gatun_cross_entropy_desc forward;
  gatun_cross_entropy_backward_desc backward;
  Descriptors(int64_t rows, int64_t columns, bool soft, float temperature)
      : matrix(layout(testing::kDtype<T>, {rows, columns})), targets(soft ? layout(GATUN_F32, {rows, columns}) : layout(GATUN_I32, {rows})),
        line(layout(GATUN_F32, {rows})), kept(layout(GATUN_F32, {2 * rows})),
        forward{sizeof forward, temperature, matrix, targets, line, line, kept},
        backward{sizeof backward, temperature, matrix, targets, kept, line, matrix} {}
};

template <class T>
void selftest_of(Selftest& s) {
  using testing::widen;
  const int64_t rows = s.extent(1, 300), columns = s.chance(0.2) ? s.extent(1, 40000) : s.extent(1, 2000);
  const float temperature = s.chance(0.5) ? 1.0f : 0.1f;
  const bool soft = s.chance(0.5);
  const std::vector<float> logits = testing::rounded<T>(s.normal(rows * columns)), dloss = s.normal(rows);
  std::vector<float> targets = s.normal(rows * columns);
  std::vector<int32_t> labels(static_cast<size_t>(rows), -1);
  for (float& t : targets) t = soft ? std::abs(t) / static_cast<float>(columns) : 0.0f;
  for (size_t r = 0; r < labels.size() && !soft; ++r) {
    if (s.chance(0.1)) continue;
    labels[r] = static_cast<int32_t>(s.seed() % static_cast<uint32_t>(columns));
    targets[r * static_cast<size_t>(columns) + static_cast<size_t>(labels[r])] = 1.0f;
  }
  const auto truth = cross_entropy_reference<double>(widen(logits), widen(targets), widen(dloss), static_cast<size_t>(columns), temperature);
  const auto naive = cross_entropy_reference<float>(logits, targets, dloss, static_cast<size_t>(columns), temperature);
  Buffer<T> in(s.device(), testing::stored<T>(logits)), dlogits(s.device(), logits.size());
  Buffer<float> dense(s.device(), targets), upstream(s.device(), dloss), loss(s.device(), dloss.size()), lse(s.device(), dloss.size()), kept(s.device(), 2 * dloss.size());
  Buffer<int32_t> sparse(s.device(), labels);
  const void* given = soft ? static_cast<const void*>(dense.data()) : sparse.data();
  const Descriptors<T> desc(rows, columns, soft, temperature);
  const ShapeText shape = ShapeText({rows, columns}) + (soft ? " soft" : " labels");
  call([&](gatun_error* e) { return gatun_cross_entropy_forward(s.stream(), &desc.forward, in.data(), given, loss.data(), lse.data(), kept.data(), e); });
  s.check("forward", dtype<T>(), shape, loss.values(), truth.loss, naive.loss);
  s.check("forward lse", dtype<T>(), shape, lse.values(), truth.lse, naive.lse);
  call([&](gatun_error* e) { return gatun_cross_entropy_backward(s.stream(), &desc.backward, in.data(), given, kept.data(), upstream.data(), dlogits.data(), e); });
  s.check("backward", dtype<T>(), shape, dlogits.values(), truth.dlogits, naive.dlogits);
}

void selftest(Selftest& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    for_each_storage(s.device(), [&](auto type) { selftest_of<decltype(type)>(s); });
  }
}

template <class T>
void bench_of(Bench& b, int64_t rows, int64_t columns, bool soft) {
  const double n = static_cast<double>(rows * columns), size = sizeof(T), target = soft ? 4 : 0;
  const Descriptors<T> desc(rows, columns, soft, 0.1f);
  const ShapeText shape = ShapeText({rows, columns}) + (soft ? " soft" : " labels");
  b.row("forward", dtype<T>(), shape, {.flops = 7 * n, .bytes = (size + target) * n}, [&](Run& run) {
    Rotating<T> logits = run.normal<T>(rows * columns);
    Rotating<float> targets = soft ? run.filled(std::vector<float>(static_cast<size_t>(rows * columns), 1.0f / static_cast<float>(columns))) : run.empty<float>(1);
    Rotating<int32_t> labels = run.filled(std::vector<int32_t>(static_cast<size_t>(rows), 3));
    Rotating<float> loss = run.empty<float>(rows), lse = run.empty<float>(rows), kept = run.empty<float>(2 * rows);
    run.time([&](int i, gatun_error* e) {
      return gatun_cross_entropy_forward(run.stream(), &desc.forward, logits[i], soft ? static_cast<const void*>(targets[i]) : labels[i], loss[i], lse[i], kept[i], e);
    });
  });
  b.row("backward", dtype<T>(), shape, {.flops = 10 * n, .bytes = (2 * size + target) * n}, [&](Run& run) {
    Rotating<T> logits = run.normal<T>(rows * columns), dlogits = run.empty<T>(rows * columns);
    Rotating<float> targets = soft ? run.filled(std::vector<float>(static_cast<size_t>(rows * columns), 1.0f / static_cast<float>(columns))) : run.empty<float>(1);
    Rotating<int32_t> labels = run.filled(std::vector<int32_t>(static_cast<size_t>(rows), 3));
    Rotating<float> dloss = run.normal<float>(rows), kept = run.filled(std::vector<float>(static_cast<size_t>(2 * rows), 1.0f / static_cast<float>(columns)));
    run.time([&](int i, gatun_error* e) {
      return gatun_cross_entropy_backward(run.stream(), &desc.backward, logits[i], soft ? static_cast<const void*>(targets[i]) : labels[i], kept[i], dloss[i], dlogits[i], e);
    });
  });
}

void bench(Bench& b) {
  struct Shape { int64_t rows, columns; bool soft; };
  // Swapped prediction, self-distillation, classification.
  const std::vector<Shape> shapes = b.emulated()      ? std::vector<Shape>{{16, 300, true}}
                                    : b.device().cpu() ? std::vector<Shape>{{512, 3000, true}, {256, 1000, false}}
                                                       : std::vector<Shape>{{8192, 3000, true}, {1024, 65536, true}, {16384, 1000, false}};
  for (const auto [rows, columns, soft] : shapes) {
    for_each_storage(b.device(), [&](auto type) { bench_of<decltype(type)>(b, rows, columns, soft); });
  }
}

GATUN_TRIALS(cross_entropy, selftest, bench);

}  // namespace
}  // namespace gatun::trial

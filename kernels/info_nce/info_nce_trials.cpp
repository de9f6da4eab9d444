// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/info_nce/info_nce_reference.h"
#include "kernels/trial/bench.h"
#include "kernels/trial/selftest.h"

namespace gatun::trial {
namespace {

constexpr float kTemperature = 0.1f;

// Of N queries and M keys; M = 0: the self form.
template <class T>
struct Descriptors {
  gatun_info_nce_desc forward;
  gatun_info_nce_backward_desc backward;
  Descriptors(int64_t n, int64_t m, int64_t depth) {
    const gatun_layout none{}, q = layout(testing::kDtype<T>, {n, depth}), k = m == 0 ? none : layout(testing::kDtype<T>, {m, depth});
    const gatun_layout ids = layout(GATUN_I32, {n}), key_ids = m == 0 ? none : layout(GATUN_I32, {m}), line = layout(GATUN_F32, {n});
    forward = {sizeof forward, kTemperature, q, k, ids, key_ids, line, line, ids};
    backward = {sizeof backward, kTemperature, q, k, ids, key_ids, line, ids, line, q, k};
  }
  size_t bytes(gatun_stream* stream) const {
    size_t one = 0, other = 0;
    call([&](gatun_error* e) { return gatun_info_nce_forward_workspace(stream, &forward, &one, e); });
    call([&](gatun_error* e) { return gatun_info_nce_backward_workspace(stream, &backward, &other, e); });
    return std::max(one, other);
  }
};

std::vector<int32_t> groups(int64_t rows, int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < rows; ++i) ids.push_back(i % 11 == 10 ? -1 : static_cast<int32_t>(i % count));
  return ids;
}

template <class T>
void selftest_type(Selftest& s) {
  for (int round = 0; round < 2 * s.rounds(); ++round) {
    const bool self = round % 2 == 0;
    const int64_t n = s.extent(1, 700), m = self ? n : s.extent(1, 700), depth = s.extent(1, 300);
    const float length = 1 / std::sqrt(static_cast<float>(depth));
    const std::vector<T> q = testing::stored<T>(s.normal(n * depth, length)), k = self ? q : testing::stored<T>(s.normal(m * depth, length));
    const std::vector<float> dloss = s.normal(n);
    const std::vector<int32_t> ids = groups(n, n / 2 + 1), key_ids = self ? ids : groups(m, n / 2 + 1);
    const auto reference = [&]<class R>(R) {
      const auto as = [](const std::vector<float>& x) { return std::vector<R>(x.begin(), x.end()); };
      return info_nce_reference<R>(self, as(testing::loaded(q)), as(testing::loaded(k)), ids, key_ids, as(dloss), depth, static_cast<R>(kTemperature));
    };
    const auto truth = reference(double());
    const auto naive = reference(float());
    const Descriptors<T> desc(n, self ? 0 : m, depth);
    const Buffer<T> q_buffer(s.device(), q), k_buffer(s.device(), k);
    const Buffer<int32_t> id_buffer(s.device(), ids), key_id_buffer(s.device(), key_ids);
    const Buffer<float> gradient(s.device(), dloss);
    const size_t rows = static_cast<size_t>(n), bytes = desc.bytes(s.stream());
    Buffer<float> loss(s.device(), rows), lse(s.device(), rows);
    Buffer<int32_t> positives(s.device(), rows);
    Buffer<T> dq(s.device(), q.size()), dk(s.device(), k.size());
    Buffer<char> workspace(s.device(), bytes);
    const void* keys = self ? nullptr : k_buffer.data();
    const void* key_groups = self ? nullptr : key_id_buffer.data();
    call([&](gatun_error* e) {
      return gatun_info_nce_forward(s.stream(), &desc.forward, q_buffer.data(), keys, id_buffer.data(), key_groups, loss.data(), lse.data(),
                                    positives.data(), workspace.data(), bytes, e);
    });
    call([&](gatun_error* e) {
      return gatun_info_nce_backward(s.stream(), &desc.backward, q_buffer.data(), keys, id_buffer.data(), key_groups, lse.data(), positives.data(),
                                     gradient.data(), dq.data(), self ? nullptr : dk.data(), workspace.data(), bytes, e);
    });
    const ShapeText shape = self ? ShapeText({n, n, depth}) + " self" : ShapeText({n, m, depth}).text;
    s.check("loss", dtype<T>(), shape, loss.values(), truth.loss, naive.loss);
    s.check_equal("positives", "i32", shape, positives.values(), truth.positives);
    s.check("dq", dtype<T>(), shape, dq.values(), truth.dq, naive.dq);
    if (!self) s.check("dk", dtype<T>(), shape, dk.values(), truth.dk, naive.dk);
  }
}

void selftest(Selftest& s) {
  for_each_storage(s.device(), [&](auto type) { selftest_type<decltype(type)>(s); });
}

// SimCLR's loss of n / 2 pairs of views.
template <class T>
void bench_self(Bench& b, int64_t n, int64_t depth) {
  const double pairs = static_cast<double>(n) * static_cast<double>(n), bytes = static_cast<double>(n * depth) * sizeof(T);
  const auto row = [&](const char* direction, double products, double moved) {
    const Cost cost{.flops = products * 2 * pairs * static_cast<double>(depth), .bytes = moved, .tensor_cores = sizeof(T) == 2};
    b.row(direction, dtype<T>(), ShapeText({n, n, depth}) + " self", cost, [=, backward = products > 1](Run& run) {
      const Descriptors<T> desc(n, 0, depth);
      Rotating<T> q = run.normal<T>(n * depth, 1 / std::sqrt(static_cast<float>(depth))), dq = run.empty<T>(n * depth);
      Rotating<int32_t> ids = run.filled(groups(n, n / 2)), positives = run.empty<int32_t>(n);
      Rotating<float> loss = run.empty<float>(n), lse = run.filled(std::vector<float>(static_cast<size_t>(n), 10.0f));
      Rotating<float> dloss = run.filled(std::vector<float>(static_cast<size_t>(n), 1.0f / static_cast<float>(n)));
      const size_t size = desc.bytes(run.stream());
      Buffer<char> workspace(run.device(), size);
      run.time([&](int i, gatun_error* e) {
        return backward ? gatun_info_nce_backward(run.stream(), &desc.backward, q[i], nullptr, ids[i], nullptr, lse[i], positives[i], dloss[i], dq[i],
                                                  nullptr, workspace.data(), size, e)
                        : gatun_info_nce_forward(run.stream(), &desc.forward, q[i], nullptr, ids[i], nullptr, loss[i], lse[i], positives[i],
                                                 workspace.data(), size, e);
      });
    });
  };
  row("forward", 1, bytes);
  row("backward", 2, 2 * bytes);
}

void bench(Bench& b) {
  for_each_storage(b.device(), [&](auto type) {
    using T = decltype(type);
    if (b.emulated()) return bench_self<T>(b, 64, 16);
    bench_self<T>(b, 1024, 128);
    bench_self<T>(b, 8192, 128);
  });
}

GATUN_TRIALS(info_nce, selftest, bench);

}  // namespace
}  // namespace gatun::trial

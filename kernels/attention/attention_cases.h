// SPDX-License-Identifier: Apache-2.0
// What the tests of attention share: problems in both forms, the reference over all heads, a run of the kernels, and the comparison.
#pragma once

#include "kernels/attention/attention_reference.h"

#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "kernels/testing/memory.h"
#include "kernels/testing/storage.h"
#include "kernels/testing/testing.h"

using namespace gatun;
using namespace gatun::testing;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kGuard = 7.0f;
// The emulated device runs every thread of a block in turn: it gets the shapes that differ in what a kernel does.
#if defined(GATUN_CUDA)
constexpr int64_t kMany = 1;
const std::vector<std::pair<int64_t, int64_t>> kSizes = {{1, 1}, {33, 50}, {64, 131}, {80, 37}, {128, 35}};
const std::vector<std::pair<int64_t, int64_t>> kUnequal = {{1, 100}, {130, 1}, {20, 70}, {130, 40}};
#else
constexpr int64_t kMany = 2;
const std::vector<std::pair<int64_t, int64_t>> kSizes = [] {  // head dimension, length
  std::vector<std::pair<int64_t, int64_t>> sizes;
  for (const int64_t depth : {1, 3, 33, 64, 80, 128}) {
    for (const int64_t length : {1, 2, 37, 50, 131}) sizes.emplace_back(depth, length);
  }
  return sizes;
}();
const std::vector<std::pair<int64_t, int64_t>> kUnequal = {{1, 197}, {197, 1}, {70, 300}, {300, 70}, {270, 530}};
#endif

// A problem in either form. `bias` has extents 1 where it is broadcast; empty vectors of offsets mean batched.
struct Case {
  int64_t batch = 1, queries = 1, keys = 1, heads = 1, depth = 1;
  bool causal = false;
  int64_t bias_batch = 0, bias_heads = 0, bias_queries = 0;  // 0: no bias
  std::vector<int32_t> query_offsets = {}, key_offsets = {};
  bool one_buffer = false;  // q, k, v (and dq, dk, dv) are views of one (B, N, 3, H, D) buffer
  float scale_factor = 1;
  float scale() const { return scale_factor / std::sqrt(static_cast<float>(depth)); }
  bool ragged() const { return !query_offsets.empty(); }
  int64_t query_values() const { return (ragged() ? 1 : batch) * queries * heads * depth; }
  int64_t key_values() const { return (ragged() ? 1 : batch) * keys * heads * depth; }
  int64_t rows() const { return (ragged() ? 1 : batch) * queries * heads; }
  bool biased() const { return bias_batch > 0; }
  int64_t bias_values() const { return bias_batch * bias_heads * bias_queries * keys; }
};

template <class T>
struct Data {
  std::vector<T> q, k, v, bias, dout;
};

template <class T>
struct Answer {
  std::vector<T> out, lse, dq, dk, dv, dbias;
};

Data<float> random_inputs(const Case& c, uint32_t seed) {
  return {normal(c.query_values(), seed), normal(c.key_values(), seed + 1), normal(c.key_values(), seed + 2), normal(c.bias_values(), seed + 3),
          normal(c.query_values(), seed + 4)};
}

Data<double> widen(const Data<float>& d) {
  using gatun::testing::widen;
  return {widen(d.q), widen(d.k), widen(d.v), widen(d.bias), widen(d.dout)};
}

// Operands as they are once stored in S.
template <class S>
Data<float> stored_inputs(const Data<float>& d) {
  return {rounded<S>(d.q), rounded<S>(d.k), rounded<S>(d.v), d.bias, rounded<S>(d.dout)};
}

// Everything through the one-head reference.
template <class T, class Round = Unrounded>
Answer<T> reference(const Case& c, const Data<T>& d, Round round = {}) {
  const size_t query_values = static_cast<size_t>(c.query_values()), key_values = static_cast<size_t>(c.key_values());
  Answer<T> a{std::vector<T>(query_values), std::vector<T>(static_cast<size_t>(c.rows()), -std::numeric_limits<T>::infinity()),
              std::vector<T>(query_values), std::vector<T>(key_values), std::vector<T>(key_values),
              std::vector<T>(static_cast<size_t>(c.bias_values()))};
  for (int64_t b = 0; b < c.batch; ++b) {
    const int64_t query_start = c.ragged() ? c.query_offsets[static_cast<size_t>(b)] : b * c.queries;
    const int64_t key_start = c.ragged() ? c.key_offsets[static_cast<size_t>(b)] : b * c.keys;
    const AttentionSize n{c.ragged() ? c.query_offsets[static_cast<size_t>(b) + 1] - query_start : c.queries,
                          c.ragged() ? c.key_offsets[static_cast<size_t>(b) + 1] - key_start : c.keys, c.depth, c.causal};
    for (int64_t h = 0; h < c.heads; ++h) {
      const auto take = [&](const std::vector<T>& from, int64_t start, int64_t rows) {
        std::vector<T> to;
        for (int64_t r = 0; r < rows; ++r) {
          const auto at = from.begin() + ((start + r) * c.heads + h) * c.depth;
          to.insert(to.end(), at, at + c.depth);
        }
        return to;
      };
      const auto put = [&](const std::vector<T>& from, std::vector<T>& to, int64_t start, int64_t rows) {
        for (int64_t r = 0; r < rows; ++r) std::copy_n(from.begin() + r * c.depth, c.depth, to.begin() + ((start + r) * c.heads + h) * c.depth);
      };
      const auto bias_at = [&](int64_t i, int64_t j) {
        const int64_t slab = (c.bias_batch == 1 ? 0 : b) * c.bias_heads + (c.bias_heads == 1 ? 0 : h);
        return static_cast<size_t>((slab * c.bias_queries + (c.bias_queries == 1 ? 0 : i)) * c.keys + j);
      };
      const std::vector<T> q = take(d.q, query_start, n.queries), k = take(d.k, key_start, n.keys), v = take(d.v, key_start, n.keys);
      const std::vector<T> dout = take(d.dout, query_start, n.queries);
      std::vector<T> bias(c.biased() ? static_cast<size_t>(n.queries * n.keys) : 0), dbias(bias.size());
      for (int64_t i = 0; i < n.queries && c.biased(); ++i) {
        for (int64_t j = 0; j < n.keys; ++j) bias[static_cast<size_t>(i * n.keys + j)] = d.bias[bias_at(i, j)];
      }
      std::vector<T> out(q.size()), lse(static_cast<size_t>(n.queries)), dq(q.size()), dk(k.size()), dv(k.size());
      const T scale = static_cast<T>(c.scale());
      const T* bias_data = c.biased() ? bias.data() : nullptr;
      attention_reference<T>(n, scale, q.data(), k.data(), v.data(), bias_data, out.data(), lse.data(), round);
      attention_backward_reference<T>(n, scale, q.data(), k.data(), v.data(), bias_data, out.data(), lse.data(), dout.data(), dq.data(),
                                      dk.data(), dv.data(), c.biased() ? dbias.data() : nullptr, round);
      put(out, a.out, query_start, n.queries);
      put(dq, a.dq, query_start, n.queries);
      put(dk, a.dk, key_start, n.keys);
      put(dv, a.dv, key_start, n.keys);
      const int64_t lse_row = c.ragged() ? h * c.queries + query_start : (b * c.heads + h) * c.queries;
      std::copy(lse.begin(), lse.end(), a.lse.begin() + lse_row);
      for (int64_t i = 0; i < n.queries && c.biased(); ++i) {
        for (int64_t j = 0; j < n.keys; ++j) a.dbias[bias_at(i, j)] += dbias[static_cast<size_t>(i * n.keys + j)];
      }
    }
  }
  return a;
}

// An operand inside a larger buffer whose other elements must stay as they are.
template <class S>
struct Strided {
  gatun_layout shape;
  std::vector<S>* buffer;
  int64_t start;
  template <class F>
  void each(F&& f) const {
    int64_t index[GATUN_MAX_RANK] = {};
    const int64_t count = std::accumulate(shape.shape, shape.shape + shape.rank, int64_t{1}, std::multiplies<>());
    for (int64_t n = 0; n < count; ++n) {
      int64_t at = start;
      for (int r = 0; r < shape.rank; ++r) at += index[r] * shape.stride[r];
      f(static_cast<size_t>(n), (*buffer)[static_cast<size_t>(at)]);
      for (int r = shape.rank - 1; r >= 0 && ++index[r] == shape.shape[r]; --r) index[r] = 0;
    }
  }
  void fill(const std::vector<float>& values) const { each([&](size_t n, S& at) { at = static_cast<S>(values[n]); }); }
  std::vector<float> take(size_t count) const {
    std::vector<float> values(count);
    each([&](size_t n, S& at) { values[n] = static_cast<float>(std::exchange(at, static_cast<S>(kGuard))); });
    return values;
  }
};

template <class S>
Strided<S> view(const Case& c, std::vector<S>& buffer, int64_t rows, int part, int parts) {
  const int64_t head = c.depth, row = parts * c.heads * c.depth;
  buffer.resize(static_cast<size_t>((c.ragged() ? 1 : c.batch) * rows * row + 1), static_cast<S>(kGuard));
  const int64_t start = part * c.heads * c.depth;
  if (c.ragged()) return {layout(kDtype<S>, {rows, c.heads, c.depth}, {row, head, 1}), &buffer, start};
  return {layout(kDtype<S>, {c.batch, rows, c.heads, c.depth}, {rows * row, row, head, 1}), &buffer, start};
}

template <class S>
bool guarded(const std::vector<S>& buffer) {
  return std::all_of(buffer.begin(), buffer.end(), [](S x) { return static_cast<float>(x) == kGuard; });
}

// Of exactly the bytes asked for, but for what aligns it.
struct Workspace {
  Memory<float> memory;
  size_t bytes;
  explicit Workspace(size_t bytes) : memory(bytes / sizeof(float) + 32, kGuard), bytes(bytes) {}
  size_t offset() const { return (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / sizeof(float); }
  void* data() { return memory.data() + offset(); }
  bool intact() const {
    const std::vector<float> values = memory.values();
    return std::all_of(values.begin() + static_cast<int64_t>(offset() + bytes / sizeof(float)), values.end(), [](float x) { return x == kGuard; });
  }
};

template <class S = float>
Answer<float> run_kernel(const Case& c, const Data<float>& d, int threads = 2) {
  Device device(threads);
  std::vector<S> buffers[4], gradient_buffers[4], out_buffer, dout_buffer;
  const auto three = [&](std::vector<S>* b, int part, int64_t rows) {
    return c.one_buffer ? view(c, b[0], rows, part, 3) : view(c, b[part], rows, 0, 1);
  };
  const Strided<S> q = three(buffers, 0, c.queries), k = three(buffers, 1, c.keys), v = three(buffers, 2, c.keys);
  const Strided<S> dq = three(gradient_buffers, 0, c.queries), dk = three(gradient_buffers, 1, c.keys), dv = three(gradient_buffers, 2, c.keys);
  const Strided<S> out = view(c, out_buffer, c.queries, c.one_buffer, c.one_buffer ? 2 : 1);
  const Strided<S> dout = view(c, dout_buffer, c.queries, 0, c.one_buffer ? 2 : 1);
  q.fill(d.q);
  k.fill(d.k);
  v.fill(d.v);
  dout.fill(d.dout);
  std::map<std::vector<S>*, Memory<S>> placed;
  const auto place = [&](const Strided<S>& operand) { return placed.try_emplace(operand.buffer, *operand.buffer).first->second.data() + operand.start; };
  S *const q_data = place(q), *const k_data = place(k), *const v_data = place(v), *const dq_data = place(dq), *const dk_data = place(dk);
  S *const dv_data = place(dv), *const out_data = place(out), *const dout_data = place(dout);
  Memory<float> lse_memory(static_cast<size_t>(c.rows()), kGuard), dbias_memory(static_cast<size_t>(c.bias_values()), kGuard);
  const Memory<float> bias_memory(d.bias);
  const Memory<int32_t> query_memory(c.query_offsets), key_memory(c.key_offsets);
  const gatun_layout lse = c.ragged() ? layout(GATUN_F32, {c.heads, c.queries}) : layout(GATUN_F32, {c.batch, c.heads, c.queries});
  const gatun_layout bias = c.biased() ? layout(GATUN_F32, {c.bias_batch, c.bias_heads, c.bias_queries, c.keys}) : gatun_layout{};
  const gatun_layout offsets = c.ragged() ? layout(GATUN_I32, {c.batch + 1}) : gatun_layout{};
  const void* query_offsets = c.ragged() ? query_memory.data() : nullptr;
  const void* key_offsets = c.ragged() ? key_memory.data() : nullptr;
  const void* bias_data = c.biased() ? bias_memory.data() : nullptr;
  const gatun_attention_desc desc{sizeof desc, c.causal, c.scale(), 0, q.shape, k.shape, v.shape, bias, offsets, offsets, out.shape, lse};
  size_t bytes = 0;
  run([&](gatun_error* e) { return gatun_attention_forward_workspace(device.stream(), &desc, &bytes, e); });
  Workspace workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_attention_forward(device.stream(), &desc, q_data, k_data, v_data, bias_data, query_offsets, key_offsets, out_data,
                                   lse_memory.data(), workspace.data(), bytes, e);
  });
  CHECK(workspace.intact());
  const gatun_attention_backward_desc back{sizeof back, c.causal, c.scale(), 0,         q.shape,  k.shape,  v.shape,  bias, offsets,
                                           offsets,     out.shape, lse,      dout.shape, dq.shape, dk.shape, dv.shape, bias};
  run([&](gatun_error* e) { return gatun_attention_backward_workspace(device.stream(), &back, &bytes, e); });
  Workspace back_workspace(bytes);
  run([&](gatun_error* e) {
    return gatun_attention_backward(device.stream(), &back, q_data, k_data, v_data, bias_data, query_offsets, key_offsets, out_data,
                                    lse_memory.data(), dout_data, dq_data, dk_data, dv_data, c.biased() ? dbias_memory.data() : nullptr,
                                    back_workspace.data(), bytes, e);
  });
  CHECK(back_workspace.intact());
  for (auto& [buffer, memory] : placed) *buffer = memory.values();
  Answer<float> a;
  a.lse = lse_memory.values();
  a.dbias = dbias_memory.values();
  a.out = out.take(d.q.size());
  a.dq = dq.take(d.q.size());
  a.dk = dk.take(d.k.size());
  a.dv = dv.take(d.k.size());
  for (const std::vector<S>* buffer : {&gradient_buffers[0], &gradient_buffers[1], &gradient_buffers[2], &out_buffer}) CHECK(guarded(*buffer));
  return a;
}

// Where dout·vᵀ and δ cancel, as they do with one key, the yardstick's error is 0 by luck: two sums of the same products may differ by
// what their roundings add up to, statistically the root of their number.
double cancelled(const Case& c, const Data<float>& d) {
  return std::numeric_limits<float>::epsilon() * std::sqrt(static_cast<double>(c.depth)) * magnitude(d.dout) * magnitude(d.v);
}

// The weights that backward takes from log_sum_exp have its rounding for a relative error, which the yardstick's, divided by their sum, have not:
// what dv = Pᵀ·dout may be off by. Small scores leave less than the bound allows anyway.
double rounded_weights(const Case& c, const Data<float>& d, const Answer<double>& truth) {
  double largest = 0;
  for (const double lse : truth.lse) largest = std::isfinite(lse) ? std::max(largest, std::abs(lse)) : largest;
  if (largest < 32) return 0;
  Data<double> absolute = widen(d);
  for (double& x : absolute.dout) x = std::abs(x);
  return largest * 0x1p-24 * magnitude(reference(c, absolute).dv);
}

template <class S>
void check_gradient(const std::vector<float>& result, const std::vector<double>& truth, const std::vector<float>& naive, double added) {
  const double allowed = stored_bound<S>(truth, naive) + added;
  CHECK(distance(result, truth) <= allowed);
  if (result.empty()) return;
  std::vector<float> perturbed = result;
  perturbed[0] = static_cast<float>(perturbed[0] + (result[0] >= truth[0] ? 4 : -4) * allowed);
  CHECK(distance(perturbed, truth) > allowed);
}

template <class S = float>
void check(const Case& c, const Data<float>& given) {
  CAPTURE(c.batch); CAPTURE(c.queries); CAPTURE(c.keys); CAPTURE(c.heads); CAPTURE(c.depth); CAPTURE(c.causal); CAPTURE(c.one_buffer);
  const Data<float> d = stored_inputs<S>(given);
  const Answer<double> truth = reference(c, widen(d));
  const Answer<float> naive = reference(c, d, [](float x) { return static_cast<float>(static_cast<S>(x)); });
  const Answer<float> result = run_kernel<S>(c, d);
  check_stored(stored<S>(result.out), truth.out, naive.out);
  check_close(result.lse, truth.lse, naive.lse);
  const double score = cancelled(c, d), scale = std::abs(static_cast<double>(c.scale()));
  check_gradient<S>(result.dq, truth.dq, naive.dq, score * scale * magnitude(d.k));
  check_gradient<S>(result.dk, truth.dk, naive.dk, score * scale * magnitude(d.q));
  check_gradient<S>(result.dv, truth.dv, naive.dv, rounded_weights(c, d, truth));
  check_gradient<float>(result.dbias, truth.dbias, naive.dbias, score);
}

#if !defined(GATUN_CUDA)
bool same_bits(const Answer<float>& a, const Answer<float>& b) {
  using gatun::testing::same_bits;
  return same_bits(a.out, b.out) && same_bits(a.lse, b.lse) && same_bits(a.dq, b.dq) && same_bits(a.dk, b.dk) && same_bits(a.dv, b.dv) &&
         same_bits(a.dbias, b.dbias);
}
#endif

template <class T>
bool all_equal(const std::vector<T>& values, T value) {
  return std::all_of(values.begin(), values.end(), [&](T x) { return x == value; });
}

}  // namespace

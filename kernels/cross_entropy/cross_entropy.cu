// SPDX-License-Identifier: Apache-2.0
// Bound by memory. Forward is one sweep that keeps nothing of a row; backward holds logits and targets in registers between its two
// (row_groups.h). Labels are the soft targets that they stand for.
#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/common/row_softmax.h"

namespace gatun {
namespace {

template <int N>
__device__ __forceinline__ Floats<N> one_hot(int64_t index, int64_t label) {
  Floats<N> t;
  for (int i = 0; i < N; ++i) t.at[i] = index * N + i == label ? 1.0f : 0.0f;
  return t;
}

// Packs held in registers: as many bytes of logits and f32 targets as fit beside the arithmetic.
template <class T>
inline constexpr int kHeld = std::is_same_v<T, float> ? 4 : 2;

template <class T, int N, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound) forward_kernel(Rows<const T> logits, CrossEntropyTargets targets, float* loss, float* lse, float scale) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  for (int64_t first = blockIdx.x * group.rows(); first < logits.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < logits.rows ? logits.columns / N : 0;
    HeldRow<T, N, kHeld<T>> x;
    HeldRow<float, N, kHeld<T>> t;
    x.load(group, row_of(logits, row), count);
    OnlineSums<T> sums{scale};
    int64_t label = 0;
    if (targets.soft != nullptr) {
      t.load(group, targets.soft + row * targets.soft_stride, count);
      for_packs(group, count, [&](int64_t, const Floats<N>& v, const Floats<N>& target) { sums.add(v, target); }, x, t);
    } else {
      if (row < logits.rows) label = targets.labels[row];
      for_packs(group, count, [&](int64_t index, const Floats<N>& v) { sums.add(v, one_hot<N>(index, label)); }, x);
    }
    sums.join(group);
    const float total = group.sum(sums.targets), dot = group.sum(sums.dot);
    if (group.thread() == 0 && row < logits.rows) {
      const bool masked = sums.exps == 0.0f;
      const float log_sum = logf(sums.exps);
      const float value = label >= logits.columns ? NAN : total * log_sum - dot;
      loss[row] = masked || label < 0 ? 0.0f : value;
      if (lse != nullptr) lse[row] = masked ? -INFINITY : sums.largest * scale + log_sum;
    }
  }
}

// dlogits may be logits: each thread writes only what it has read itself.
template <class T, int N, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound) backward_kernel(Rows<const T> logits, CrossEntropyTargets targets, const float* dloss,
                                                                           int64_t dloss_stride, Rows<T> dlogits, float scale) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  for (int64_t first = blockIdx.x * group.rows(); first < logits.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < logits.rows ? logits.columns / N : 0;
    const bool soft = targets.soft != nullptr;
    HeldRow<T, N, kHeld<T>> x;
    HeldRow<float, N, kHeld<T>> t;
    x.load(group, row_of(logits, row), count);
    OnlineSums<T> sums{scale};
    int64_t label = 0;
    float upstream = 0, total = 1;
    if (row < logits.rows) {
      upstream = dloss[row * dloss_stride] * scale;
      if (!soft) label = targets.labels[row];
    }
    if (soft) {
      t.load(group, targets.soft + row * targets.soft_stride, count);
      for_packs(group, count, [&](int64_t, const Floats<N>& v, const Floats<N>& target) { sums.add(v, target); }, x, t);
      total = group.sum(sums.targets);
    } else {
      for_packs(group, count, [&](int64_t, const Floats<N>& v) { sums.add(v); }, x);
    }
    sums.join(group);
    const float offset = offset_of(sums.largest), share = total / sums.exps;
    const bool constant = sums.exps == 0.0f || label < 0 || label >= logits.columns;
    const float fill = label >= logits.columns && sums.exps != 0.0f ? NAN : 0.0f;
    auto* out = reinterpret_cast<Pack<T, N>*>(row_of(dlogits, row));
    const auto write = [&](int64_t index, Floats<N> v, const Floats<N>& target) {
      for (int i = 0; i < N; ++i) {
        v.at[i] = constant ? fill : upstream * (exponential<T>((v.at[i] - offset) * scale) * share - target.at[i]);
      }
      out[index] = narrow<T>(v);
    };
    if (soft) for_packs_back(group, count, write, x, t);
    else for_packs_back(group, count, [&](int64_t index, const Floats<N>& v) { write(index, v, one_hot<N>(index, label)); }, x);
  }
}

// Whether logits and soft targets can both be read in packs.
template <int N, class T>
bool packs_of(const Rows<T>& logits, const CrossEntropyTargets& targets) {
  return whole_packs<N>(logits) && whole_packs<N>(targets.soft, logits.columns, targets.soft_stride);
}

}  // namespace

template <class T>
void cross_entropy_forward(const Stream& stream, Rows<const T> logits, const CrossEntropyTargets& targets, float* loss, float* lse,
                           float* /*kept*/, float temperature) {
  if (logits.rows == 0) return;
  constexpr int kN = kPack<T>;
  with_row_shape<kN, kHeld<T>>(packs_of<kN>(logits, targets), logits.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, forward_kernel<T, n(), lanes()>, grid_for(logits.rows, rows), threads, 0, logits, targets, loss, lse, 1.0f / temperature);
  }, 256);  // nothing is held: more blocks rather than larger ones
}

template <class T>
void cross_entropy_backward(const Stream& stream, Rows<const T> logits, const CrossEntropyTargets& targets, const float* /*kept*/,
                            const float* dloss, int64_t dloss_stride, Rows<T> dlogits, float temperature) {
  if (logits.rows == 0) return;
  constexpr int kN = kPack<T>;
  with_row_shape<kN, kHeld<T>>(packs_of<kN>(logits, targets) && whole_packs<kN>(dlogits), logits.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, backward_kernel<T, n(), lanes()>, grid_for(logits.rows, rows), threads, 0, logits, targets, dloss, dloss_stride, dlogits,
            1.0f / temperature);
  });
}

#define GATUN_INSTANTIATE(T)                                                                                                             \
  template void cross_entropy_forward(const Stream&, Rows<const T>, const CrossEntropyTargets&, float*, float*, float*, float);          \
  template void cross_entropy_backward(const Stream&, Rows<const T>, const CrossEntropyTargets&, const float*, const float*, int64_t, Rows<T>, \
                                       float);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)
#undef GATUN_INSTANTIATE

}  // namespace gatun

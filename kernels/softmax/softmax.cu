// SPDX-License-Identifier: Apache-2.0
// Bound by memory: a row is read once, into registers (row_groups.h); maximum and sum are found in one sweep over it.
#include "kernels/softmax/softmax.h"

#include "kernels/common/row_softmax.h"

namespace gatun {
namespace {

// y may be x, so neither is __restrict__: each thread writes only what it has read itself.
template <class T, int N, int Held, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound) forward_kernel(Rows<const T> x, Rows<T> y, float scale) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  for (int64_t first = blockIdx.x * group.rows(); first < x.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < x.rows ? x.columns / N : 0;
    HeldRow<T, N, Held> in;
    in.load(group, row_of(x, row), count);
    OnlineSums<T> sums{scale};
    for_packs(group, count, [&](int64_t, const Floats<N>& v) { sums.add(v); }, in);
    sums.join(group);
    const float offset = offset_of(sums.largest);
    const float inverse = sums.exps == 0.0f ? 0.0f : 1.0f / sums.exps;  // a masked row becomes zeros
    auto* out = reinterpret_cast<Pack<T, N>*>(row_of(y, row));
    for_packs_back(group, count, [&](int64_t index, Floats<N> v) {
      for (int i = 0; i < N; ++i) v.at[i] = exponential<T>((v.at[i] - offset) * scale) * inverse;
      out[index] = narrow<T>(v);
    }, in);
  }
}

template <class T, int N, int Held, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound) backward_kernel(Rows<const T> y, Rows<const T> dy, Rows<T> dx, float scale) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  for (int64_t first = blockIdx.x * group.rows(); first < y.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < y.rows ? y.columns / N : 0;
    HeldRow<T, N, Held> value, gradient;
    value.load(group, row_of(y, row), count);
    gradient.load(group, row_of(dy, row), count);
    float mean = 0;
    for_packs(group, count, [&](int64_t, const Floats<N>& v, const Floats<N>& g) {
      for (int i = 0; i < N; ++i) mean += v.at[i] * g.at[i];
    }, value, gradient);
    mean = group.sum(mean);
    auto* out = reinterpret_cast<Pack<T, N>*>(row_of(dx, row));
    for_packs_back(group, count, [&](int64_t index, const Floats<N>& v, Floats<N> g) {
      for (int i = 0; i < N; ++i) g.at[i] = v.at[i] * scale * (g.at[i] - mean);
      out[index] = narrow<T>(g);
    }, value, gradient);
  }
}

}  // namespace

template <class T>
void softmax_forward(const Stream& stream, Rows<const T> x, Rows<T> y, float temperature) {
  if (x.rows == 0) return;
  constexpr int kN = kPack<T>, kHeld = 8;
  with_row_shape<kN, kHeld>(whole_packs<kN>(x) && whole_packs<kN>(y), x.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, forward_kernel<T, n(), kHeld, lanes()>, grid_for(x.rows, rows), threads, 0, x, y, 1.0f / temperature);
  });
}

template <class T>
void softmax_backward(const Stream& stream, Rows<const T> y, Rows<const T> dy, Rows<T> dx, float temperature) {
  if (y.rows == 0) return;
  constexpr int kN = kPack<T>, kHeld = 4;
  const bool packs = whole_packs<kN>(y) && whole_packs<kN>(dy) && whole_packs<kN>(dx);
  with_row_shape<kN, kHeld>(packs, y.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, backward_kernel<T, n(), kHeld, lanes()>, grid_for(y.rows, rows), threads, 0, y, dy, dx, 1.0f / temperature);
  });
}

#define GATUN_INSTANTIATE(T)                                                       \
  template void softmax_forward(const Stream&, Rows<const T>, Rows<T>, float);     \
  template void softmax_backward(const Stream&, Rows<const T>, Rows<const T>, Rows<T>, float);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)
#undef GATUN_INSTANTIATE

}  // namespace gatun

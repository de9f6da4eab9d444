// SPDX-License-Identifier: Apache-2.0
// Bound by memory: a row is read once, into registers (row_groups.h).
#include "kernels/l2_normalize/l2_normalize.h"

#include "kernels/common/row_groups.h"

namespace gatun {
namespace {

template <int N>
__device__ __forceinline__ float dot(const Floats<N>& a, const Floats<N>& b) {
  float sum = 0;
  for (int i = 0; i < N; ++i) sum += a.at[i] * b.at[i];
  return sum;
}

// y may be x, so neither is __restrict__: each thread writes only what it has read itself.
template <class T, int N, int Held, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound) forward_kernel(Rows<const T> x, Rows<T> y, float* norm, float epsilon) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  for (int64_t first = blockIdx.x * group.rows(); first < x.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < x.rows ? x.columns / N : 0;
    HeldRow<T, N, Held> in;
    in.load(group, row_of(x, row), count);
    float squares = 0;
    for_packs(group, count, [&](int64_t, const Floats<N>& v) { squares += dot(v, v); }, in);
    const float length = sqrtf(group.sum(squares));
    if (group.thread() == 0 && row < x.rows) norm[row] = length;
    // fmaxf would turn a NaN length into epsilon.
    const float scale = 1.0f / (length < epsilon ? epsilon : length);
    auto* out = reinterpret_cast<Pack<T, N>*>(row_of(y, row));
    for_packs_back(group, count, [&](int64_t index, Floats<N> v) {
      for (int i = 0; i < N; ++i) v.at[i] *= scale;
      out[index] = narrow<T>(v);
    }, in);
  }
}

template <class T, int N, int Held, int Lanes>
__global__ void __launch_bounds__(RowGroup<Lanes>::kBound) backward_kernel(Rows<const T> y, const float* norm, Rows<const T> dy, Rows<T> dx, float epsilon) {
  __shared__ float scratch[kLongRowBlock / 32];
  const RowGroup<Lanes> group{scratch};
  for (int64_t first = blockIdx.x * group.rows(); first < y.rows; first += gridDim.x * group.rows()) {
    const int64_t row = first + group.slot(), count = row < y.rows ? y.columns / N : 0;
    HeldRow<T, N, Held> out, gradient;
    out.load(group, row_of(y, row), count);
    gradient.load(group, row_of(dy, row), count);
    const float length = row < y.rows ? norm[row] : 1.0f;
    float sum = 0;
    for_packs(group, count, [&](int64_t, const Floats<N>& v, const Floats<N>& g) { sum += dot(v, g); }, out, gradient);
    sum = group.sum(sum);
    const bool clamped = length < epsilon;
    const float projection = clamped ? 0.0f : sum, scale = 1.0f / (clamped ? epsilon : length);
    auto* result = reinterpret_cast<Pack<T, N>*>(row_of(dx, row));
    for_packs_back(group, count, [&](int64_t index, const Floats<N>& v, Floats<N> g) {
      for (int i = 0; i < N; ++i) g.at[i] = (g.at[i] - v.at[i] * projection) * scale;
      result[index] = narrow<T>(g);
    }, out, gradient);
  }
}

}  // namespace

template <class T>
void l2_normalize_forward(const Stream& stream, Rows<const T> x, Rows<T> y, float* norm, float epsilon) {
  if (x.rows == 0) return;
  constexpr int kN = kPack<T>, kHeld = 8;
  const bool packs = whole_packs<kN>(x) && whole_packs<kN>(y);
  with_row_shape<kN, kHeld>(packs, x.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, forward_kernel<T, n(), kHeld, lanes()>, grid_for(x.rows, rows), threads, 0, x, y, norm, epsilon);
  });
}

template <class T>
void l2_normalize_backward(const Stream& stream, Rows<const T> y, const float* norm, Rows<const T> dy, Rows<T> dx, float epsilon) {
  if (y.rows == 0) return;
  constexpr int kN = kPack<T>, kHeld = 4;
  const bool packs = whole_packs<kN>(y) && whole_packs<kN>(dy) && whole_packs<kN>(dx);
  with_row_shape<kN, kHeld>(packs, y.columns, [&](auto lanes, auto n, int threads, int rows) {
    enqueue(stream, backward_kernel<T, n(), kHeld, lanes()>, grid_for(y.rows, rows), threads, 0, y, norm, dy, dx, epsilon);
  });
}

#define GATUN_INSTANTIATE(T)                                                                            \
  template void l2_normalize_forward(const Stream&, Rows<const T>, Rows<T>, float*, float);             \
  template void l2_normalize_backward(const Stream&, Rows<const T>, const float*, Rows<const T>, Rows<T>, float);
GATUN_FOR_EACH_STORAGE(GATUN_INSTANTIATE)
#undef GATUN_INSTANTIATE

}  // namespace gatun

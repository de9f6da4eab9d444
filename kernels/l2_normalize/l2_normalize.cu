// SPDX-License-Identifier: Apache-2.0
// Bound by memory: a row is read once from DRAM, the second pass over it hits the L1. Short rows take a warp each, so that no barrier
// is needed; long ones a block.
#include "kernels/l2_normalize/l2_normalize.h"

#include "kernels/common/cuda.h"

namespace gatun {
namespace {

constexpr int kBlock = 256;
constexpr int64_t kWarpRow = 32 * 8;  // vectors of a row up to which a warp has enough loads under way

__device__ __forceinline__ float scaled(float v, float scale) { return v * scale; }
__device__ __forceinline__ float4 scaled(const float4& v, float scale) {
  return make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale);
}
__device__ __forceinline__ float tangent(float dy, float y, float projection) { return dy - y * projection; }
__device__ __forceinline__ float4 tangent(const float4& dy, const float4& y, float projection) {
  return make_float4(dy.x - y.x * projection, dy.y - y.y * projection, dy.z - y.z * projection, dy.w - y.w * projection);
}

// <a, b> over a row, the same bits in each of the Threads that share it. V is float or float4.
template <int Threads, class V>
__device__ __forceinline__ float row_dot(const V* a, const V* b, int64_t count, float (&partial)[kBlock / 32]) {
  float sum = 0;
  for (int64_t i = threadIdx.x % Threads; i < count; i += Threads) sum += dot(a[i], b[i]);
  if constexpr (Threads == 32) return warp_sum(sum);
  else return block_sum(sum, partial);
}

// y may be x, so neither is __restrict__: each thread writes only what it has read itself.
template <int Threads, class V>
__global__ void __launch_bounds__(kBlock) forward_kernel(const float* x, int64_t x_stride, float* y, int64_t y_stride, float* norm,
                                                         int64_t rows, int64_t columns, float epsilon) {
  __shared__ float partial[kBlock / 32];
  constexpr int64_t kRows = kBlock / Threads;
  const int64_t count = columns / static_cast<int64_t>(sizeof(V) / sizeof(float));
  for (int64_t row = blockIdx.x * kRows + threadIdx.x / Threads; row < rows; row += gridDim.x * kRows) {
    const V* in = reinterpret_cast<const V*>(x + row * x_stride);
    V* out = reinterpret_cast<V*>(y + row * y_stride);
    const float length = sqrtf(row_dot<Threads>(in, in, count, partial));
    if (threadIdx.x % Threads == 0) norm[row] = length;
    // fmaxf would turn a NaN length into epsilon.
    const float scale = 1.0f / (length < epsilon ? epsilon : length);
    for (int64_t i = threadIdx.x % Threads; i < count; i += Threads) out[i] = scaled(in[i], scale);
  }
}

template <int Threads, class V>
__global__ void __launch_bounds__(kBlock) backward_kernel(const float* y, int64_t y_stride, const float* norm, const float* dy,
                                                          int64_t dy_stride, float* dx, int64_t dx_stride, int64_t rows, int64_t columns,
                                                          float epsilon) {
  __shared__ float partial[kBlock / 32];
  constexpr int64_t kRows = kBlock / Threads;
  const int64_t count = columns / static_cast<int64_t>(sizeof(V) / sizeof(float));
  for (int64_t row = blockIdx.x * kRows + threadIdx.x / Threads; row < rows; row += gridDim.x * kRows) {
    const V* out = reinterpret_cast<const V*>(y + row * y_stride);
    const V* gradient = reinterpret_cast<const V*>(dy + row * dy_stride);
    V* result = reinterpret_cast<V*>(dx + row * dx_stride);
    const bool clamped = norm[row] < epsilon;
    const float projection = clamped ? 0.0f : row_dot<Threads>(out, gradient, count, partial);  // norm[row] is one value for all Threads
    const float scale = 1.0f / (clamped ? epsilon : norm[row]);
    for (int64_t i = threadIdx.x % Threads; i < count; i += Threads) result[i] = scaled(tangent(gradient[i], out[i], projection), scale);
  }
}

// Calls f(threads of a row, a vector) with types that fit the rows.
template <class F>
void with_shape(bool vector, int64_t columns, F&& f) {
  using Warp = std::integral_constant<int, 32>;
  using Block = std::integral_constant<int, kBlock>;
  const bool warp = columns / (vector ? 4 : 1) <= kWarpRow;
  if (vector && warp) f(Warp(), float4());
  else if (vector) f(Block(), float4());
  else if (warp) f(Warp(), float());
  else f(Block(), float());
}

}  // namespace

void l2_normalize_forward(const Stream& stream, Rows<const float> x, Rows<float> y, float* norm, float epsilon) {
  if (x.rows == 0) return;
  const bool vector = vectors(x.data, x.columns, x.stride) && vectors(y.data, y.columns, y.stride);
  with_shape(vector, x.columns, [&](auto threads, auto v) {
    enqueue(stream, forward_kernel<threads(), decltype(v)>, grid_for(x.rows, kBlock / threads()), kBlock, 0, x.data, x.stride, y.data,
            y.stride, norm, x.rows, x.columns, epsilon);
  });
}

void l2_normalize_backward(const Stream& stream, Rows<const float> y, const float* norm, Rows<const float> dy, Rows<float> dx,
                           float epsilon) {
  if (y.rows == 0) return;
  const bool vector = vectors(y.data, y.columns, y.stride) && vectors(dy.data, dy.columns, dy.stride) && vectors(dx.data, dx.columns, dx.stride);
  with_shape(vector, y.columns, [&](auto threads, auto v) {
    enqueue(stream, backward_kernel<threads(), decltype(v)>, grid_for(y.rows, kBlock / threads()), kBlock, 0, y.data, y.stride, norm,
            dy.data, dy.stride, dx.data, dx.stride, y.rows, y.columns, epsilon);
  });
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Bound by memory (kernels/common/pointwise.h), if a bf16 GELU is no more than about 20 instructions: for the half types, exponentials and
// quotients are the special-function unit's, and the polynomial is shorter. f32 has the CPU's functions (kernels/common/math-inl.h).
#include "kernels/activation/activation.h"

#include "kernels/common/pointwise.h"

namespace gatun {
namespace {

// What is subnormal is 0, as on the CPU.
template <bool Fast>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (Fast) return exp2_approximate(x * 1.44269504f);
  const float value = expf(x);
  return value < 1.17549435e-38f ? 0.0f : value;
}

template <bool Fast>
__device__ __forceinline__ float quotient(float a, float b) {
  if constexpr (Fast) return __fdividef(a, b);
  else return __fdiv_rn(a, b);
}

template <int N>
__device__ __forceinline__ float polynomial(float x, const float (&p)[N]) {
  float sum = p[N - 1];
  GATUN_UNROLL
  for (int i = N - 2; i >= 0; --i) sum = fmaf(sum, x, p[i]);
  return sum;
}

// P(Z > z) of a standard normal Z and e^(-z²/2), for z >= 0: relative error of the tail 7e-7, of the fast one 7e-6, and that of the bell.
template <bool Fast>
__device__ __forceinline__ float normal_tail(float z, float& bell) {
  bell = exponential<Fast>(z * z * -0.5f);
  const float t = quotient<Fast>(1.0f, fmaf(0.3f, z, 1.0f));
  if constexpr (Fast) {
    return polynomial(t, {1.201115165e-01f, 1.133477172e-01f, 1.457507609e-01f, -1.982150993e-02f, 2.185447564e-01f, -7.792981312e-02f}) * t * bell;
  } else {
    return polynomial(t, {1.196263897e-01f, 1.207983580e-01f, 9.963749601e-02f, 1.294691901e-01f, -5.539382577e-02f, 2.082065817e-01f,
                          -1.582759855e-01f, 3.593173142e-02f}) * t * bell;
  }
}

__device__ __forceinline__ float relu(float x) { return x > 0.0f || x != x ? x : 0.0f; }

// A NaN in x is not "below 0": it shows in dx.
__device__ __forceinline__ float relu_gradient(float x, float dy) { return x != x ? x : x > 0.0f ? dy : 0.0f; }

// Φ is computed from its tail on both sides, so that large negative x keep their leading digits.
template <bool Fast>
__device__ __forceinline__ float gelu(float x) {
  float bell;
  const float size = fabsf(x), tail = normal_tail<Fast>(size, bell);
  // ∞ times a tail of 0
  if (size == INFINITY) return fmaxf(x, 0.0f);
  return x < 0.0f ? -size * tail : fmaf(-x, tail, x);
}

template <bool Fast>
__device__ __forceinline__ float gelu_gradient(float x, float dy) {
  float bell;
  // Beyond 14 both terms have underflowed; the clamp keeps ∞ times 0 out.
  const float bounded = x != x ? x : fminf(fmaxf(x, -14.0f), 14.0f);
  const float tail = normal_tail<Fast>(fabsf(bounded), bell), cumulative = x < 0.0f ? tail : 1.0f - tail;
  return dy * fmaf(bounded, bell * 0.398942280f, cumulative);
}

template <bool Fast>
__device__ __forceinline__ float sigmoid(float x) {
  return quotient<Fast>(1.0f, 1.0f + exponential<Fast>(-x));
}

// σ(-|x|) (1 - σ(-|x|)): the product of the two sides, without the cancellation in 1 - σ of a large x.
template <bool Fast>
__device__ __forceinline__ float sigmoid_gradient(float x, float dy) {
  const float small = sigmoid<Fast>(-fabsf(x));
  return dy * fmaf(-small, small, small);
}

template <bool Fast>
__device__ __forceinline__ float hyperbolic_tangent(float x) {
  if constexpr (!Fast) return tanhf(x);
  const float size = fabsf(x);
  // Near 0 the quotient would lose the leading digits.
  const float near = fmaf(x * x * x, polynomial(x * x, {-3.333328194e-01f, 1.333144220e-01f, -5.373971517e-02f, 2.063908751e-02f}), x);
  const float far = copysignf(1.0f - quotient<Fast>(2.0f, exponential<Fast>(size + size) + 1.0f), x);
  return size < 0.5f ? near : far;
}

// 1 - tanh² x = 4 σ(2x) σ(-2x), without cancellation
template <bool Fast>
__device__ __forceinline__ float tangent_gradient(float x, float dy) {
  const float small = sigmoid<Fast>(fabsf(x) * -2.0f);
  return dy * 4.0f * fmaf(-small, small, small);
}

#define GATUN_EACH(RESULT)                       \
  GATUN_UNROLL                                   \
  for (int i = 0; i < N; ++i) y[i] = (RESULT);   \
  return

struct Forward {
  int32_t function;
  template <bool Fast, int N>
  __device__ __forceinline__ void apply(const float (&x)[N], const float (&)[N], float (&y)[N]) const {
    switch (function) {
      case GATUN_ACTIVATION_RELU: GATUN_EACH(relu(x[i]));
      case GATUN_ACTIVATION_GELU: GATUN_EACH(gelu<Fast>(x[i]));
      case GATUN_ACTIVATION_SIGMOID: GATUN_EACH(sigmoid<Fast>(x[i]));
      default: GATUN_EACH(hyperbolic_tangent<Fast>(x[i]));
    }
  }
};

struct Backward {
  int32_t function;
  template <bool Fast, int N>
  __device__ __forceinline__ void apply(const float (&x)[N], const float (&dy)[N], float (&y)[N]) const {
    switch (function) {
      case GATUN_ACTIVATION_RELU: GATUN_EACH(relu_gradient(x[i], dy[i]));
      case GATUN_ACTIVATION_GELU: GATUN_EACH(gelu_gradient<Fast>(x[i], dy[i]));
      case GATUN_ACTIVATION_SIGMOID: GATUN_EACH(sigmoid_gradient<Fast>(x[i], dy[i]));
      default: GATUN_EACH(tangent_gradient<Fast>(x[i], dy[i]));
    }
  }
};
#undef GATUN_EACH

template <class T>
inline constexpr int32_t kStorage = GATUN_F32;
template <>
inline constexpr int32_t kStorage<__nv_bfloat16> = GATUN_BF16;
template <>
inline constexpr int32_t kStorage<__half> = GATUN_F16;

Loops<3> row_loops(int64_t rows, int64_t columns, int64_t x, int64_t z, int64_t y) {
  Loops<3> loops;
  loops.add(rows, {x, z, y});
  loops.add(columns, {1, 1, 1});
  loops.simplify(kPointwiseY);
  return loops;
}

}  // namespace

template <class T>
void activation_forward(const Stream& stream, int32_t function, Rows<const T> x, Rows<T> y) {
  pointwise(stream, {{x.data, nullptr}, y.data, {kStorage<T>, kStorage<T>, kStorage<T>}}, row_loops(x.rows, x.columns, x.stride, x.stride, y.stride),
            Forward{function});
}

template <class T>
void activation_backward(const Stream& stream, int32_t function, Rows<const T> x, Rows<const T> dy, Rows<T> dx) {
  pointwise(stream, {{x.data, dy.data}, dx.data, {kStorage<T>, kStorage<T>, kStorage<T>}},
            row_loops(x.rows, x.columns, x.stride, dy.stride, dx.stride), Backward{function});
}

#define GATUN_ACTIVATION(T)                                                            \
  template void activation_forward(const Stream&, int32_t, Rows<const T>, Rows<T>);    \
  template void activation_backward(const Stream&, int32_t, Rows<const T>, Rows<const T>, Rows<T>);
GATUN_FOR_EACH_STORAGE(GATUN_ACTIVATION)

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
// Bound by memory (kernels/common/pointwise.h). The operation is chosen at run time, once for the elements of an access: a branch that all
// threads take alike costs less than the time those elements take to arrive, and one kernel serves all operations.
#include "kernels/elementwise/elementwise.h"

#include "kernels/common/pointwise.h"

namespace gatun {
namespace {

__device__ __forceinline__ float at_least_normal(float value) { return value < 1.17549435e-38f ? 0.0f : value; }

// As many results as there are elements.
#define GATUN_EACH(RESULT)                       \
  GATUN_UNROLL                                   \
  for (int i = 0; i < N; ++i) y[i] = (RESULT);   \
  return

struct ElementwiseFunction {
  int32_t operation;
  float alpha, beta;

  template <bool Fast, int N>
  __device__ __forceinline__ void apply(const float (&x)[N], const float (&z)[N], float (&y)[N]) const {
    switch (operation) {
      case GATUN_ELEMENTWISE_COPY: GATUN_EACH(x[i]);
      case GATUN_ELEMENTWISE_FILL: GATUN_EACH(alpha);
      case GATUN_ELEMENTWISE_AFFINE: GATUN_EACH(__fmaf_rn(alpha, x[i], beta));
      case GATUN_ELEMENTWISE_ACCUMULATE: GATUN_EACH(__fmaf_rn(alpha, x[i], z[i]));
      case GATUN_ELEMENTWISE_NEGATE: GATUN_EACH(-x[i]);
      case GATUN_ELEMENTWISE_ABSOLUTE: GATUN_EACH(fabsf(x[i]));
      // A NaN is not below: it stays.
      case GATUN_ELEMENTWISE_EXP: GATUN_EACH(at_least_normal(expf(x[i])));
      case GATUN_ELEMENTWISE_LOG: GATUN_EACH(logf(x[i]));
      case GATUN_ELEMENTWISE_SQRT: GATUN_EACH(__fsqrt_rn(x[i]));
      case GATUN_ELEMENTWISE_SQUARE: GATUN_EACH(x[i] * x[i]);
      case GATUN_ELEMENTWISE_RECIPROCAL: GATUN_EACH(__frcp_rn(x[i]));
      case GATUN_ELEMENTWISE_ADD: GATUN_EACH(x[i] + z[i]);
      case GATUN_ELEMENTWISE_SUBTRACT: GATUN_EACH(x[i] - z[i]);
      case GATUN_ELEMENTWISE_MULTIPLY: GATUN_EACH(x[i] * z[i]);
      case GATUN_ELEMENTWISE_DIVIDE: GATUN_EACH(__fdiv_rn(x[i], z[i]));
      // fmaxf and fminf would lose a NaN.
      case GATUN_ELEMENTWISE_MAXIMUM: GATUN_EACH(x[i] != x[i] || x[i] > z[i] ? x[i] : z[i]);
      default: GATUN_EACH(x[i] != x[i] || x[i] < z[i] ? x[i] : z[i]);
    }
  }
};
#undef GATUN_EACH

}  // namespace

void elementwise(const Stream& stream, const Elementwise& call, const void* x, const void* z, void* y) {
  PointwiseOperands operands{{x, z}, y, {call.x_dtype, call.z_dtype, call.y_dtype}};
  Loops<3> loops = call.loops;
  if (call.operation == GATUN_ELEMENTWISE_ACCUMULATE) {
    operands.in[kPointwiseZ] = y;
    operands.dtype[kPointwiseZ] = call.y_dtype;
    std::copy_n(loops.stride[kY], GATUN_MAX_RANK, loops.stride[kZ]);
  }
  pointwise(stream, operands, loops, ElementwiseFunction{call.operation, call.alpha, call.beta});
}

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/stream.h"

namespace gatun {

// A stored matrix: element (i, j) is data[i * leading + j], or data[j * leading + i] if transposed.
struct MatmulOperand {
  const float* data;
  int64_t leading;
  bool transposed;
  int32_t prologue;
};

// A vector of `count` elements, each for extent / count neighbours; NULL where absent.
struct MatmulFactors {
  const float* data;
  int64_t count;
};

// What gatun_matmul was asked for, checked. For a question about the workspace pointers are not NULL where operands are present.
struct MatmulCall {
  int64_t m, n, k;
  MatmulOperand a, b;
  float* c;
  int64_t ldc;
  int32_t activation;
  bool accumulate;
  float epsilon;
  float *mean, *rstd;
  const float *gamma, *beta;
  MatmulFactors scale_m, scale_k;
  const float* bias;
  float* hidden;
  int64_t ld_hidden;
  MatmulFactors factor_m;
  const float* factor_n;
  const float* residual;
  int64_t ld_residual;
  float* a_sums;
};

size_t matmul_workspace(const Stream& stream, const MatmulCall& call);
void matmul(const Stream& stream, const MatmulCall& call, float* workspace);

}  // namespace gatun

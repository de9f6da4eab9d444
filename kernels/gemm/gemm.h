// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "gatun/base.h"
#include "kernels/common/stream.h"

namespace gatun {

using Sgemm = int (*)(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                      const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

// A stored matrix: element (i, j) is data[i * leading + j], or data[j * leading + i] if transposed.
struct GemmOperand {
  const void* data;
  int64_t leading;
  bool transposed;
};

struct GemmShape {
  int64_t m, n, k;
};

// c = alpha a b + beta c; c has contiguous rows.
struct GemmCall {
  GemmShape shape;
  float alpha, beta;
  int32_t dtype;    // of a and b; the CPU has f32
  int32_t c_dtype;  // f32 or that of a and b
  GemmOperand a, b;
  void* c;
  int64_t ldc;
};

// How many rows and columns of c a tile has; a function of the shape alone.
struct GemmTile {
  int64_t rows, columns;
};

#if defined(GATUN_CUDA)
void gemm(const Stream& stream, const GemmCall& call);
// Its half types, beside it in gemm_half.cu.
void gemm_half(const Stream& stream, const GemmCall& call);
#else
GemmTile gemm_tile(const GemmShape& shape);

// Returns the library's status: 0, or that of a tile that failed.
int gemm(const Stream& stream, Sgemm sgemm, const GemmCall& call);
#endif

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/stream.h"

namespace gatun {

using Sgemm = void (*)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a, int lda,
                       const float* b, int ldb, float beta, float* c, int ldc);

// A stored matrix: element (i, j) is data[i * leading + j], or data[j * leading + i] if transposed.
struct GemmOperand {
  const float* data;
  int64_t leading;
  bool transposed;
};

struct GemmShape {
  int64_t m, n, k;
};

// How many rows and columns of c a tile has; a function of the shape alone.
struct GemmTile {
  int64_t rows, columns;
};
GemmTile gemm_tile(const GemmShape& shape);

void gemm(const Stream& stream, Sgemm sgemm, const GemmShape& shape, float alpha, GemmOperand a, GemmOperand b, float beta, float* c,
          int64_t ldc);

}  // namespace gatun

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/common/stream.h"

namespace gatun {

using Sgemm = int (*)(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                      const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

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

// Returns the library's status: 0, or that of a tile that failed.
int gemm(const Stream& stream, Sgemm sgemm, const GemmShape& shape, float alpha, GemmOperand a, GemmOperand b, float beta, float* c,
          int64_t ldc);

}  // namespace gatun

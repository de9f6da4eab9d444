// SPDX-License-Identifier: Apache-2.0
// The naive product, and the same behind the signature of dnnl_sgemm.
#pragma once

#include <cstdint>

namespace gatun {

template <class T>
void gemm_reference(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
                    int64_t ldb, T beta, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t p = 0; p < k; ++p) sum += (transpose_a ? a[p * lda + i] : a[i * lda + p]) * (transpose_b ? b[j * ldb + p] : b[p * ldb + j]);
      c[i * ldc + j] = alpha * sum + (beta == 0 ? T(0) : beta * c[i * ldc + j]);
    }
  }
}

inline int sgemm_reference(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
                           const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  gemm_reference<float>(transpose_a == 'T', transpose_b == 'T', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  return 0;
}

}  // namespace gatun

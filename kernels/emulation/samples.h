// SPDX-License-Identifier: Apache-2.0
// Small kernels that use what most kernels use; they prove the emulation and show the style.
#pragma once

#include "kernels/emulation/cuda.h"

namespace gatun::samples {

cudaError_t add(const float* a, const float* b, float* sum, int64_t count, cudaStream_t stream);
// total[0] += the sum of x; total must have been set.
cudaError_t sum(const float* x, float* total, int64_t count, cudaStream_t stream);
// total[0] = the sum of x in a fixed order: the last block to finish adds up what the others left in partial (kSumBlocks).
// *finished must be 0 and is again afterwards.
inline constexpr int kSumBlocks = 5;
cudaError_t ordered_sum(const float* x, float* partial, unsigned* finished, float* total, int64_t count, cudaStream_t stream);
// x += its mean, `rounds` times: one cooperative launch with a grid barrier after each pass. partial has room for resident_blocks;
// *arrived must be 0 before the first call.
cudaError_t add_mean(float* x, float* partial, unsigned* arrived, int64_t count, int rounds, cudaStream_t stream);
cudaError_t transpose(const float* x, float* y, int rows, int columns, cudaStream_t stream);
// c (m, n) = a (m, k) b (k, n), row-major; k and n multiples of 8. T is __nv_bfloat16 or __half.
template <class T>
cudaError_t gemm(const T* a, const T* b, float* c, int m, int n, int k, cudaStream_t stream);
// The same on sm_90a, in forms that use all kinds of operands: a (m, k), or (k, m) where both are transposed; b (n, k), or (k, n) where it is
// transposed; k, and m or n where it is contiguous, multiples of 8. Registers: a is multiplied from registers.
enum class HopperGemm { kPlain, kTransposedB, kTransposedBoth, kRegisters, kRegistersTransposedB };
template <class T>
cudaError_t hopper_gemm(const T* a, const T* b, float* c, int m, int n, int k, HopperGemm form, cudaStream_t stream);
// c (16, 8) = a (16, 8) b (8, 8) on one warp in tf32, b stored by columns.
cudaError_t tf32_tile(const float* a, const float* b, float* c, cudaStream_t stream);

}  // namespace gatun::samples

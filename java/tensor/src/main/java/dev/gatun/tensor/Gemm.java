// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.lang.foreign.MemorySegment;

/** Matrix multiplication by a library. All matrices are f32, row-major, with a leading dimension (elements between rows). */
public interface Gemm {
    /** The library and its version, for reports. */
    String name();

    /**
     * C = alpha · op(A) · op(B) + beta · C, where op(X) is X or its transpose; with beta 0 the contents of C are not read.
     *
     * @param m rows of op(A) and C
     * @param n columns of op(B) and C
     * @param k columns of op(A), rows of op(B); 0 gives beta · C
     * @param lda elements between rows of A as stored, at least its columns; likewise ldb, ldc
     * @throws TensorException if a segment is too small for what is asked
     */
    void multiply(
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            float alpha,
            MemorySegment a,
            long lda,
            MemorySegment b,
            long ldb,
            float beta,
            MemorySegment c,
            long ldc);
}

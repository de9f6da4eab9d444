// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;

/** Matrix multiplication by a library. */
public interface Gemm {
    /** The library and its version, for reports. */
    String name();

    /**
     * c = alpha · a · b + beta · c; with beta 0 the contents of c are not read.
     *
     * @param a f32 (M, K), rows or columns contiguous (a transposed view)
     * @param b f32 (K, N), likewise
     * @param c f32 (M, N), rows contiguous
     */
    void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c);
}

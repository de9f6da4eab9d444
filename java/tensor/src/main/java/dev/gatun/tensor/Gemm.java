// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;

/**
 * Matrix multiplication by a library. Operands are matrices of one dtype: f32, and on a CUDA device or the emulated one bf16 and f16 too. The
 * result has that dtype or f32; sums are f32 either way, so a gradient is added to an f32 buffer without a rounding between.
 */
public interface Gemm extends AutoCloseable {
    /** What a library may do in the same call as the product. GELU is not here: ours is the exact one, a library's is the tanh form. */
    enum Epilogue {
        /** c = a·b + v, where v (N) is added to every row. It is read. */
        BIAS,
        /**
         * v (M) = the sums of the rows of a, beside c = a·b + beta·c. With a = dyᵀ and b = x that is the gradient of the bias beside that of the
         * weights. It is overwritten.
         */
        BIAS_GRADIENT
    }

    /** The library and its version, for reports. */
    String name();

    /**
     * c = alpha · a · b + beta · c; with beta 0 the contents of c are not read. Empty matrices are allowed.
     *
     * @param a (M, K), rows or columns contiguous (a transposed view)
     * @param b (K, N), likewise, dtype of a
     * @param c f32 or dtype of a (M, N), rows contiguous
     */
    void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c);

    /**
     * Whether {@link #multiply(GatunStream, Operand, Operand, float, Operand, Epilogue, Operand)} does this for these operands. Where not, the
     * caller composes it of a product and another operation; no library is used in another's place.
     */
    default boolean offers(Epilogue epilogue, Operand a, Operand b, float beta, Operand c) {
        return false;
    }

    /**
     * c = a · b + beta · c with an epilogue that is offered.
     *
     * @param v dtype of c, contiguous
     * @throws GatunException UNSUPPORTED if {@link #offers} says no
     */
    default void multiply(GatunStream stream, Operand a, Operand b, float beta, Operand c, Epilogue epilogue, Operand v) {
        throw new GatunException(
                GatunException.Status.UNSUPPORTED,
                "gemm",
                name() + " has no epilogue " + epilogue + " for " + a.layout() + " by " + b.layout() + " into " + c.layout());
    }

    /** As {@link #multiply(GatunStream, float, Operand, Operand, float, Operand)}, with memory of a scope's to work in, if that makes it faster. */
    default void multiply(Scope work, float alpha, Operand a, Operand b, float beta, Operand c) {
        multiply(work.device().stream(), alpha, a, b, beta, c);
    }

    /** As the product with an epilogue, with memory of a scope's to work in. */
    default void multiply(Scope work, Operand a, Operand b, float beta, Operand c, Epilogue epilogue, Operand v) {
        multiply(work.device().stream(), a, b, beta, c, epilogue, v);
    }

    /** Gives back what the library holds. The device that it belongs to does so when it is closed. */
    @Override
    default void close() {}
}

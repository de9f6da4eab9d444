// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.GatunException;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Matmul;
import dev.gatun.primitives.Operand;

/**
 * Products on the CPU: Gatun's own kernel for the shapes on which it measured at least as fast as a library, a library's tiles for the others
 * (docs/gemm.md has the table that the rule is from). Which of the two depends on the shape alone, so results do not change with threads.
 */
final class CpuGemm implements Gemm {
    /** Rows from which on packing b once for all of them does not count. */
    private static final long TALL = 2048;

    /** Elements of b, or of the gradient of weights, that stay in a second-level cache of 1 MiB beside what passes through it. */
    private static final long RESIDENT = 192 * 1024;

    /** Terms of a sum from which on a product is a gradient of weights: a small result of many rows. */
    private static final long LONG = 4096;

    private final Gemm library;

    CpuGemm(Gemm library) {
        this.library = library;
    }

    @Override
    public String name() {
        return "Gatun and " + library.name();
    }

    /** Whether Gatun's kernel computes an (m, k) times a (k, n) matrix. */
    static boolean own(long m, long n, long k) {
        return m >= TALL && n * k <= RESIDENT || k >= LONG && m >= n && m * n <= RESIDENT;
    }

    private static boolean own(Operand a, Operand b, float beta) {
        return (beta == 0f || beta == 1f) && own(a.layout().size(0), b.layout().size(1), a.layout().size(1));
    }

    @Override
    public void multiply(GatunStream stream, float alpha, Operand a, Operand b, float beta, Operand c) {
        library.multiply(stream, alpha, a, b, beta, c);
    }

    @Override
    public void multiply(Scope work, float alpha, Operand a, Operand b, float beta, Operand c) {
        if (alpha == 1f && own(a, b, beta)) {
            run(work, product(a, b, beta, c));
        } else {
            library.multiply(work.device().stream(), alpha, a, b, beta, c);
        }
    }

    @Override
    public boolean offers(Epilogue epilogue, Operand a, Operand b, float beta, Operand c) {
        return own(a, b, beta) && (epilogue == Epilogue.BIAS_GRADIENT || beta == 0f);
    }

    @Override
    public void multiply(Scope work, Operand a, Operand b, float beta, Operand c, Epilogue epilogue, Operand v) {
        if (!offers(epilogue, a, b, beta, c)) {
            throw new GatunException(
                    GatunException.Status.UNSUPPORTED,
                    "matmul",
                    "no epilogue " + epilogue + " for " + a.layout() + " by " + b.layout() + " into " + c.layout());
        }
        Matmul product = product(a, b, beta, c);
        if (epilogue == Epilogue.BIAS) {
            run(work, product.bias(v));
            return;
        }
        if (beta != 0f) {
            // the sums are added as c is, but theirs is a new vector
            v.segment().asSlice(0, v.layout().spanBytes()).fill((byte) 0);
        }
        run(work, product.sumsOfA(v));
    }

    private static Matmul product(Operand a, Operand b, float beta, Operand c) {
        Matmul product = Matmul.of(a, b, c);
        return beta == 0f ? product : product.accumulate();
    }

    private static void run(Scope work, Matmul product) {
        GatunStream stream = work.device().stream();
        product.run(stream, work.workspace(product.workspace(stream)));
    }

    @Override
    public void close() {
        library.close();
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;

/**
 * Matrix product by a library's kernel on Gatun's threads: the product is cut into tiles by its shape alone, each tile is one call of
 * {@code dnnl_sgemm}, and the stream's threads work through them. So there is one pool of threads in the process, and the bits of the result
 * do not depend on how many there are.
 */
public final class Gemm {
    private static final Downcall GEMM = Downcall.operation("gatun_gemm", 4);
    private static final Struct DESC = Struct.descriptor("gatun_gemm_desc");
    private static final long ALPHA = DESC.f32("alpha");
    private static final long BETA = DESC.f32("beta");
    private static final long RESERVED = DESC.u32("reserved");
    private static final long A = DESC.layout("a");
    private static final long B = DESC.layout("b");
    private static final long C = DESC.layout("c");

    private Gemm() {}

    /**
     * The address of oneDNN's {@code dnnl_sgemm}, for {@link #multiply}.
     *
     * @param library the shared object; stays loaded
     * @throws GatunException if it cannot be loaded or lacks the function
     */
    public static MemorySegment sgemm(Path library) {
        try {
            return SymbolLookup.libraryLookup(library, Arena.global())
                    .find("dnnl_sgemm")
                    .orElseThrow(() -> new GatunException(
                            GatunException.Status.UNSUPPORTED, "gemm", library + " has no function dnnl_sgemm"));
        } catch (IllegalArgumentException e) {
            throw new GatunException(
                    GatunException.Status.UNSUPPORTED, "gemm", "cannot load " + library + ": " + e.getMessage());
        }
    }

    /**
     * c = alpha·a·b + beta·c.
     *
     * @param sgemm of {@link #sgemm}; not used on a CUDA device, which multiplies with Gatun's own kernel: NULL
     * @param a f32, on a CUDA device also bf16 or f16 (M, K), rows or columns contiguous (a transposed view)
     * @param b dtype of a (K, N), likewise
     * @param c f32 or dtype of a (M, N), rows contiguous, written; read too unless beta is 0; must not overlap a or b
     */
    public static void multiply(GatunStream stream, MemorySegment sgemm, float alpha, Operand a, Operand b, float beta, Operand c) {
        try (Call call = Call.of(stream, GEMM, DESC)) {
            call.set(ALPHA, alpha);
            call.set(BETA, beta);
            call.set(RESERVED, 0);
            call.address(sgemm);
            call.input(A, "a", a);
            call.input(B, "b", b);
            call.output(C, "c", c);
            call.run();
        }
    }
}

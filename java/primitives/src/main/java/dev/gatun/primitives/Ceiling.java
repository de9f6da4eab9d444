// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;

/** What this machine can do at this moment; benchmarks give times as fractions of it. */
public final class Ceiling {
    private static final Downcall FMA = Downcall.operation("gatun_ceiling_fma", 2);
    private static final Struct FMA_DESC = Struct.descriptor("gatun_ceiling_fma_desc");
    private static final long RESERVED = FMA_DESC.u32("reserved");
    private static final long ITERATIONS = FMA_DESC.i64("iterations");
    private static final long FLOPS = FMA_DESC.layout("flops");
    private static final long RESULT = FMA_DESC.layout("result");

    private static final Downcall COPY = Downcall.operation("gatun_ceiling_copy", 2);
    private static final Struct COPY_DESC = Struct.descriptor("gatun_ceiling_copy_desc");
    private static final long COPY_RESERVED = COPY_DESC.u32("reserved");
    private static final long X = COPY_DESC.layout("x");
    private static final long Y = COPY_DESC.layout("y");

    private Ceiling() {}

    /**
     * Multiply-adds on registers only, on all threads of the stream.
     *
     * @param iterations rounds of the loop, positive
     * @return floating-point operations done
     */
    public static long fma(GatunStream stream, long iterations) {
        try (Call call = new Call(stream, FMA, FMA_DESC);
                Arena arena = Arena.ofConfined()) {
            Operand flops = new Operand(arena.allocate(8, 64), Layout.of(DType.I64, 1));
            Operand result = new Operand(arena.allocate(4, 64), Layout.of(DType.F32, 1));
            call.set(ITERATIONS, iterations);
            call.run(call.output(FLOPS, "flops", flops), call.output(RESULT, "result", result));
            return flops.segment().get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /**
     * y = x on all threads of the stream.
     *
     * @param x f32 (n) contiguous
     * @param y f32 (n) contiguous, not overlapping x
     */
    public static void copy(GatunStream stream, Operand x, Operand y) {
        try (Call call = new Call(stream, COPY, COPY_DESC)) {
            call.run(call.input(X, "x", x), call.output(Y, "y", y));
        }
    }
}

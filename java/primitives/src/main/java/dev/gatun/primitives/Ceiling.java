// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.BiConsumer;

/** What this machine can do at this moment; benchmarks give times as fractions of it. */
public final class Ceiling {
    private static final Downcall FMA = Downcall.operation("gatun_ceiling_fma", 2);
    private static final Struct FMA_DESC = Struct.descriptor("gatun_ceiling_fma_desc");
    private static final long RESERVED = FMA_DESC.u32("reserved");
    private static final long ITERATIONS = FMA_DESC.i64("iterations");
    private static final long FLOPS = FMA_DESC.layout("flops");
    private static final long RESULT = FMA_DESC.layout("result");

    private static final Downcall MMA = Downcall.operation("gatun_ceiling_mma", 2);
    private static final Struct MMA_DESC = Struct.descriptor("gatun_ceiling_mma_desc");
    private static final long MMA_DTYPE = MMA_DESC.i32("dtype");
    private static final long MMA_ITERATIONS = MMA_DESC.i64("iterations");
    private static final long MMA_FLOPS = MMA_DESC.layout("flops");
    private static final long MMA_RESULT = MMA_DESC.layout("result");

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
        try (Call call = Call.of(stream, FMA, FMA_DESC)) {
            call.set(ITERATIONS, iterations);
            return count(stream, (flops, result) -> {
                call.output(FLOPS, "flops", flops);
                call.output(RESULT, "result", result);
                call.run();
            });
        }
    }

    /**
     * Products of small matrices from registers on CUDA's tensor cores, sums in f32.
     *
     * @param dtype of the factors, BF16 or F16
     * @param iterations rounds of the loop, positive
     * @return floating-point operations done
     * @throws GatunException with status UNSUPPORTED on the CPU
     */
    public static long mma(GatunStream stream, DType dtype, long iterations) {
        try (Call call = Call.of(stream, MMA, MMA_DESC)) {
            call.set(MMA_DTYPE, dtype.code());
            call.set(MMA_ITERATIONS, iterations);
            return count(stream, (flops, result) -> {
                call.output(MMA_FLOPS, "flops", flops);
                call.output(MMA_RESULT, "result", result);
                call.run();
            });
        }
    }

    /** Runs work that writes its operations and a result into the device's memory; returns the former. */
    private static long count(GatunStream stream, BiConsumer<Operand, Operand> work) {
        MemorySegment flops = NativeMemory.allocate(stream.context(), 8);
        MemorySegment result = NativeMemory.allocate(stream.context(), 4);
        try (Arena arena = Arena.ofConfined()) {
            work.accept(new Operand(flops, Layout.of(DType.I64, 1)), new Operand(result, Layout.of(DType.F32, 1)));
            MemorySegment host = arena.allocate(8, 8);
            NativeMemory.copy(stream, host, flops);
            stream.synchronize();
            return host.get(ValueLayout.JAVA_LONG, 0);
        } finally {
            NativeMemory.free(stream.context(), flops);
            NativeMemory.free(stream.context(), result);
        }
    }

    /**
     * y = x on all threads of the stream.
     *
     * @param x f32 (n) contiguous
     * @param y f32 (n) contiguous, not overlapping x
     */
    public static void copy(GatunStream stream, Operand x, Operand y) {
        try (Call call = Call.of(stream, COPY, COPY_DESC)) {
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.run();
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Sum, mean or maximum over any set of dimensions, and the check that nothing became NaN or infinite.
 *
 * <p>The dimensions of y are aligned with those of x at the last one: a missing dimension, or one of extent 1, is reduced over. So
 * (B, N) → (B, 1) reduces the last dimension, → (N) the first, → (1) both, and the gradient of a broadcast is the sum to the shape of
 * what was broadcast. Elements are combined in chunks of a fixed order: the bits do not depend on the number of threads.
 */
public final class Reduction {
    /** How elements are combined. */
    public enum Kind {
        /** 0 over nothing. */
        SUM(1),
        /** NaN over nothing. */
        MEAN(2),
        /** −∞ over nothing; NaN if any element is NaN. */
        MAXIMUM(3);

        private final int code;

        Kind(int code) {
            this.code = code;
        }
    }

    private static final Downcall REDUCTION = Downcall.withWorkspace("gatun_reduction", 2);
    private static final Downcall WORKSPACE = Downcall.workspaceQuery("gatun_reduction_workspace");
    private static final Struct DESC = Struct.descriptor("gatun_reduction_desc");
    private static final long OPERATION = DESC.i32("operation");
    private static final long X = DESC.layout("x");
    private static final long Y = DESC.layout("y");

    private static final Downcall COUNT_NONFINITE = Downcall.operation("gatun_reduction_count_nonfinite", 2);
    private static final Struct COUNT_DESC = Struct.descriptor("gatun_reduction_count_nonfinite_desc");
    private static final long COUNT_X;
    private static final long COUNT;

    static {
        COUNT_DESC.u32("reserved");
        COUNT_X = COUNT_DESC.layout("x");
        COUNT = COUNT_DESC.layout("count");
    }

    private Reduction() {}

    /** Bytes of workspace for {@link #reduce} of these operands. */
    public static long workspace(GatunStream stream, Kind kind, Operand x, Operand y) {
        try (Call call = Call.of(stream, WORKSPACE, DESC)) {
            call.set(OPERATION, kind.code);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            return call.queryWorkspace();
        }
    }

    /**
     * Reduces x to y.
     *
     * @param x f32, on CUDA also bf16 or f16, any strides
     * @param y f32 or the dtype of x, written
     * @param workspace of {@link #workspace} bytes, aligned to 64; {@link MemorySegment#NULL} where that is 0
     */
    public static void reduce(GatunStream stream, Kind kind, Operand x, Operand y, MemorySegment workspace) {
        try (Call call = Call.of(stream, REDUCTION, DESC)) {
            call.detail(kind);
            call.set(OPERATION, kind.code);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * count = how many elements of x are NaN or infinite (at most 2³¹ − 1).
     *
     * @param x f32, on CUDA also bf16 or f16, any strides
     * @param count i32 (1), written
     */
    public static void countNonfinite(GatunStream stream, Operand x, Operand count) {
        try (Call call = Call.of(stream, COUNT_NONFINITE, COUNT_DESC)) {
            call.input(COUNT_X, "x", x);
            call.output(COUNT, "count", count);
            call.run();
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** Rows picked by index along the first dimension: y[i] = x[indices[i]]. Indices may repeat; one out of range is an error that names it. */
public final class GatherRows {
    private static final Downcall FORWARD = Downcall.operation("gatun_gather_rows_forward", 3);
    private static final Struct DESC = Struct.descriptor("gatun_gather_rows_desc");
    private static final long X;
    private static final long INDICES;
    private static final long Y;

    private static final Downcall BACKWARD = Downcall.operation("gatun_gather_rows_backward", 3);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_gather_rows_backward_desc");
    private static final long BACKWARD_DY;
    private static final long BACKWARD_INDICES;
    private static final long BACKWARD_DX;

    static {
        DESC.u32("reserved");
        X = DESC.layout("x");
        INDICES = DESC.layout("indices");
        Y = DESC.layout("y");
        BACKWARD_DESC.u32("reserved");
        BACKWARD_DY = BACKWARD_DESC.layout("dy");
        BACKWARD_INDICES = BACKWARD_DESC.layout("indices");
        BACKWARD_DX = BACKWARD_DESC.layout("dx");
    }

    private GatherRows() {}

    /**
     * Copies rows, whatever their dtype.
     *
     * @param x (N, ...), each row contiguous
     * @param indices i32 (n), each in [0, N)
     * @param y dtype of x, (n, ...), written; not x
     */
    public static void forward(GatunStream stream, Operand x, Operand indices, Operand y) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            call.input(X, "x", x);
            call.input(INDICES, "indices", indices);
            call.output(Y, "y", y);
            call.run();
        }
    }

    /**
     * Gradient: dx[r] = Σ dy[i] over all i with indices[i] = r, in the order of i; 0 for rows that nothing picked.
     *
     * @param dy f32 (n, ...)
     * @param indices i32 (n)
     * @param dx f32 (N, ...), written; not dy
     */
    public static void backward(GatunStream stream, Operand dy, Operand indices, Operand dx) {
        try (Call call = Call.of(stream, BACKWARD, BACKWARD_DESC)) {
            call.input(BACKWARD_DY, "dy", dy);
            call.input(BACKWARD_INDICES, "indices", indices);
            call.output(BACKWARD_DX, "dx", dx);
            call.run();
        }
    }
}

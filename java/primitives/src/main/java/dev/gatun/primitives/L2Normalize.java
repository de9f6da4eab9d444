// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** Rows scaled to unit Euclidean length: y = x / max(‖x‖₂, epsilon). */
public final class L2Normalize {
    private static final Downcall FORWARD = Downcall.operation("gatun_l2_normalize_forward", 3);
    private static final Struct DESC = Struct.descriptor("gatun_l2_normalize_desc");
    private static final long EPSILON = DESC.f32("epsilon");
    private static final long X = DESC.layout("x");
    private static final long Y = DESC.layout("y");
    private static final long NORM = DESC.layout("norm");

    private static final Downcall BACKWARD = Downcall.operation("gatun_l2_normalize_backward", 4);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_l2_normalize_backward_desc");
    private static final long BACKWARD_EPSILON = BACKWARD_DESC.f32("epsilon");
    private static final long BACKWARD_Y = BACKWARD_DESC.layout("y");
    private static final long BACKWARD_NORM = BACKWARD_DESC.layout("norm");
    private static final long BACKWARD_DY = BACKWARD_DESC.layout("dy");
    private static final long BACKWARD_DX = BACKWARD_DESC.layout("dx");

    private L2Normalize() {}

    /**
     * Normalises each row of x along its last dimension.
     *
     * @param x f32 (..., D), rows equally spaced
     * @param y f32, shape of x; may be x itself
     * @param norm f32 (rows): receives ‖x‖₂ of each row, for {@link #backward}
     * @param epsilon smallest length divided by, positive; 1e-12 is usual
     */
    public static void forward(GatunStream stream, Operand x, Operand y, Operand norm, float epsilon) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            call.set(EPSILON, epsilon);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.output(NORM, "norm", norm);
            call.run();
        }
    }

    /**
     * Gradient: dx = (dy − y⟨y, dy⟩) / ‖x‖, or dy / epsilon where ‖x‖ was smaller.
     *
     * @param y f32 (..., D): output of {@link #forward}
     * @param norm f32 (rows): lengths of {@link #forward}
     * @param dy f32, shape of y
     * @param dx f32, shape of y, written; may be dy itself
     */
    public static void backward(GatunStream stream, Operand y, Operand norm, Operand dy, Operand dx, float epsilon) {
        try (Call call = Call.of(stream, BACKWARD, BACKWARD_DESC)) {
            call.set(BACKWARD_EPSILON, epsilon);
            call.input(BACKWARD_Y, "y", y);
            call.input(BACKWARD_NORM, "norm", norm);
            call.input(BACKWARD_DY, "dy", dy);
            call.output(BACKWARD_DX, "dx", dx);
            call.run();
        }
    }
}

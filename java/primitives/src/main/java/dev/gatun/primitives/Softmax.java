// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** Softmax of rows along the last dimension, with a temperature. */
public final class Softmax {
    private static final Downcall CALL = Downcall.operation("gatun_softmax_forward", 2);
    private static final Struct DESC = Struct.descriptor("gatun_softmax_desc");
    private static final long TEMPERATURE = DESC.f32("temperature");
    private static final long X = DESC.layout("x");
    private static final long Y = DESC.layout("y");

    private static final Downcall BACKWARD_CALL = Downcall.operation("gatun_softmax_backward", 3);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_softmax_backward_desc");
    private static final long BACKWARD_TEMPERATURE = BACKWARD_DESC.f32("temperature");
    private static final long BACKWARD_Y = BACKWARD_DESC.layout("y");
    private static final long BACKWARD_DY = BACKWARD_DESC.layout("dy");
    private static final long BACKWARD_DX = BACKWARD_DESC.layout("dx");

    private Softmax() {}

    /**
     * y = exp(x / temperature) / Σ exp(x / temperature). A row of only −∞ becomes zeros; a row with a NaN or +∞ becomes NaN.
     *
     * @param temperature positive; 1 for the plain softmax
     * @param x f32 (..., N), rows equally spaced
     * @param y f32, shape of x, written; may be x itself
     */
    public static void forward(GatunStream stream, float temperature, Operand x, Operand y) {
        try (Call call = Call.of(stream, CALL, DESC)) {
            call.set(TEMPERATURE, temperature);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.run();
        }
    }

    /**
     * dx = y·(dy − ⟨y, dy⟩) / temperature.
     *
     * @param temperature as in {@link #forward}
     * @param y f32 (..., N): output of {@link #forward}
     * @param dy f32, shape of y
     * @param dx f32, shape of y, written; may be dy itself
     */
    public static void backward(GatunStream stream, float temperature, Operand y, Operand dy, Operand dx) {
        try (Call call = Call.of(stream, BACKWARD_CALL, BACKWARD_DESC)) {
            call.set(BACKWARD_TEMPERATURE, temperature);
            call.input(BACKWARD_Y, "y", y);
            call.input(BACKWARD_DY, "dy", dy);
            call.output(BACKWARD_DX, "dx", dx);
            call.run();
        }
    }
}

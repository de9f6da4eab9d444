// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/** The nonlinearities of networks. Backward passes take the input x, so that nothing else need be kept. A NaN stays NaN. */
public final class Activation {
    /** Which function. */
    public enum Function {
        /** max(x, 0); derivative 0 at 0. */
        RELU(1),
        /** x·Φ(x) with the exact normal distribution function (not the tanh form). */
        GELU(2),
        /** 1 / (1 + e⁻ˣ), within 4 ulp. */
        SIGMOID(3),
        /** tanh x, within 4 ulp. */
        TANH(4);

        private final int code;

        Function(int code) {
            this.code = code;
        }
    }

    private static final Downcall FORWARD = Downcall.operation("gatun_activation_forward", 2);
    private static final Struct DESC = Struct.descriptor("gatun_activation_desc");
    private static final long FUNCTION = DESC.i32("function");
    private static final long X = DESC.layout("x");
    private static final long Y = DESC.layout("y");

    private static final Downcall BACKWARD = Downcall.operation("gatun_activation_backward", 3);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_activation_backward_desc");
    private static final long BACKWARD_FUNCTION = BACKWARD_DESC.i32("function");
    private static final long BACKWARD_X = BACKWARD_DESC.layout("x");
    private static final long BACKWARD_DY = BACKWARD_DESC.layout("dy");
    private static final long BACKWARD_DX = BACKWARD_DESC.layout("dx");

    private Activation() {}

    /**
     * y = f(x) for each element.
     *
     * @param x f32 (..., N), rows equally spaced
     * @param y f32, shape of x, written; may be x itself
     */
    public static void forward(GatunStream stream, Function function, Operand x, Operand y) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            call.set(FUNCTION, function.code);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.run();
        }
    }

    /**
     * dx = dy·f′(x) for each element.
     *
     * @param x f32 (..., N): input of {@link #forward}
     * @param dy f32, shape of x
     * @param dx f32, shape of x, written; may be dy itself
     */
    public static void backward(GatunStream stream, Function function, Operand x, Operand dy, Operand dx) {
        try (Call call = Call.of(stream, BACKWARD, BACKWARD_DESC)) {
            call.set(BACKWARD_FUNCTION, function.code);
            call.input(BACKWARD_X, "x", x);
            call.input(BACKWARD_DY, "dy", dy);
            call.output(BACKWARD_DX, "dx", dx);
            call.run();
        }
    }
}

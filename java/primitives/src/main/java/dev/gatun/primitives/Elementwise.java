// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/**
 * One operation on every element, with broadcasting. Inputs may have any strides (transposed, sliced, stride 0). An input broadcasts to
 * y: dimensions are aligned at the last one; a missing dimension, or one of extent 1, repeats. y may be an input itself (same memory and
 * layout); any other overlap of y with an input gives undefined values. A NaN in an input is a NaN in the output. On CUDA bf16 and f16 may
 * stand wherever f32 does, for each operand by itself: the result is computed in f32 and rounded once.
 */
public final class Elementwise {
    /** A function of one element. */
    public enum Unary {
        /** y = −x */
        NEGATE(5),
        /** y = |x| */
        ABSOLUTE(6),
        /** y = eˣ, within 2 ulp; results below 2⁻¹²⁶ become 0. */
        EXP(7),
        /** y = ln x, within 2 ulp; −∞ at 0, NaN below. */
        LOG(8),
        /** y = √x; NaN below 0. */
        SQRT(9),
        /** y = x² */
        SQUARE(10),
        /** y = 1/x */
        RECIPROCAL(11);

        private final int code;

        Unary(int code) {
            this.code = code;
        }
    }

    /** A function of two elements. */
    public enum Binary {
        /** y = x + z */
        ADD(12),
        /** y = x − z */
        SUBTRACT(13),
        /** y = x·z */
        MULTIPLY(14),
        /** y = x / z */
        DIVIDE(15),
        /** y = max(x, z) */
        MAXIMUM(16),
        /** y = min(x, z) */
        MINIMUM(17);

        private final int code;

        Binary(int code) {
            this.code = code;
        }
    }

    private static final int COPY = 1;
    private static final int FILL = 2;
    private static final int AFFINE = 3;
    private static final int ACCUMULATE = 4;

    private static final Downcall ELEMENTWISE = Downcall.operation("gatun_elementwise", 3);
    private static final Struct DESC = Struct.descriptor("gatun_elementwise_desc");
    private static final long OPERATION = DESC.i32("operation");
    private static final long ALPHA = DESC.f32("alpha");
    private static final long BETA = DESC.f32("beta");
    private static final long X = DESC.layout("x");
    private static final long Z = DESC.layout("z");
    private static final long Y = DESC.layout("y");

    private Elementwise() {}

    /**
     * Applies a function of one element.
     *
     * @param x f32, u8, i32 or i64 (converted to f32), broadcasts to y
     * @param y f32, written
     */
    public static void unary(GatunStream stream, Unary operation, Operand x, Operand y) {
        run(stream, operation, operation.code, 0, 0, x, Operand.NONE, y);
    }

    /**
     * Applies a function of two elements.
     *
     * @param x f32, broadcasts to y
     * @param z f32, broadcasts to y
     * @param y f32, written
     */
    public static void binary(GatunStream stream, Binary operation, Operand x, Operand z, Operand y) {
        run(stream, operation, operation.code, 0, 0, x, z, y);
    }

    /**
     * y = x between any two layouts.
     *
     * @param x f32, u8, i32 or i64, broadcasts to y
     * @param y f32 or the dtype of x, written
     */
    public static void copy(GatunStream stream, Operand x, Operand y) {
        run(stream, "copy", COPY, 0, 0, x, Operand.NONE, y);
    }

    /**
     * y = value everywhere.
     *
     * @param y f32, written
     */
    public static void fill(GatunStream stream, float value, Operand y) {
        run(stream, "fill", FILL, value, 0, Operand.NONE, Operand.NONE, y);
    }

    /**
     * y = alpha·x + beta in one rounding.
     *
     * @param x f32, u8, i32 or i64 (converted to f32), broadcasts to y
     * @param y f32, written
     */
    public static void affine(GatunStream stream, float alpha, Operand x, float beta, Operand y) {
        run(stream, "affine", AFFINE, alpha, beta, x, Operand.NONE, y);
    }

    /**
     * y = y + alpha·x in one rounding.
     *
     * @param x f32, u8, i32 or i64 (converted to f32), broadcasts to y
     * @param y f32, read and written
     */
    public static void accumulate(GatunStream stream, float alpha, Operand x, Operand y) {
        run(stream, "accumulate", ACCUMULATE, alpha, 0, x, Operand.NONE, y);
    }

    private static void run(
            GatunStream stream, Object name, int operation, float alpha, float beta, Operand x, Operand z, Operand y) {
        try (Call call = Call.of(stream, ELEMENTWISE, DESC)) {
            call.detail(name);
            call.set(OPERATION, operation);
            call.set(ALPHA, alpha);
            call.set(BETA, beta);
            call.input(X, "x", x);
            call.input(Z, "z", z);
            call.output(Y, "y", y);
            call.run();
        }
    }
}

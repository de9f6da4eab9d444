// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

/**
 * Maximum and average pooling of channels-last images, forward and backward.
 *
 * <p>Activations are f32 (B, H, W, C) with free leading strides. OH = ⌊(H + paddingTop + paddingBottom − windowHeight) / strideHeight⌋ + 1,
 * OW likewise. Padding never wins a maximum; in an average it counts or not, as {@code countIncludePad} says.
 */
public final class Pooling {
    private static final int MAX = 1;
    private static final int AVERAGE = 2;
    private static final Downcall FORWARD = Downcall.operation("gatun_pooling_forward", 3);
    private static final Downcall BACKWARD = Downcall.operation("gatun_pooling_backward", 3);

    private static final Struct DESC = Struct.descriptor("gatun_pooling_desc");
    private static final long MODE = DESC.i32("mode");
    private static final long X = DESC.layout("x");
    private static final long Y = DESC.layout("y");
    private static final long ARGMAX = DESC.layout("argmax");
    private static final long WINDOW_HEIGHT = DESC.i32("window_height");
    private static final long WINDOW_WIDTH = DESC.i32("window_width");
    private static final long STRIDE_HEIGHT = DESC.i32("stride_height");
    private static final long STRIDE_WIDTH = DESC.i32("stride_width");
    private static final long PADDING_TOP = DESC.i32("padding_top");
    private static final long PADDING_BOTTOM = DESC.i32("padding_bottom");
    private static final long PADDING_LEFT = DESC.i32("padding_left");
    private static final long PADDING_RIGHT = DESC.i32("padding_right");
    private static final long COUNT_INCLUDE_PAD = DESC.i32("count_include_pad");

    private Pooling() {}

    /**
     * The windows.
     *
     * @param windowHeight rows of a window, at least 1
     * @param windowWidth columns of a window, at least 1
     * @param strideHeight rows from one window to the next, at least 1
     * @param strideWidth columns from one window to the next, at least 1
     * @param paddingTop rows outside the image above, less than the window's
     * @param paddingBottom rows outside the image below, less than the window's
     * @param paddingLeft columns outside the image on the left, less than the window's
     * @param paddingRight columns outside the image on the right, less than the window's
     */
    public record Window(
            int windowHeight,
            int windowWidth,
            int strideHeight,
            int strideWidth,
            int paddingTop,
            int paddingBottom,
            int paddingLeft,
            int paddingRight) {

        /** A square window, the same in both directions. */
        public static Window of(int size, int stride, int padding) {
            return new Window(size, size, stride, stride, padding, padding, padding, padding);
        }

        /** One window over the whole image: global pooling, whose output is (B, 1, 1, C). */
        public static Window global(long height, long width) {
            return new Window(Math.toIntExact(height), Math.toIntExact(width), 1, 1, 0, 0, 0, 0);
        }

        /** Height of y for a height of x. */
        public long outputHeight(long height) {
            return Math.floorDiv(height + paddingTop + paddingBottom - windowHeight, strideHeight) + 1;
        }

        /** Width of y for a width of x. */
        public long outputWidth(long width) {
            return Math.floorDiv(width + paddingLeft + paddingRight - windowWidth, strideWidth) + 1;
        }
    }

    /**
     * The largest value of each window; the first in row order wins, a NaN gives NaN.
     *
     * @param x f32 (B, H, W, C)
     * @param y f32 (B, OH, OW, C), written
     * @param argmax i32 (B, OH, OW, C) contiguous: receives row · W + column of each winner, for {@link #maxBackward}
     */
    public static void max(GatunStream stream, Operand x, Operand y, Operand argmax, Window window) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            put(call, MAX, window, false);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.output(ARGMAX, "argmax", argmax);
            call.run();
        }
    }

    /**
     * Gradient of {@link #max}: each output's gradient goes to its winner.
     *
     * @param dy f32 (B, OH, OW, C)
     * @param argmax of the forward pass
     * @param dx f32 (B, H, W, C), overwritten
     */
    public static void maxBackward(GatunStream stream, Operand dy, Operand argmax, Operand dx, Window window) {
        try (Call call = Call.of(stream, BACKWARD, DESC)) {
            put(call, MAX, window, false);
            call.input(Y, "dy", dy);
            call.input(ARGMAX, "argmax", argmax);
            call.output(X, "dx", dx);
            call.run();
        }
    }

    /**
     * The mean of each window.
     *
     * @param x f32 (B, H, W, C)
     * @param y f32 (B, OH, OW, C), written
     * @param countIncludePad whether to divide by the window's size rather than by the number of its elements inside the image
     */
    public static void average(GatunStream stream, Operand x, Operand y, Window window, boolean countIncludePad) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            put(call, AVERAGE, window, countIncludePad);
            call.input(X, "x", x);
            call.output(Y, "y", y);
            call.output(ARGMAX, "argmax", Operand.NONE);
            call.run();
        }
    }

    /**
     * Gradient of {@link #average}.
     *
     * @param dy f32 (B, OH, OW, C)
     * @param dx f32 (B, H, W, C), overwritten
     * @param countIncludePad as in the forward pass
     */
    public static void averageBackward(GatunStream stream, Operand dy, Operand dx, Window window, boolean countIncludePad) {
        try (Call call = Call.of(stream, BACKWARD, DESC)) {
            put(call, AVERAGE, window, countIncludePad);
            call.input(Y, "dy", dy);
            call.input(ARGMAX, "argmax", Operand.NONE);
            call.output(X, "dx", dx);
            call.run();
        }
    }

    private static void put(Call call, int mode, Window window, boolean countIncludePad) {
        call.set(MODE, mode);
        call.set(WINDOW_HEIGHT, window.windowHeight());
        call.set(WINDOW_WIDTH, window.windowWidth());
        call.set(STRIDE_HEIGHT, window.strideHeight());
        call.set(STRIDE_WIDTH, window.strideWidth());
        call.set(PADDING_TOP, window.paddingTop());
        call.set(PADDING_BOTTOM, window.paddingBottom());
        call.set(PADDING_LEFT, window.paddingLeft());
        call.set(PADDING_RIGHT, window.paddingRight());
        call.set(COUNT_INCLUDE_PAD, countIncludePad ? 1 : 0);
    }
}

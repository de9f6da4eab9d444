// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Two-dimensional convolution (cross-correlation) of channels-last images, with its two gradients.
 *
 * <p>y[b,i,j,o] = bias[o] + Σ x[b, i·strideHeight + u·dilationHeight − paddingTop, j·strideWidth + v·dilationWidth − paddingLeft, c] ·
 * weights[o,u,v,c], with zeros around x. Activations are f32 (B, H, W, C) with free leading strides, weights f32 (O, KH, KW, C/groups)
 * contiguous. {@code groups = C = O} is a depthwise convolution. Results do not depend on the number of threads.
 */
public final class Convolution {
    private static final Downcall FORWARD = Downcall.withWorkspace("gatun_convolution_forward", 4);
    private static final Downcall FORWARD_WORKSPACE = Downcall.streamWorkspaceQuery("gatun_convolution_forward_workspace");
    private static final Downcall BACKWARD_DATA = Downcall.withWorkspace("gatun_convolution_backward_data", 3);
    private static final Downcall BACKWARD_DATA_WORKSPACE =
            Downcall.streamWorkspaceQuery("gatun_convolution_backward_data_workspace");
    private static final Downcall BACKWARD_WEIGHTS = Downcall.withWorkspace("gatun_convolution_backward_weights", 4);
    private static final Downcall BACKWARD_WEIGHTS_WORKSPACE =
            Downcall.streamWorkspaceQuery("gatun_convolution_backward_weights_workspace");

    private static final Struct DESC = Struct.descriptor("gatun_convolution_desc");
    private static final long GROUPS = DESC.i32("groups");
    private static final long X = DESC.layout("x");
    private static final long WEIGHTS = DESC.layout("weights");
    private static final long BIAS = DESC.layout("bias");
    private static final long Y = DESC.layout("y");
    private static final long STRIDE_HEIGHT = DESC.i32("stride_height");
    private static final long STRIDE_WIDTH = DESC.i32("stride_width");
    private static final long PADDING_TOP = DESC.i32("padding_top");
    private static final long PADDING_BOTTOM = DESC.i32("padding_bottom");
    private static final long PADDING_LEFT = DESC.i32("padding_left");
    private static final long PADDING_RIGHT = DESC.i32("padding_right");
    private static final long DILATION_HEIGHT = DESC.i32("dilation_height");
    private static final long DILATION_WIDTH = DESC.i32("dilation_width");
    private static final long ALLOWED_ERROR = DESC.f64("allowed_error");
    private static final long ACCUMULATE = DESC.i32("accumulate");

    static {
        DESC.u32("reserved");
    }

    private Convolution() {}

    /**
     * How the kernel moves over the image.
     *
     * @param strideHeight rows of x from one row of y to the next, at least 1
     * @param strideWidth columns of x from one column of y to the next, at least 1
     * @param paddingTop rows of zeros above, at least 0
     * @param paddingBottom rows of zeros below, at least 0
     * @param paddingLeft columns of zeros on the left, at least 0
     * @param paddingRight columns of zeros on the right, at least 0
     * @param dilationHeight distance of neighbouring rows of the kernel in x, at least 1
     * @param dilationWidth distance of neighbouring columns of the kernel in x, at least 1
     * @param groups divides both numbers of channels, at least 1
     * @param allowedError error that is accepted for speed, at least 0; 0: every product is computed. On the CPU 3 x 3 kernels of stride and
     *     dilation 1 go by Winograd's minimal filtering from 6e-8 √n (tiles of 2 x 2 outputs) and 3.2e-7 √n (4 x 4), n the channels that are
     *     summed, for the weights' gradient from 5e-7 and 3e-6: root mean square error over root mean square result, of normally distributed
     *     operands
     */
    public record Geometry(
            int strideHeight,
            int strideWidth,
            int paddingTop,
            int paddingBottom,
            int paddingLeft,
            int paddingRight,
            int dilationHeight,
            int dilationWidth,
            int groups,
            double allowedError) {

        /** Every product is computed. */
        public Geometry(
                int strideHeight,
                int strideWidth,
                int paddingTop,
                int paddingBottom,
                int paddingLeft,
                int paddingRight,
                int dilationHeight,
                int dilationWidth,
                int groups) {
            this(strideHeight, strideWidth, paddingTop, paddingBottom, paddingLeft, paddingRight, dilationHeight, dilationWidth, groups, 0);
        }

        /** The same with another {@link #allowedError}. */
        public Geometry withAllowedError(double error) {
            return new Geometry(
                    strideHeight,
                    strideWidth,
                    paddingTop,
                    paddingBottom,
                    paddingLeft,
                    paddingRight,
                    dilationHeight,
                    dilationWidth,
                    groups,
                    error);
        }

        /** The same in both directions, without dilation or groups. */
        public static Geometry of(int stride, int padding) {
            return of(stride, padding, 1, 1);
        }

        /** The same in both directions. */
        public static Geometry of(int stride, int padding, int dilation, int groups) {
            return new Geometry(stride, stride, padding, padding, padding, padding, dilation, dilation, groups);
        }

        /** Height of y for a height of x: ⌊(height + padding − dilation·(kernel − 1) − 1) / stride⌋ + 1. */
        public long outputHeight(long height, long kernelHeight) {
            return Math.floorDiv(height + paddingTop + paddingBottom - dilationHeight * (kernelHeight - 1) - 1, strideHeight) + 1;
        }

        /** Width of y for a width of x. */
        public long outputWidth(long width, long kernelWidth) {
            return Math.floorDiv(width + paddingLeft + paddingRight - dilationWidth * (kernelWidth - 1) - 1, strideWidth) + 1;
        }
    }

    /** Bytes of workspace that {@link #forward} needs; only layouts are looked at, segments may be NULL. */
    public static long forwardWorkspace(GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry) {
        return workspace(stream, FORWARD_WORKSPACE, x, weights, bias, y, geometry);
    }

    /**
     * y = convolution of x with weights, plus bias.
     *
     * @param x f32 (B, H, W, C)
     * @param weights f32 (O, KH, KW, C/groups) contiguous
     * @param bias f32 (O), or {@link Operand#NONE}
     * @param y f32 (B, OH, OW, O), written
     * @param workspace at least {@link #forwardWorkspace} bytes, aligned to 64
     */
    public static void forward(
            GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry, MemorySegment workspace) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            put(call, geometry);
            call.input(X, "x", x);
            call.input(WEIGHTS, "weights", weights);
            call.input(BIAS, "bias", bias);
            call.output(Y, "y", y);
            call.runWithWorkspace(workspace);
        }
    }

    /** Bytes of workspace that {@link #backwardData} needs; only layouts are looked at. */
    public static long backwardDataWorkspace(GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry) {
        return workspace(stream, BACKWARD_DATA_WORKSPACE, dx, weights, Operand.NONE, dy, geometry);
    }

    /**
     * Gradient with respect to x.
     *
     * @param dy f32 (B, OH, OW, O)
     * @param weights f32 (O, KH, KW, C/groups) contiguous
     * @param dx f32 (B, H, W, C), overwritten
     * @param workspace at least {@link #backwardDataWorkspace} bytes, aligned to 64
     */
    public static void backwardData(
            GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry, MemorySegment workspace) {
        backwardData(stream, dy, weights, dx, geometry, false, workspace);
    }

    /**
     * As {@link #backwardData(GatunStream, Operand, Operand, Operand, Geometry, MemorySegment)}.
     *
     * @param accumulate whether it is added to what dx holds: on the CPU and without groups, elsewhere UNSUPPORTED
     */
    public static void backwardData(
            GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry, boolean accumulate, MemorySegment workspace) {
        try (Call call = Call.of(stream, BACKWARD_DATA, DESC)) {
            put(call, geometry);
            call.set(ACCUMULATE, accumulate ? 1 : 0);
            call.input(Y, "dy", dy);
            call.input(WEIGHTS, "weights", weights);
            call.output(X, "dx", dx);
            call.runWithWorkspace(workspace);
        }
    }

    /** Bytes of workspace that {@link #backwardWeights} needs; only layouts are looked at. */
    public static long backwardWeightsWorkspace(
            GatunStream stream, Operand x, Operand dy, Operand dweights, Operand dbias, Geometry geometry) {
        return workspace(stream, BACKWARD_WEIGHTS_WORKSPACE, x, dweights, dbias, dy, geometry);
    }

    /**
     * Gradients with respect to weights and bias.
     *
     * @param x f32 (B, H, W, C): input of {@link #forward}
     * @param dy f32 (B, OH, OW, O)
     * @param dweights f32 (O, KH, KW, C/groups) contiguous, overwritten
     * @param dbias f32 (O), overwritten, or {@link Operand#NONE}
     * @param workspace at least {@link #backwardWeightsWorkspace} bytes, aligned to 64
     */
    public static void backwardWeights(
            GatunStream stream, Operand x, Operand dy, Operand dweights, Operand dbias, Geometry geometry, MemorySegment workspace) {
        backwardWeights(stream, x, dy, dweights, dbias, geometry, false, workspace);
    }

    /**
     * As {@link #backwardWeights(GatunStream, Operand, Operand, Operand, Operand, Geometry, MemorySegment)}.
     *
     * @param accumulate whether both are added to what dweights and dbias hold: on the CPU and without groups, elsewhere UNSUPPORTED
     */
    public static void backwardWeights(
            GatunStream stream,
            Operand x,
            Operand dy,
            Operand dweights,
            Operand dbias,
            Geometry geometry,
            boolean accumulate,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, BACKWARD_WEIGHTS, DESC)) {
            put(call, geometry);
            call.set(ACCUMULATE, accumulate ? 1 : 0);
            call.input(X, "x", x);
            call.input(Y, "dy", dy);
            call.output(WEIGHTS, "dweights", dweights);
            call.output(BIAS, "dbias", dbias);
            call.runWithWorkspace(workspace);
        }
    }

    private static long workspace(
            GatunStream stream, Downcall query, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry) {
        try (Call call = Call.of(stream, query, DESC)) {
            put(call, geometry);
            call.layout(X, x);
            call.layout(WEIGHTS, weights);
            call.layout(BIAS, bias);
            call.layout(Y, y);
            return call.queryWorkspace();
        }
    }

    private static void put(Call call, Geometry geometry) {
        call.set(GROUPS, geometry.groups());
        call.set(STRIDE_HEIGHT, geometry.strideHeight());
        call.set(STRIDE_WIDTH, geometry.strideWidth());
        call.set(PADDING_TOP, geometry.paddingTop());
        call.set(PADDING_BOTTOM, geometry.paddingBottom());
        call.set(PADDING_LEFT, geometry.paddingLeft());
        call.set(PADDING_RIGHT, geometry.paddingRight());
        call.set(DILATION_HEIGHT, geometry.dilationHeight());
        call.set(DILATION_WIDTH, geometry.dilationWidth());
        call.set(ALLOWED_ERROR, geometry.allowedError());
    }
}

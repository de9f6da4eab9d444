// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import java.lang.foreign.MemorySegment;

/**
 * Convolution of channels-last images by Gatun's kernels or a library. Shapes, dtypes and errors are those of
 * {@link dev.gatun.primitives.Convolution}: x and y (B, H, W, C) and the weights (O, KH, KW, C / groups) have one dtype, a bias, and the gradients
 * of weights and bias, are f32. A workspace is asked for first, with the same operands.
 */
public interface ConvolutionLibrary extends AutoCloseable {
    /** What computes, for reports. */
    String name();

    /** Bytes of workspace of {@link #forward}. */
    long forwardWorkspace(GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry);

    /** y = convolution of x with weights, plus the bias unless it is {@link Operand#NONE}. */
    void forward(GatunStream stream, Operand x, Operand weights, Operand bias, Operand y, Geometry geometry, MemorySegment workspace);

    /** Bytes of workspace of {@link #backwardData}. */
    long backwardDataWorkspace(GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry);

    /** Whether gradients can be added to what is there. */
    boolean accumulates(GatunStream stream, Geometry geometry);

    /** dx = the gradient with respect to x, or with {@code accumulate}, where {@link #accumulates} says so, dx += it. */
    void backwardData(
            GatunStream stream, Operand dy, Operand weights, Operand dx, Geometry geometry, boolean accumulate, MemorySegment workspace);

    /** Bytes of workspace of {@link #backwardWeights}. */
    long backwardWeightsWorkspace(GatunStream stream, Operand x, Operand dy, Operand dweights, Operand dbias, Geometry geometry);

    /** The gradients with respect to weights and, unless it is {@link Operand#NONE}, bias; {@code accumulate} as in {@link #backwardData}. */
    void backwardWeights(
            GatunStream stream,
            Operand x,
            Operand dy,
            Operand dweights,
            Operand dbias,
            Geometry geometry,
            boolean accumulate,
            MemorySegment workspace);

    /** Gives back what the library holds. The device that it belongs to does so when it is closed. */
    @Override
    default void close() {}
}

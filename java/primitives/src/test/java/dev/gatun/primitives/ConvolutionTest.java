// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class ConvolutionTest {
    private static final Convolution.Geometry SAME = Convolution.Geometry.of(1, 1);

    /** 3×3 ones over a 3×3 ramp: every output is the sum of its neighbourhood. Integers, so all results are exact. */
    @Test
    void sumsNeighbourhoods() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 3, 3, 1);
            Operand weights = device.of(new float[] {1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 3, 3, 1);
            Operand bias = device.of(new float[] {100}, 1);
            Operand y = device.empty(DType.F32, 1, 3, 3, 1);
            MemorySegment workspace =
                    device.arena.allocate(Convolution.forwardWorkspace(device.stream, x, weights, bias, y, SAME), 64);
            Convolution.forward(device.stream, x, weights, bias, y, SAME, workspace);
            assertArrayEquals(new float[] {112, 121, 116, 127, 145, 133, 124, 139, 128}, Native.floats(y));

            Operand dx = device.empty(DType.F32, 1, 3, 3, 1);
            Operand ones = device.of(new float[] {1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 3, 3, 1);
            workspace = device.arena.allocate(Convolution.backwardDataWorkspace(device.stream, ones, weights, dx, SAME), 64);
            Convolution.backwardData(device.stream, ones, weights, dx, SAME, workspace);
            assertArrayEquals(new float[] {4, 6, 4, 6, 9, 6, 4, 6, 4}, Native.floats(dx));

            Operand dweights = device.empty(DType.F32, 1, 3, 3, 1);
            Operand dbias = device.empty(DType.F32, 1);
            workspace = device.arena.allocate(
                    Convolution.backwardWeightsWorkspace(device.stream, x, ones, dweights, dbias, SAME), 64);
            Convolution.backwardWeights(device.stream, x, ones, dweights, dbias, SAME, workspace);
            assertArrayEquals(new float[] {12, 21, 16, 27, 45, 33, 24, 39, 28}, Native.floats(dweights));
            assertArrayEquals(new float[] {9}, Native.floats(dbias));
        }
    }

    /** ⟨dy, y(x)⟩ is linear in x and in the weights, so both gradients give it back. */
    @Test
    void gradientsAreAdjoint() {
        try (Native device = new Native()) {
            Convolution.Geometry geometry = new Convolution.Geometry(2, 1, 1, 0, 2, 1, 1, 2, 3);
            Operand x = device.of(Native.normal(2 * 9 * 8 * 6, 1), 2, 9, 8, 6);
            Operand weights = device.of(Native.normal(12 * 3 * 3 * 2, 2), 12, 3, 3, 2);
            long height = geometry.outputHeight(9, 3);
            long width = geometry.outputWidth(8, 3);
            Operand y = device.empty(DType.F32, 2, height, width, 12);
            Operand dy = device.of(Native.normal((int) y.layout().elements(), 3), 2, height, width, 12);
            Operand dx = device.empty(DType.F32, 2, 9, 8, 6);
            Operand dweights = device.empty(DType.F32, 12, 3, 3, 2);
            MemorySegment workspace = device.arena.allocate(
                    Math.max(
                            Convolution.forwardWorkspace(device.stream, x, weights, Operand.NONE, y, geometry),
                            Math.max(
                                    Convolution.backwardDataWorkspace(device.stream, dy, weights, dx, geometry),
                                    Convolution.backwardWeightsWorkspace(
                                            device.stream, x, dy, dweights, Operand.NONE, geometry))),
                    64);
            Convolution.forward(device.stream, x, weights, Operand.NONE, y, geometry, workspace);
            Convolution.backwardData(device.stream, dy, weights, dx, geometry, workspace);
            Convolution.backwardWeights(device.stream, x, dy, dweights, Operand.NONE, geometry, workspace);
            double expected = dot(dy, y);
            // Sums of at most 2000 products of size about 1, each with a few roundings.
            assertEquals(expected, dot(dx, x), 2000 * 4.0 * Math.ulp(1f));
            assertEquals(expected, dot(dweights, weights), 2000 * 4.0 * Math.ulp(1f));
            assertTrue(Math.abs(expected) > 1, "the objective is not trivially zero");
        }
    }

    private static double dot(Operand a, Operand b) {
        float[] x = Native.floats(a);
        float[] y = Native.floats(b);
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += x[i] * (double) y[i];
        }
        return sum;
    }

    @Test
    void badCallsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 1, 3, 3, 2);
            Operand weights = device.empty(DType.F32, 4, 3, 3, 2);
            Operand y = device.empty(DType.F32, 1, 3, 3, 4);
            MemorySegment workspace =
                    device.arena.allocate(Convolution.forwardWorkspace(device.stream, x, weights, Operand.NONE, y, SAME), 64);
            refused(device, x, weights, y, Convolution.Geometry.of(2, 1), workspace, "y has shape (1, 3, 3, 4), expected (1, 2, 2, 4)");
            refused(device, x, weights, y, Convolution.Geometry.of(1, 1, 1, 3), workspace, "groups is 3, it must divide");
            refused(device, x, weights, y, Convolution.Geometry.of(0, 1), workspace, "stride_height is 0");
            refused(device, x, weights, y, SAME, workspace.asSlice(0, 64), "the workspace has 64 bytes");
            refused(device, Operand.NONE, weights, y, SAME, workspace, "x is none, expected f32");
            refused(device, x, weights, new Operand(y.segment().asReadOnly(), y.layout()), SAME, workspace, "read-only");
        }
    }

    private static void refused(
            Native device, Operand x, Operand weights, Operand y, Convolution.Geometry geometry, MemorySegment workspace, String message) {
        GatunException e = assertThrows(
                GatunException.class,
                () -> Convolution.forward(device.stream, x, weights, Operand.NONE, y, geometry, workspace));
        assertEquals("convolution_forward", e.operation());
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class SinkhornTest {
    private static final float EPSILON = 0.5f;

    @Test
    void codesOfSamplesSumToOneAndPrototypesAreBalanced() {
        try (Native device = new Native()) {
            Operand scores = device.of(Native.normal(64 * 10, 1), 64, 10);
            Operand codes = device.empty(DType.F32, 64, 10);
            MemorySegment workspace = workspace(device, scores);
            Sinkhorn.codes(device.stream, scores, codes, EPSILON, 20, workspace);
            float[] q = Native.floats(codes);
            double[] mass = new double[10];
            for (int row = 0; row < 64; row++) {
                double sum = 0;
                for (int k = 0; k < 10; k++) {
                    sum += q[row * 10 + k];
                    mass[k] += q[row * 10 + k];
                }
                assertEquals(1, sum, 1e-6);
            }
            // Twenty iterations balance the prototypes; one does not.
            for (double each : mass) {
                assertEquals(6.4, each, 0.064);
            }
            Sinkhorn.codes(device.stream, scores, codes, EPSILON, 1, workspace);
            float[] once = Native.floats(codes);
            assertTrue(Math.abs(q[0] - once[0]) > 1e-5);
        }
    }

    @Test
    void theCallsBetweenWhichMachinesJoinSumsAreTheOneCall() {
        try (Native device = new Native()) {
            Operand scores = device.of(Native.normal(40 * 7, 2), 40, 7);
            Operand whole = device.empty(DType.F32, 12, 7);
            Operand parts = device.empty(DType.F32, 12, 7);
            Operand range = device.empty(DType.F32, 2);
            Operand sums = device.empty(DType.F32, 7);
            MemorySegment workspace = workspace(device, scores);
            Sinkhorn.codes(device.stream, scores, whole, EPSILON, 3, workspace);
            Sinkhorn.range(device.stream, scores, range, workspace);
            Sinkhorn.sums(device.stream, scores, range, Operand.NONE, sums, EPSILON, workspace);
            Sinkhorn.sums(device.stream, scores, range, sums, sums, EPSILON, workspace);
            Sinkhorn.sums(device.stream, scores, range, sums, sums, EPSILON, workspace);
            Sinkhorn.finish(device.stream, scores, range, sums, parts, EPSILON, workspace);
            float[] values = Native.floats(scores);
            Arrays.sort(values);
            // An exponential's argument, up to the spread, is rounded once and the exponential by a few units more; every scaling, two an
            // iteration, and the codes themselves have that error, in both results.
            double unit = Math.ulp(1f) / 2;
            double error = ((values[values.length - 1] - values[0]) / EPSILON + 4) * unit;
            double bound = 2 * (2 * 3 + 1) * error;
            assertTrue(difference(whole, parts) <= bound);
            Sinkhorn.codes(device.stream, scores, whole, EPSILON, 2, workspace);
            assertTrue(difference(whole, parts) > 4 * bound);
            assertArrayEquals(new float[] {values[0], values[values.length - 1]}, Native.floats(range));
        }
    }

    /** The largest, of elements relative to themselves. */
    private static double difference(Operand a, Operand b) {
        float[] x = Native.floats(a);
        float[] y = Native.floats(b);
        double largest = 0;
        for (int i = 0; i < x.length; i++) {
            largest = Math.max(largest, Math.abs((double) x[i] - y[i]) / y[i]);
        }
        return largest;
    }

    @Test
    void streamingGivesTheCodesOfTheScores() {
        int samples = 30;
        int prototypes = 11;
        int depth = 8;
        float[] z = Native.normal(samples * depth, 5);
        float[] c = Native.normal(prototypes * depth, 6);
        float[] products = new float[samples * prototypes];
        for (int b = 0; b < samples; b++) {
            for (int k = 0; k < prototypes; k++) {
                for (int i = 0; i < depth; i++) {
                    products[b * prototypes + k] += z[b * depth + i] * c[k * depth + i];
                }
            }
        }
        try (Native device = new Native()) {
            Operand scores = device.of(products, samples, prototypes);
            Operand expected = device.empty(DType.F32, samples, prototypes);
            Sinkhorn.codes(device.stream, scores, expected, 1, 3, workspace(device, scores));
            Operand features = device.of(z, samples, depth);
            Operand directions = device.of(c, prototypes, depth);
            Sinkhorn.Potentials potentials =
                    new Sinkhorn.Potentials(device.empty(DType.F32, samples), device.empty(DType.F32, prototypes));
            long bytes = Sinkhorn.streamingWorkspace(device.stream, features, directions, potentials);
            MemorySegment workspace = device.arena.allocate(bytes, 64);
            Sinkhorn.streaming(device.stream, features, directions, potentials, 1, 3, workspace);
            Operand codes = device.empty(DType.F32, samples, prototypes);
            Sinkhorn.streamingCodes(device.stream, features, directions, potentials, codes, 1, workspace);
            assertArrayEquals(Native.floats(expected), Native.floats(codes), 1e-5f);
            refused("iterations is 0", () -> Sinkhorn.streaming(
                    device.stream, features, directions, potentials, 1, 0, workspace));
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand scores = device.of(Native.normal(20, 3), 5, 4);
            Operand codes = device.empty(DType.F32, 5, 4);
            MemorySegment workspace = workspace(device, scores);
            refused("epsilon is -1", () -> Sinkhorn.codes(device.stream, scores, codes, -1, 3, workspace));
            refused("codes has 6 rows", () -> Sinkhorn.codes(
                    device.stream, scores, device.empty(DType.F32, 6, 4), EPSILON, 3, workspace));
            refused("the workspace has 0 bytes", () -> Sinkhorn.codes(
                    device.stream, scores, codes, EPSILON, 3, workspace.asSlice(0, 0)));
            refused("sums is f32[3], expected f32[4]", () -> Sinkhorn.sums(
                    device.stream,
                    scores,
                    device.of(new float[] {-3, 3}, 2),
                    Operand.NONE,
                    device.empty(DType.F32, 3),
                    EPSILON,
                    workspace));
        }
    }

    private static MemorySegment workspace(Native device, Operand scores) {
        return device.arena.allocate(Sinkhorn.workspace(device.stream, scores), 64);
    }

    private static void refused(String message, Runnable call) {
        GatunException e = assertThrows(GatunException.class, call::run);
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}

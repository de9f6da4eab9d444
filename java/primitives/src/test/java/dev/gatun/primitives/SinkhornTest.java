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
            assertArrayEquals(Native.floats(whole), Native.floats(parts));
            float[] values = Native.floats(scores);
            Arrays.sort(values);
            assertArrayEquals(new float[] {values[0], values[values.length - 1]}, Native.floats(range));
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

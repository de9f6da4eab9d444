// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ReductionTest {
    @Test
    void reducesAnyDimensions() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4, 5, 9}, 2, 3);
            assertArrayEquals(new float[] {6, 18}, reduce(device, Reduction.Kind.SUM, x, 2, 1));
            assertArrayEquals(new float[] {5, 7, 12}, reduce(device, Reduction.Kind.SUM, x, 3));
            assertArrayEquals(new float[] {4}, reduce(device, Reduction.Kind.MEAN, x, 1));
            assertArrayEquals(new float[] {3, 9}, reduce(device, Reduction.Kind.MAXIMUM, x, 2, 1));
        }
    }

    @Test
    void longSumsTakeAWorkspace() {
        try (Native device = new Native()) {
            float[] ones = new float[100_000];
            Arrays.fill(ones, 1);
            Operand x = device.of(ones, ones.length);
            assertArrayEquals(new float[] {100_000}, reduce(device, Reduction.Kind.SUM, x, 1));
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> Reduction.reduce(
                            device.stream, Reduction.Kind.SUM, x, device.empty(DType.F32, 1), MemorySegment.NULL));
            assertTrue(e.getMessage().contains("the workspace has 0 bytes"), e.getMessage());
        }
    }

    @Test
    void countsWhatIsNotFinite() {
        try (Native device = new Native()) {
            Operand count = device.empty(DType.I32, 1);
            Reduction.countNonfinite(
                    device.stream, device.of(new float[] {1, Float.NaN, 0, Float.NEGATIVE_INFINITY, 5}, 5), count);
            assertEquals(2, Native.ints(count)[0]);
        }
    }

    private static float[] reduce(Native device, Reduction.Kind kind, Operand x, long... shape) {
        Operand y = device.empty(DType.F32, shape);
        long bytes = Reduction.workspace(device.stream, kind, x, y);
        Reduction.reduce(device.stream, kind, x, y, device.arena.allocate(Math.max(bytes, 1), 64));
        return Native.floats(y);
    }
}

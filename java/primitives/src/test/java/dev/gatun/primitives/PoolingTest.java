// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class PoolingTest {
    private static final float[] RAMP = {1, 2, 3, 4, 5, 6, 7, 8, 9};

    @Test
    void maximumAndItsGradient() {
        try (Native device = new Native()) {
            Pooling.Window window = Pooling.Window.of(2, 1, 0);
            assertEquals(2, window.outputHeight(3));
            Operand x = device.of(RAMP, 1, 3, 3, 1);
            Operand y = device.empty(DType.F32, 1, 2, 2, 1);
            Operand argmax = device.empty(DType.I32, 1, 2, 2, 1);
            Pooling.max(device.stream, x, y, argmax, window);
            assertArrayEquals(new float[] {5, 6, 8, 9}, Native.floats(y));
            assertArrayEquals(new int[] {4, 5, 7, 8}, Native.ints(argmax));
            Operand dx = device.empty(DType.F32, 1, 3, 3, 1);
            Pooling.maxBackward(device.stream, y, argmax, dx, window);
            assertArrayEquals(new float[] {0, 0, 0, 0, 5, 6, 0, 8, 9}, Native.floats(dx));
        }
    }

    @Test
    void averageWithAndWithoutPaddingInTheCount() {
        try (Native device = new Native()) {
            Pooling.Window window = Pooling.Window.of(2, 2, 1);
            Operand x = device.of(RAMP, 1, 3, 3, 1);
            Operand y = device.empty(DType.F32, 1, 2, 2, 1);
            Pooling.average(device.stream, x, y, window, false);
            assertArrayEquals(new float[] {1, 2.5f, 5.5f, 7}, Native.floats(y));
            Pooling.average(device.stream, x, y, window, true);
            assertArrayEquals(new float[] {0.25f, 1.25f, 2.75f, 7}, Native.floats(y));
            Operand dx = device.empty(DType.F32, 1, 3, 3, 1);
            Pooling.averageBackward(device.stream, device.of(new float[] {4, 8, 12, 16}, 1, 2, 2, 1), dx, window, false);
            assertArrayEquals(new float[] {4, 4, 4, 6, 4, 4, 6, 4, 4}, Native.floats(dx));
        }
    }

    @Test
    void globalAverage() {
        try (Native device = new Native()) {
            Pooling.Window window = Pooling.Window.global(3, 3);
            Operand y = device.empty(DType.F32, 1, 1, 1, 1);
            Pooling.average(device.stream, device.of(RAMP, 1, 3, 3, 1), y, window, false);
            assertArrayEquals(new float[] {5}, Native.floats(y));
        }
    }

    @Test
    void badCallsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 1, 3, 3, 1);
            Operand y = device.empty(DType.F32, 1, 2, 2, 1);
            Operand argmax = device.empty(DType.I32, 1, 2, 2, 1);
            refused("y has shape (1, 2, 2, 1), expected (1, 1, 1, 1)", () ->
                    Pooling.max(device.stream, x, y, argmax, Pooling.Window.of(2, 2, 0)));
            refused("allowed are 0 to 1", () -> Pooling.max(device.stream, x, y, argmax, Pooling.Window.of(2, 2, 2)));
            refused("argmax is f32, expected i32", () -> Pooling.max(device.stream, x, y, y, Pooling.Window.of(2, 1, 0)));
            refused("y has 12 bytes", () -> Pooling.average(
                    device.stream, x, new Operand(y.segment().asSlice(0, 12), y.layout()), Pooling.Window.of(2, 1, 0), false));
        }
    }

    private static void refused(String message, Runnable call) {
        GatunException e = assertThrows(GatunException.class, call::run);
        assertEquals("pooling_forward", e.operation());
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class L2NormalizeTest {
    private static final float EPSILON = 1e-12f;

    @Test
    void rowsHaveUnitLengthAndTheGradientIsTangent() {
        try (Native device = new Native()) {
            Operand x = device.of(Native.normal(5 * 9, 1), 5, 9);
            Operand y = device.empty(DType.F32, 5, 9);
            Operand norm = device.empty(DType.F32, 5);
            L2Normalize.forward(device.stream, x, y, norm, EPSILON);
            Operand dx = device.empty(DType.F32, 5, 9);
            L2Normalize.backward(device.stream, y, norm, device.of(Native.normal(5 * 9, 2), 5, 9), dx, EPSILON);
            float[] values = Native.floats(y);
            float[] gradient = Native.floats(dx);
            for (int row = 0; row < 5; row++) {
                double length = 0;
                double tangent = 0;
                for (int column = row * 9; column < row * 9 + 9; column++) {
                    length += values[column] * (double) values[column];
                    tangent += values[column] * (double) gradient[column];
                }
                assertEquals(1, length, 9 * 2.0 * Math.ulp(1f));
                assertEquals(0, tangent, 9 * 4.0 * Math.ulp(1f));
            }
        }
    }

    @Test
    void badOperandsAreRefusedBeforeTheyReachTheKernel() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 4, 4);
            Operand norm = device.empty(DType.F32, 4);
            refused(device, x, new Operand(x.segment().asSlice(0, 60), x.layout()), norm, "y has 60 bytes, f32[4, 4] needs 64");
            refused(device, x, new Operand(x.segment().asReadOnly(), x.layout()), norm, "read-only");
            refused(device, x, new Operand(MemorySegment.ofArray(new float[16]), x.layout()), norm, "on the Java heap");
            refused(device, x, Operand.NONE, norm, "y is none, expected f32");
            refused(device, x, device.empty(DType.F32, 4, 5), norm, "y has shape (4, 5), expected (4, 4)");
            MemorySegment closed;
            try (Arena arena = Arena.ofConfined()) {
                closed = arena.allocate(64);
            }
            refused(device, new Operand(closed, x.layout()), x, norm, "x was freed already");
        }
    }

    private static void refused(Native device, Operand x, Operand y, Operand norm, String message) {
        GatunException e =
                assertThrows(GatunException.class, () -> L2Normalize.forward(device.stream, x, y, norm, EPSILON));
        assertEquals("l2_normalize_forward", e.operation());
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }
}

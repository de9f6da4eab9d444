// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class ElementwiseTest {
    @Test
    void everyFunctionIsWhatItsNameSays() {
        try (Native device = new Native()) {
            float[] x = {4f, 0.25f, 1f};
            float[] z = {2f, 8f, -1f};
            for (Elementwise.Unary operation : Elementwise.Unary.values()) {
                Operand y = device.empty(DType.F32, 3);
                Elementwise.unary(device.stream, operation, device.of(x, 3), y);
                for (int i = 0; i < 3; i++) {
                    double expected = switch (operation) {
                        case NEGATE -> -x[i];
                        case ABSOLUTE -> Math.abs(x[i]);
                        case EXP -> Math.exp(x[i]);
                        case LOG -> Math.log(x[i]);
                        case SQRT -> Math.sqrt(x[i]);
                        case SQUARE -> x[i] * x[i];
                        case RECIPROCAL -> 1 / x[i];
                    };
                    assertEquals(expected, Native.floats(y)[i], 2 * Math.ulp((float) expected), operation.name());
                }
            }
            for (Elementwise.Binary operation : Elementwise.Binary.values()) {
                Operand y = device.empty(DType.F32, 3);
                Elementwise.binary(device.stream, operation, device.of(x, 3), device.of(z, 3), y);
                for (int i = 0; i < 3; i++) {
                    float expected = switch (operation) {
                        case ADD -> x[i] + z[i];
                        case SUBTRACT -> x[i] - z[i];
                        case MULTIPLY -> x[i] * z[i];
                        case DIVIDE -> x[i] / z[i];
                        case MAXIMUM -> Math.max(x[i], z[i]);
                        case MINIMUM -> Math.min(x[i], z[i]);
                    };
                    assertEquals(expected, Native.floats(y)[i], operation.name());
                }
            }
        }
    }

    @Test
    void broadcastsTransposesConvertsAndAccumulates() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
            Operand y = device.empty(DType.F32, 2, 3);
            Elementwise.binary(device.stream, Elementwise.Binary.ADD, x, device.of(new float[] {10, 20, 30}, 3), y);
            assertArrayEquals(new float[] {11, 22, 33, 14, 25, 36}, Native.floats(y));
            Elementwise.accumulate(device.stream, 2, device.of(new float[] {1, -1}, 2, 1), y);
            assertArrayEquals(new float[] {13, 24, 35, 12, 23, 34}, Native.floats(y));

            Operand transposed = new Operand(x.segment(), Layout.strided(DType.F32, new long[] {3, 2}, new long[] {1, 3}));
            Operand packed = device.empty(DType.F32, 3, 2);
            Elementwise.copy(device.stream, transposed, packed);
            assertArrayEquals(new float[] {1, 4, 2, 5, 3, 6}, Native.floats(packed));

            Operand labels = device.of(new int[] {-1, 0, 7}, 3);
            Operand floats = device.empty(DType.F32, 3);
            Elementwise.affine(device.stream, 0.5f, labels, 1, floats);
            assertArrayEquals(new float[] {0.5f, 1, 4.5f}, Native.floats(floats));
            Operand copied = device.empty(DType.I32, 3);
            Elementwise.copy(device.stream, labels, copied);
            assertArrayEquals(new int[] {-1, 0, 7}, Native.ints(copied));
            Elementwise.fill(device.stream, -2, floats);
            assertArrayEquals(new float[] {-2, -2, -2}, Native.floats(floats));
        }
    }

    @Test
    void shapesThatDoNotBroadcastAreRefused() {
        try (Native device = new Native()) {
            Operand y = device.empty(DType.F32, 4, 3);
            GatunException e = assertThrows(
                    GatunException.class, () -> Elementwise.copy(device.stream, device.empty(DType.F32, 4), y));
            assertEquals("elementwise", e.operation());
            assertTrue(e.getMessage().contains("x does not broadcast to y"), e.getMessage());
        }
    }
}

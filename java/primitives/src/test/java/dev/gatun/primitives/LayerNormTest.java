// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class LayerNormTest {
    private static final float EPSILON = 1e-6f;

    @Test
    void rowsAreNormalisedAndTheGradientIsOrthogonalToThem() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 3, -2, 6}, 2, 2);
            Operand y = device.empty(DType.F32, 2, 2);
            Operand mean = device.empty(DType.F32, 2);
            Operand rstd = device.empty(DType.F32, 2);
            Operand gamma = device.of(new float[] {2, 1}, 2);
            Operand beta = device.of(new float[] {0, 5}, 2);
            LayerNorm.forward(device.stream, EPSILON, x, gamma, beta, y, mean, rstd);
            assertArrayEquals(new float[] {-2, 6, -2, 6}, Native.floats(y), 4e-6f);
            assertArrayEquals(new float[] {2, 2}, Native.floats(mean));
            assertArrayEquals(new float[] {1, 0.25f}, Native.floats(rstd), 1e-6f);

            Operand dy = device.of(new float[] {1, 2, 3, 4}, 2, 2);
            Operand dx = device.empty(DType.F32, 2, 2);
            Operand dgamma = device.empty(DType.F32, 2);
            Operand dbeta = device.empty(DType.F32, 2);
            long bytes = LayerNorm.backwardWorkspace(device.stream, x, gamma, mean, rstd, dy, dx, dgamma, dbeta);
            LayerNorm.backward(
                    device.stream, x, gamma, mean, rstd, dy, dx, dgamma, dbeta, device.arena.allocate(bytes, 64));
            assertArrayEquals(new float[] {-4, 6}, Native.floats(dgamma), 8e-6f);
            assertArrayEquals(new float[] {4, 6}, Native.floats(dbeta));
            // Two columns: the normalised row is (-1, 1) whatever x is, so nothing flows back.
            assertArrayEquals(new float[4], Native.floats(dx), 1e-5f);
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 4, 3);
            Operand rows = device.empty(DType.F32, 4);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> LayerNorm.forward(device.stream, EPSILON, x, rows, Operand.NONE, x, rows, rows));
            assertEquals("layer_norm_forward", e.operation());
            assertTrue(e.getMessage().contains("gamma has shape (4), expected (3)"), e.getMessage());
        }
    }
}

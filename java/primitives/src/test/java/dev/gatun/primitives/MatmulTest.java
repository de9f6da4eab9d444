// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class MatmulTest {
    private static void run(Native device, Matmul product) {
        product.run(device.stream, device.arena.allocate(product.workspace(device.stream), 64));
    }

    @Test
    void aNormalisedRowTimesWeightsWithBiasFactorsAndResidual() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 3, -2, 6}, 2, 2);
            Operand weights = device.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
            Operand c = device.of(new float[] {100, 100, 100, 200, 200, 200}, 2, 3);
            Operand mean = device.empty(DType.F32, 2);
            Operand rstd = device.empty(DType.F32, 2);
            Operand bias = device.of(new float[] {1, 1, 1}, 3);
            Operand drop = device.of(new float[] {2, 0}, 2);
            // both rows become (-1, 1)
            run(
                    device,
                    Matmul.of(x, weights, c)
                            .layerNormA(1e-6f, Operand.NONE, Operand.NONE, mean, rstd)
                            .bias(bias)
                            .factors(drop, Operand.NONE)
                            .residual(c));
            assertArrayEquals(new float[] {108, 108, 108, 200, 200, 200}, Native.floats(c), 1e-4f);
            assertArrayEquals(new float[] {2, 2}, Native.floats(mean));
            assertArrayEquals(new float[] {1, 0.25f}, Native.floats(rstd), 1e-6f);
        }
    }

    @Test
    void gradientsOfWeightsAndBiasAreAdded() {
        try (Native device = new Native()) {
            Operand dy = device.of(new float[] {1, 2, 3, 4}, 2, 2);
            Operand dyTransposed = new Operand(dy.segment(), Layout.strided(DType.F32, new long[] {2, 2}, new long[] {1, 2}));
            Operand x = device.of(new float[] {1, 3, -2, 6}, 2, 2);
            Operand gradient = device.of(new float[] {10, 20, 30, 40}, 2, 2);
            Operand sums = device.of(new float[] {5, 6}, 2);
            Operand drop = device.of(new float[] {1, 2}, 2);
            run(device, Matmul.of(dyTransposed, x, gradient).scaleA(Operand.NONE, drop).accumulate().sumsOfA(sums));
            // dyᵀ with its second sample doubled: (1, 6; 2, 8)
            assertArrayEquals(new float[] {-1, 59, 16, 94}, Native.floats(gradient));
            assertArrayEquals(new float[] {12, 16}, Native.floats(sums));
        }
    }

    @Test
    void geluAndItsGradient() {
        try (Native device = new Native()) {
            Operand one = device.of(new float[] {1}, 1, 1);
            Operand x = device.of(new float[] {-1, 0, 1}, 1, 3);
            Operand y = device.empty(DType.F32, 1, 3);
            Operand hidden = device.empty(DType.F32, 1, 3);
            run(device, Matmul.of(one, x, y).gelu(hidden));
            assertArrayEquals(new float[] {-.15865525f, 0, .84134475f}, Native.floats(y), 1e-6f);
            assertArrayEquals(new float[] {-1, 0, 1}, Native.floats(hidden));
            run(device, Matmul.of(one, x, y).geluB());
            assertArrayEquals(new float[] {-.15865525f, 0, .84134475f}, Native.floats(y), 1e-6f);
            run(device, Matmul.of(one, device.of(new float[] {1, 1, 1}, 1, 3), y).geluGradient(hidden));
            assertArrayEquals(new float[] {-.08331547f, .5f, 1.0833155f}, Native.floats(y), 1e-6f);
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand a = device.empty(DType.F32, 4, 3);
            Matmul product = Matmul.of(a, a, a);
            GatunException e = assertThrows(GatunException.class, () -> product.workspace(device.stream));
            assertEquals("matmul_workspace", e.operation());
            assertTrue(e.getMessage().contains("b has shape (4, 3), expected (3, 3)"), e.getMessage());
        }
    }
}

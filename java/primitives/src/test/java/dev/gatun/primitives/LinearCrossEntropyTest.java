// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class LinearCrossEntropyTest {
    @Test
    void isTheCrossEntropyOfTheProducts() {
        try (Native device = new Native()) {
            Operand z = device.of(Native.normal(6 * 4, 1), 6, 4);
            Operand prototypes = device.of(Native.normal(5 * 4, 2), 5, 4);
            Operand targets = device.of(new int[] {1, 4, 0}, 3);
            Operand all = device.of(new int[] {1, 4, 0, 1, 4, 0}, 6);
            float[] x = Native.floats(z);
            float[] c = Native.floats(prototypes);
            float[] scores = new float[6 * 5];
            for (int i = 0; i < scores.length; i++) {
                for (int d = 0; d < 4; d++) {
                    scores[i] += x[i / 5 * 4 + d] * c[i % 5 * 4 + d];
                }
            }
            Operand logits = device.of(scores, 6, 5);
            Operand expected = device.empty(DType.F32, 6);
            Operand dlogits = device.empty(DType.F32, 6, 5);
            CrossEntropy.forward(device.stream, 0.5f, logits, all, expected, Operand.NONE, Operand.NONE);
            CrossEntropy.backward(
                    device.stream, 0.5f, logits, all, Operand.NONE, device.of(new float[] {2, 2, 2, 2, 2, 2}, 6), dlogits);
            float[] g = Native.floats(dlogits);
            float[] dx = new float[6 * 4];
            float[] dc = new float[5 * 4];
            for (int n = 0; n < 6; n++) {
                for (int k = 0; k < 5; k++) {
                    for (int d = 0; d < 4; d++) {
                        dx[n * 4 + d] += g[n * 5 + k] * c[k * 4 + d];
                        dc[k * 4 + d] += g[n * 5 + k] * x[n * 4 + d];
                    }
                }
            }
            for (Operand given : List.of(Operand.NONE, logits)) {
                Operand loss = device.empty(DType.F32, 6);
                Operand dz = device.empty(DType.F32, 6, 4);
                Operand dprototypes = device.empty(DType.F32, 5, 4);
                LinearCrossEntropy.Inputs inputs = new LinearCrossEntropy.Inputs(z, prototypes, targets, given, 0.5f);
                LinearCrossEntropy.Result result = new LinearCrossEntropy.Result(loss, dz, dprototypes, 2f);
                LinearCrossEntropy.run(
                        device.stream, inputs, result, device.arena.allocate(LinearCrossEntropy.workspace(device.stream, inputs, result), 64));
                assertArrayEquals(Native.floats(expected), Native.floats(loss), 1e-5f);
                assertArrayEquals(dx, Native.floats(dz), 1e-5f);
                assertArrayEquals(dc, Native.floats(dprototypes), 1e-5f);
            }
            // scores that are given are used up
            assertFalse(Arrays.equals(scores, Native.floats(logits)));
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            LinearCrossEntropy.Inputs inputs = new LinearCrossEntropy.Inputs(
                    device.empty(DType.F32, 6, 4), device.empty(DType.F32, 5, 4), device.empty(DType.F32, 4, 5), Operand.NONE, 1f);
            LinearCrossEntropy.Result result =
                    new LinearCrossEntropy.Result(device.empty(DType.F32, 6), Operand.NONE, Operand.NONE, 1f);
            GatunException e =
                    assertThrows(GatunException.class, () -> LinearCrossEntropy.workspace(device.stream, inputs, result));
            assertEquals("linear_cross_entropy_workspace", e.operation());
            assertTrue(e.getMessage().contains("targets has 4 rows, which do not divide the 6 of z"), e.getMessage());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class BatchNormTest {
    private static final double EPSILON = 1e-5;

    @Test
    void trainingNormalisesEachChannelAndInferenceUsesTheRunningStatistics() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 10, 3, 30, 5, 20}, 3, 2);
            Operand mean = device.empty(DType.F32, 2);
            Operand centered = device.empty(DType.F32, 2);
            long bytes = BatchNorm.statisticsWorkspace(device.stream, x, mean, centered);
            BatchNorm.statistics(device.stream, x, mean, centered, device.arena.allocate(bytes, 64));
            assertArrayEquals(new float[] {3, 20}, Native.floats(mean));
            assertArrayEquals(new float[] {8, 200}, Native.floats(centered));

            Operand runningMean = device.of(new float[] {0, 0}, 2);
            Operand runningVariance = device.of(new float[] {1, 1}, 2);
            Operand rstd = device.empty(DType.F32, 2);
            Operand y = device.empty(DType.F32, 3, 2);
            Operand gamma = device.of(new float[] {1, 2}, 2);
            Operand beta = device.of(new float[] {0, 1}, 2);
            Operand momentum = device.of(new float[] {0.5f}, 1);
            BatchNorm.forward(
                    device.stream, true, 3, EPSILON, x, mean, centered, gamma, beta, momentum, runningMean, runningVariance, rstd, y,
                    Operand.NONE);
            assertArrayEquals(new float[] {1.5f, 10}, Native.floats(runningMean));
            assertArrayEquals(new float[] {2.5f, 50.5f}, Native.floats(runningVariance)); // unbiased: 8/2 and 200/2
            float unit = (float) (2 / Math.sqrt(8.0 / 3 + EPSILON));
            assertArrayEquals(new float[] {0, 0, 0, 1 + 2 * 1.2247449f, unit, 1}, Native.floats(y), 1e-6f);

            Operand dy = device.of(new float[] {1, 1, 1, 1, 1, 1}, 3, 2);
            Operand dgamma = device.empty(DType.F32, 2);
            Operand dbeta = device.empty(DType.F32, 2);
            bytes = BatchNorm.backwardSumsWorkspace(device.stream, true, x, mean, rstd, gamma, beta, dy, dgamma, dbeta);
            BatchNorm.backwardSums(
                    device.stream, true, x, mean, rstd, gamma, beta, dy, dgamma, dbeta, Operand.NONE, Operand.NONE,
                    device.arena.allocate(bytes, 64));
            assertArrayEquals(new float[] {1, 2}, Native.floats(dbeta)); // 0 is not above 0, so only one row passes in channel 0
            assertArrayEquals(new float[] {unit, 1.2247449f}, Native.floats(dgamma), 1e-6f);
            Operand dx = device.empty(DType.F32, 3, 2);
            BatchNorm.backward(device.stream, true, 3, x, mean, rstd, gamma, beta, dy, dgamma, dbeta, dx);
            float[] gradient = Native.floats(dx);
            assertEquals(0, gradient[0] + gradient[2] + gradient[4], 1e-6f);

            BatchNorm.inference(device.stream, false, EPSILON, x, runningMean, runningVariance, Operand.NONE, Operand.NONE, y);
            assertEquals((1 - 1.5) / Math.sqrt(2.5 + EPSILON), Native.floats(y)[0], 1e-6);
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 4, 3);
            Operand channels = device.empty(DType.F32, 3);
            Operand wrong = device.empty(DType.F32, 4);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> BatchNorm.inference(device.stream, false, EPSILON, x, channels, wrong, channels, channels, x));
            assertEquals("batch_norm_inference", e.operation());
            assertTrue(e.getMessage().contains("variance has shape (4), expected (3)"), e.getMessage());
        }
    }
}

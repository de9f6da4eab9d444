// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class GroupNormTest {
    private static final float EPSILON = 1e-5f;

    @Test
    void oneGroupIsALayerNormOfTheSample() {
        try (Native device = new Native()) {
            float[] values = Native.normal(2 * 12, 1);
            float[] upstream = Native.normal(2 * 12, 2);
            Operand x = device.of(values, 2, 3, 4);
            Operand dy = device.of(upstream, 2, 3, 4);
            Operand y = device.empty(DType.F32, 2, 3, 4);
            Operand dx = device.empty(DType.F32, 2, 3, 4);
            Operand mean = device.empty(DType.F32, 2, 1);
            Operand rstd = device.empty(DType.F32, 2, 1);
            Operand none = Operand.NONE;
            Operand dbeta = device.empty(DType.F32, 4);
            long bytes = GroupNorm.forwardWorkspace(device.stream, EPSILON, 1, x, none, none, y, mean, rstd);
            GroupNorm.forward(device.stream, EPSILON, 1, x, none, none, y, mean, rstd, device.arena.allocate(bytes, 64));
            bytes = GroupNorm.backwardWorkspace(device.stream, 1, x, none, mean, rstd, dy, dx, none, dbeta);
            GroupNorm.backward(
                    device.stream, 1, x, none, mean, rstd, dy, dx, none, dbeta, device.arena.allocate(bytes, 64));

            Operand flat = device.of(values, 2, 12);
            Operand expected = device.empty(DType.F32, 2, 12);
            Operand gradient = device.empty(DType.F32, 2, 12);
            Operand rowMean = device.empty(DType.F32, 2);
            Operand rowRstd = device.empty(DType.F32, 2);
            LayerNorm.forward(device.stream, EPSILON, flat, none, none, expected, rowMean, rowRstd);
            LayerNorm.backward(
                    device.stream, flat, none, rowMean, rowRstd, device.of(upstream, 2, 12), gradient, none, none, MemorySegment.NULL);
            assertArrayEquals(Native.floats(expected), Native.floats(y), 4e-6f);
            assertArrayEquals(Native.floats(gradient), Native.floats(dx), 4e-6f);
            float sum = 0;
            for (int i = 0; i < upstream.length; i += 4) {
                sum += upstream[i];
            }
            assertEquals(sum, Native.floats(dbeta)[0], 4e-6f);
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 2, 3, 4);
            Operand statistics = device.empty(DType.F32, 2, 3);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> GroupNorm.forwardWorkspace(
                            device.stream, EPSILON, 3, x, Operand.NONE, Operand.NONE, x, statistics, statistics));
            assertEquals("group_norm_forward_workspace", e.operation());
            assertTrue(e.getMessage().contains("groups is 3, which does not divide 4 channels"), e.getMessage());
        }
    }
}

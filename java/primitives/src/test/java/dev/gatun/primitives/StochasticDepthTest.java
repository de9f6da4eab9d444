// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class StochasticDepthTest {
    @Test
    void keptIsExactWhereFloatsWouldRoundDown() {
        assertEquals(9, StochasticDepth.kept(10, 0.1));
        assertEquals(1, StochasticDepth.kept(2, 0.9));
        assertEquals(6, StochasticDepth.kept(8, 0.2));
        assertEquals(10, StochasticDepth.kept(50, 0.8));
        assertEquals(8, StochasticDepth.kept(10, 0.2f));
    }

    @Test
    void masksAndSubsetsDependOnTheSamplesIdAlone() {
        try (Native device = new Native()) {
            MemorySegment key = RandomTest.key(device, new RandomKey(3, 4, 5));
            Operand all = device.empty(DType.F32, 1000);
            StochasticDepth.mask(device.stream, key, Operand.NONE, 0, all, 0.25f);
            int dropped = 0;
            for (float value : Native.floats(all)) {
                assertTrue(value == 0 || value == 1 / 0.75f);
                dropped += value == 0 ? 1 : 0;
            }
            assertEquals(250, dropped, 5 * Math.sqrt(1000 * 0.25 * 0.75));
            Operand some = device.empty(DType.F32, 2);
            StochasticDepth.mask(device.stream, key, device.of(new long[] {700, 3}, 2), 0, some, 0.25f);
            assertArrayEquals(
                    new float[] {Native.floats(all)[700], Native.floats(all)[3]}, Native.floats(some));

            Operand indices = device.empty(DType.I32, 6);
            MemorySegment workspace =
                    device.arena.allocate(StochasticDepth.subsetWorkspace(device.stream, 8, indices), 64);
            StochasticDepth.subset(device.stream, key, Operand.NONE, 0, 8, indices, workspace);
            assertEquals(6, Arrays.stream(Native.ints(indices)).distinct().filter(i -> i >= 0 && i < 8).count());
        }
    }

    @Test
    void aSubsetIsJoinedToItsSamplesAndGetsTheirGradients() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 2);
            Operand residual = device.of(new float[] {10, 20, 30, 40}, 2, 2);
            Operand indices = device.of(new int[] {2, 0}, 2);
            Operand gamma = device.of(new float[] {1, 0.5f}, 2);
            Operand y = device.empty(DType.F32, 3, 2);
            StochasticDepth.forward(device.stream, x, residual, indices, Operand.NONE, gamma, y, 1.5f);
            assertArrayEquals(new float[] {46, 32, 3, 4, 20, 21}, Native.floats(y));

            Operand dy = device.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 2);
            Operand dresidual = device.empty(DType.F32, 2, 2);
            Operand dgamma = device.empty(DType.F32, 2);
            MemorySegment workspace = device.arena.allocate(
                    StochasticDepth.backwardWorkspace(device.stream, dy, indices, Operand.NONE, gamma, dresidual, dgamma), 64);
            StochasticDepth.backward(
                    device.stream, dy, residual, indices, Operand.NONE, gamma, dresidual, dgamma, 1.5f, workspace);
            assertArrayEquals(new float[] {7.5f, 4.5f, 1.5f, 1.5f}, Native.floats(dresidual));
            assertArrayEquals(new float[] {1.5f * (50 + 30), 1.5f * (120 + 80)}, Native.floats(dgamma));
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand x = device.empty(DType.F32, 3, 2);
            Operand residual = device.empty(DType.F32, 2, 2);
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> StochasticDepth.forward(
                            device.stream, x, residual, device.of(new int[] {0, -2}, 2), Operand.NONE, Operand.NONE, x, 1));
            assertTrue(e.getMessage().contains("indices[1] is -2, x has 3 rows"), e.getMessage());
        }
    }
}

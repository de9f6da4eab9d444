// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class RandomTest {
    @Test
    void numbersDependOnTheKeyAndTheSampleOnly() {
        try (Native one = new Native(1);
                Native two = new Native(2)) {
            float[] first = uniform(one, new RandomKey(1, 2, 3), 0, 4, 50);
            assertArrayEquals(first, uniform(two, new RandomKey(1, 2, 3), 0, 4, 50));
            assertArrayEquals(Arrays.copyOfRange(first, 50, 200), uniform(one, new RandomKey(1, 2, 3), 1, 3, 50));
            assertFalse(Arrays.equals(first, uniform(one, new RandomKey(1, 2, 4), 0, 4, 50)));
            for (float value : first) {
                assertTrue(value >= 0 && value < 1);
            }
            Operand ids = one.of(new long[] {2, 0}, 2);
            Operand rows = one.empty(DType.F32, 2, 50);
            Random.uniform(one.stream, key(one, new RandomKey(1, 2, 3)), ids, 0, rows, 0, 1);
            assertArrayEquals(Arrays.copyOfRange(first, 100, 150), Arrays.copyOf(Native.floats(rows), 50));
            assertArrayEquals(Arrays.copyOf(first, 50), Arrays.copyOfRange(Native.floats(rows), 50, 100));
        }
    }

    @Test
    void normalNumbersHaveTheirMoments() {
        try (Native device = new Native()) {
            int count = 100_000;
            Operand out = device.empty(DType.F32, count);
            Random.normal(device.stream, key(device, new RandomKey(5, 0, 0)), Operand.NONE, 0, out, 3, 2);
            double sum = 0;
            double squares = 0;
            for (float value : Native.floats(out)) {
                sum += value;
                squares += (value - 3.0) * (value - 3.0);
            }
            assertEquals(3, sum / count, 5 * 2 / Math.sqrt(count));
            assertEquals(4, squares / count, 5 * 4 * Math.sqrt(2.0 / count));
        }
    }

    @Test
    void permutationsHoldEachNumberOnce() {
        try (Native device = new Native()) {
            Operand out = device.empty(DType.I32, 1000);
            long bytes = Random.permutationWorkspace(device.stream, 1000, out);
            MemorySegment workspace = device.arena.allocate(bytes, 64);
            Random.permutation(device.stream, key(device, new RandomKey(9, 1, 0)), 1000, out, workspace);
            int[] order = Native.ints(out);
            assertFalse(Arrays.equals(order, IntStream.range(0, 1000).toArray()));
            Arrays.sort(order);
            assertArrayEquals(IntStream.range(0, 1000).toArray(), order);
            Operand bits = device.empty(DType.I32, 2, 2);
            Random.bits(device.stream, key(device, new RandomKey(9, 1, 0)), Operand.NONE, 0, bits);
            assertEquals(4, Arrays.stream(Native.ints(bits)).distinct().count());
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand out = device.empty(DType.F32, 4);
            MemorySegment shortKey = device.arena.allocate(16, 8);
            GatunException e = assertThrows(
                    GatunException.class, () -> Random.uniform(device.stream, shortKey, Operand.NONE, 0, out, 0, 1));
            assertTrue(e.getMessage().contains("key has 16 bytes"), e.getMessage());
            MemorySegment key = key(device, new RandomKey(0, 0, 0));
            e = assertThrows(GatunException.class, () -> Random.uniform(device.stream, key, Operand.NONE, 0, out, 2, 1));
            assertTrue(e.getMessage().contains("low is 2 and high is 1"), e.getMessage());
        }
    }

    static MemorySegment key(Native device, RandomKey key) {
        MemorySegment memory = device.arena.allocate(RandomKey.BYTES, 8);
        key.write(memory);
        return memory;
    }

    private static float[] uniform(Native device, RandomKey key, long firstId, long rows, long columns) {
        Operand out = device.empty(DType.F32, rows, columns);
        Random.uniform(device.stream, key(device, key), Operand.NONE, firstId, out, 0, 1);
        return Native.floats(out);
    }
}

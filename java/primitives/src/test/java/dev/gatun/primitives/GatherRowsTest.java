// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class GatherRowsTest {
    @Test
    void rowsAreCopiedAndTheirGradientsAddUp() {
        try (Native device = new Native()) {
            Operand x = device.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 2);
            Operand indices = device.of(new int[] {2, 0, 2}, 3);
            Operand y = device.empty(DType.F32, 3, 2);
            GatherRows.forward(device.stream, x, indices, y);
            assertArrayEquals(new float[] {5, 6, 1, 2, 5, 6}, Native.floats(y));
            Operand dx = device.empty(DType.F32, 3, 2);
            GatherRows.backward(device.stream, device.of(new float[] {1, 2, 10, 20, 100, 200}, 3, 2), indices, dx);
            assertArrayEquals(new float[] {10, 20, 0, 0, 101, 202}, Native.floats(dx));
            Operand labels = device.of(new long[] {7, 8, 9}, 3);
            Operand picked = device.empty(DType.I64, 3);
            GatherRows.forward(device.stream, labels, indices, picked);
            assertArrayEquals(
                    new long[] {9, 7, 9}, picked.segment().asSlice(0, 24).toArray(java.lang.foreign.ValueLayout.JAVA_LONG));
        }
    }

    @Test
    void anIndexOutOfRangeIsNamed() {
        try (Native device = new Native()) {
            GatunException e = assertThrows(
                    GatunException.class,
                    () -> GatherRows.forward(
                            device.stream,
                            device.empty(DType.F32, 3, 2),
                            device.of(new int[] {0, 3}, 2),
                            device.empty(DType.F32, 2, 2)));
            assertTrue(e.getMessage().contains("indices[1] is 3, x has 3 rows"), e.getMessage());
        }
    }
}

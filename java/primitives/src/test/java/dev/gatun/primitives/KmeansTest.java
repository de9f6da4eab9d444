// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class KmeansTest {
    @Test
    void oneIterationByHand() {
        try (Native device = new Native()) {
            Operand rows = device.of(new float[] {0, 0, 2, 0, 10, 10, 12, 10, 11, 13}, 5, 2);
            Operand centroids = device.of(new float[] {1, 1, 9, 9, 50, 50}, 3, 2);
            Operand assignment = device.empty(DType.I32, 5);
            Operand score = device.empty(DType.F32, 5);
            long bytes = Kmeans.assignWorkspace(device.stream, rows, centroids, assignment, score);
            Kmeans.assign(device.stream, rows, centroids, assignment, score, false, device.arena.allocate(bytes, 64));
            assertArrayEquals(new int[] {0, 0, 1, 1, 1}, Native.ints(assignment));
            assertArrayEquals(new float[] {2, 2, 2, 10, 20}, Native.floats(score));

            Operand sums = device.empty(DType.F32, 3, 2);
            Operand counts = device.empty(DType.I64, 3);
            MemorySegment workspace =
                    device.arena.allocate(Kmeans.sumsWorkspace(device.stream, rows, assignment, sums, counts), 64);
            Kmeans.sums(device.stream, rows, assignment, sums, counts, workspace);
            assertArrayEquals(new float[] {2, 0, 33, 33, 0, 0}, Native.floats(sums));
            Kmeans.update(device.stream, sums, counts, centroids, false, Kmeans.Empty.KEEP);
            assertArrayEquals(new float[] {1, 0, 11, 11, 50, 50}, Native.floats(centroids));
            Kmeans.update(device.stream, sums, counts, centroids, false, Kmeans.Empty.SPLIT);
            float[] split = Native.floats(centroids);
            assertEquals(11 * (1 + 1 / 1024f), split[4]);
            assertEquals(11 * (1 - 1 / 1024f), split[2]);
            assertArrayEquals(
                    new long[] {2, 2, 1}, counts.segment().asSlice(0, 24).toArray(ValueLayout.JAVA_LONG));
        }
    }

    @Test
    void sphericalTakesTheLargestDotAndGivesUnitLength() {
        try (Native device = new Native()) {
            Operand rows = device.of(new float[] {1, 0, 0, 1, 0, 1}, 3, 2);
            Operand centroids = device.of(new float[] {0.6f, 0.8f, 0.8f, 0.6f}, 2, 2);
            Operand assignment = device.empty(DType.I32, 3);
            Operand score = device.empty(DType.F32, 3);
            long bytes = Kmeans.assignWorkspace(device.stream, rows, centroids, assignment, score);
            Kmeans.assign(device.stream, rows, centroids, assignment, score, true, device.arena.allocate(bytes, 64));
            assertArrayEquals(new int[] {1, 0, 0}, Native.ints(assignment));
            assertArrayEquals(new float[] {0.8f, 0.8f, 0.8f}, Native.floats(score));
            Operand sums = device.of(new float[] {3, 4, 0, 0}, 2, 2);
            Operand counts = device.of(new long[] {2, 0}, 2);
            Kmeans.update(device.stream, sums, counts, centroids, true, Kmeans.Empty.KEEP);
            float[] values = Native.floats(centroids);
            assertEquals(0.6f, values[0], Math.ulp(1f));
            assertEquals(0.8f, values[2], Math.ulp(1f));
        }
    }

    @Test
    void badOperandsAreRefused() {
        try (Native device = new Native()) {
            Operand rows = device.empty(DType.F32, 2, 2);
            Operand sums = device.empty(DType.F32, 3, 2);
            Operand counts = device.empty(DType.I64, 3);
            Operand assignment = device.of(new int[] {0, 9}, 2);
            MemorySegment workspace = device.arena.allocate(4096, 64);
            GatunException e = assertThrows(
                    GatunException.class, () -> Kmeans.sums(device.stream, rows, assignment, sums, counts, workspace));
            assertTrue(e.getMessage().contains("assignment[1] is 9, there are 3 centroids"), e.getMessage());
        }
    }
}

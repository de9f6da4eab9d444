// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.RandomKey;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ClusterOrderTest {
    private static final RandomKey KEY = new RandomKey(3, 1, 4);

    // sizes 1, 40, 9 and 3, one sample without a cluster, all mixed
    private static final int[] SIZES = {1, 40, 9, 3};
    private static final int[] CLUSTERS = clusters();

    private static int[] clusters() {
        int[] sorted = IntStream.concat(
                        IntStream.of(-1), IntStream.range(0, SIZES.length).flatMap(c -> IntStream.generate(() -> c).limit(SIZES[c])))
                .toArray();
        int n = sorted.length;
        return IntStream.range(0, n).map(i -> sorted[i * 23 % n]).toArray();
    }

    private static int[] counts(int[] values, int size) {
        int[] counts = new int[size];
        IntStream.of(values).forEach(v -> counts[v]++);
        return counts;
    }

    private static void assertEven(int[] counts, String what) {
        int least = IntStream.of(counts).min().orElseThrow();
        int most = IntStream.of(counts).max().orElseThrow();
        assertTrue(most - least <= 1, what + " " + Arrays.toString(counts));
    }

    @Test
    void everyClusterIsDrawnEquallyOftenGiveOrTakeOne() {
        int[] order = ClusterOrder.balanced(CLUSTERS, SIZES.length, KEY);
        assertEquals(CLUSTERS.length, order.length);
        int[] drawn = IntStream.of(order).map(sample -> CLUSTERS[sample]).toArray();
        assertTrue(IntStream.of(drawn).allMatch(c -> c >= 0), "a sample without a cluster is never drawn");
        int[] places = counts(drawn, SIZES.length);
        assertEven(places, "places of the clusters");
        int[] times = counts(order, CLUSTERS.length);
        for (int c = 0; c < SIZES.length; c++) {
            int cluster = c;
            int[] members = IntStream.range(0, times.length).filter(i -> CLUSTERS[i] == cluster).map(i -> times[i]).toArray();
            // a small cluster repeats all its members equally, of a big one some are left out and none is repeated
            assertEven(members, "draws of the members of cluster " + c);
            assertEquals(places[c], IntStream.of(members).sum());
            assertEquals(SIZES[c] <= places[c], IntStream.of(members).min().orElseThrow() > 0);
        }
    }

    @Test
    void theOrderIsRandomAndAFunctionOfItsKey() {
        int[] order = ClusterOrder.balanced(CLUSTERS, SIZES.length, KEY);
        assertArrayEquals(order, ClusterOrder.balanced(CLUSTERS, SIZES.length, KEY));
        int[] other = ClusterOrder.balanced(CLUSTERS, SIZES.length, KEY.step(2));
        assertFalse(Arrays.equals(order, other));
        // another choice of the big cluster's members, not only another sequence
        long both = IntStream.of(order).filter(i -> CLUSTERS[i] == 1 && IntStream.of(other).anyMatch(j -> j == i)).count();
        long drawn = IntStream.of(order).filter(i -> CLUSTERS[i] == 1).count();
        assertTrue(both < drawn * 3 / 4, both + " of " + drawn + " are drawn twice");
        // clusters do not lie one after the other, nor in turns: a half of the order has about half of each
        int[] half = counts(IntStream.of(order).limit(order.length / 2).map(i -> CLUSTERS[i]).toArray(), SIZES.length);
        assertTrue(IntStream.of(half).allMatch(n -> n > 0), Arrays.toString(half));
        int inTurn = (int) IntStream.range(SIZES.length, order.length)
                .filter(i -> CLUSTERS[order[i]] == CLUSTERS[order[i - SIZES.length]])
                .count();
        assertTrue(inTurn < order.length / 2, inTurn + " of " + order.length);
    }

    @Test
    void clustersAreRenumberedWithoutTheEmptyOnes() {
        int[] clusters = {7, 2, -1, 7, 9, 2};
        assertEquals(3, ClusterOrder.renumber(clusters));
        assertArrayEquals(new int[] {1, 0, -1, 1, 2, 0}, clusters);
        int[] none = {-1, -1};
        assertEquals(0, ClusterOrder.renumber(none));
        assertArrayEquals(new int[] {-1, -1}, none);
    }
}

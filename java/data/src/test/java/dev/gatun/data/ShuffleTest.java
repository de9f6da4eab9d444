// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Random;
import dev.gatun.tensor.Device;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ShuffleTest {
    @TempDir
    Path folder;

    @Test
    void philoxGivesItsPublishedAnswers() {
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, philox(new int[4], 0, 0));
        assertArrayEquals(new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, philox(new int[] {-1, -1, -1, -1}, -1, -1));
        assertArrayEquals(new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
                philox(new int[] {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0));
    }

    private static int[] philox(int[] counter, int key0, int key1) {
        Philox.block(counter, key0, key1);
        return counter;
    }

    @Test
    void isAPermutation() {
        for (int n : new int[] {0, 1, 2, 3, 17, 1000, 4097}) {
            int[] order = Shuffle.permutation(7, 1, Shuffle.EPOCH, n);
            Arrays.sort(order);
            for (int i = 0; i < n; i++) {
                assertEquals(i, order[i]);
            }
        }
    }

    @Test
    void dependsOnEveryPartOfItsKeyAndOnNothingElse() {
        int[] order = Shuffle.permutation(7, 1, Shuffle.EPOCH, 100);
        assertArrayEquals(order, Shuffle.permutation(7, 1, Shuffle.EPOCH, 100));
        assertFalse(Arrays.equals(order, Shuffle.permutation(8, 1, Shuffle.EPOCH, 100)));
        assertFalse(Arrays.equals(order, Shuffle.permutation(7 + (1L << 40), 1, Shuffle.EPOCH, 100)));
        assertFalse(Arrays.equals(order, Shuffle.permutation(7, 2, Shuffle.EPOCH, 100)));
        assertFalse(Arrays.equals(order, Shuffle.permutation(7, 1 + (1L << 40), Shuffle.EPOCH, 100)));
        assertFalse(Arrays.equals(order, Shuffle.permutation(7, 1, Shuffle.SUBSET, 100)));
    }

    @Test
    void isTheNativePermutation() {
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            for (RandomKey key : List.of(new RandomKey(7, 3, Shuffle.EPOCH), new RandomKey(-5, 1L << 40, Shuffle.SUBSET))) {
                Tensor out = scope.empty(DType.I32, 5000);
                MemorySegment memory = scope.empty(DType.U8, RandomKey.BYTES).segment();
                key.write(memory);
                long bytes = Random.permutationWorkspace(device.stream(), 5000, out.operand());
                Random.permutation(device.stream(), memory, 5000, out.operand(), scope.empty(DType.U8, bytes).segment());
                assertArrayEquals(out.toIntArray(), Shuffle.permutation(key.seed(), key.step(), key.stream(), 5000));
            }
        }
    }

    @Test
    void everyOrderIsEquallyLikely() {
        int draws = 12_000;
        int[] counts = new int[24];
        for (int epoch = 0; epoch < draws; epoch++) {
            int[] p = Shuffle.permutation(11, epoch, Shuffle.EPOCH, 4);
            int rank = 0;
            for (int i = 0; i < 4; i++) {
                int smaller = 0;
                for (int j = i + 1; j < 4; j++) {
                    smaller += p[j] < p[i] ? 1 : 0;
                }
                rank = rank * (4 - i) + smaller;
            }
            counts[rank]++;
        }
        double chi2 = 0;
        for (int count : counts) {
            chi2 += Math.pow(count - draws / 24.0, 2) / (draws / 24.0);
        }
        // the 0.1 % quantile of chi-square with 23 degrees of freedom; the draw is fixed, so this cannot flicker
        assertTrue(chi2 < 49.73, "chi2 " + chi2);
    }

    @Test
    void subsetsAreNestedAndBalanced() throws Exception {
        byte[] labels = new byte[60];
        for (int i = 0; i < 60; i++) {
            labels[i] = (byte) (i % 3);
        }
        Dataset whole = IdxDataset.open(IdxFiles.plain(folder.resolve("i"), IdxFiles.pattern(240), 60, 2, 2),
                IdxFiles.plain(folder.resolve("l"), labels, 60), List.of());
        Subset ten = Subset.random(whole, 10, 5);
        Subset thirty = Subset.random(whole, 30, 5);
        for (int i = 0; i < 10; i++) {
            assertEquals(ten.original(i), thirty.original(i));
            assertEquals(whole.label(ten.original(i)), ten.label(i));
            assertEquals(whole.describe(ten.original(i)), ten.describe(i));
        }
        assertEquals(30, java.util.stream.IntStream.range(0, 30).map(thirty::original).distinct().count());
        Subset balanced = Subset.balanced(whole, 4, 5);
        int[] counts = new int[3];
        for (int i = 0; i < balanced.size(); i++) {
            counts[balanced.label(i)]++;
        }
        assertArrayEquals(new int[] {4, 4, 4}, counts);
        assertEquals(12, java.util.stream.IntStream.range(0, 12).map(balanced::original).distinct().count());
        assertTrue(IdxDatasetTest.line(() -> Subset.balanced(whole, 21, 5)).contains("class 0, which has 20"));
        assertTrue(IdxDatasetTest.line(() -> Subset.random(whole, 61, 5)).contains("61 of 60"));
        assertThrows(IndexOutOfBoundsException.class, () -> Subset.of(whole, 60));
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class RandomDatasetTest {
    private static final RandomSettings SETTINGS = new RandomSettings(1000, 20, List.of(7, 5, 3), 10, 30);

    private static byte[] bytes(Dataset data, int index) {
        return data.read(index).data().toArray(ValueLayout.JAVA_BYTE);
    }

    @Test
    void isAFunctionOfTheSeed() {
        Datasets one = new RandomProvider().create(SETTINGS, 7);
        Datasets again = new RandomProvider().create(SETTINGS, 7);
        Datasets other = new RandomProvider().create(SETTINGS, 7L << 32);
        assertEquals(1000, one.pretrain().size());
        assertEquals(20, one.test().orElseThrow().size());
        assertArrayEquals(new long[] {7, 5, 3}, one.pretrain().read(999).shape());
        for (int i : new int[] {0, 17, 999}) {
            assertArrayEquals(bytes(one.pretrain(), i), bytes(again.pretrain(), i));
            assertFalse(Arrays.equals(bytes(one.pretrain(), i), bytes(other.pretrain(), i)));
            assertArrayEquals(bytes(one.pretrain(), i), bytes(one.pretrain(), i % 30));
        }
        assertFalse(Arrays.equals(bytes(one.pretrain(), 0), bytes(one.pretrain(), 1)));
        assertFalse(Arrays.equals(bytes(one.pretrain(), 0), bytes(one.test().orElseThrow(), 0)));
        int[] all = IntStream.range(0, 1000).toArray();
        assertArrayEquals(one.pretrain().labels(all), again.pretrain().labels(all));
        assertFalse(Arrays.equals(one.pretrain().labels(all), other.pretrain().labels(all)));
    }

    @Test
    void bytesAndLabelsAreUniform() {
        Dataset data = new RandomProvider().create(SETTINGS, 3).pretrain();
        long[] bits = new long[8];
        int[] labels = new int[10];
        for (int i = 0; i < 30; i++) {
            for (byte value : bytes(data, i)) {
                for (int bit = 0; bit < 8; bit++) {
                    bits[bit] += value >> bit & 1;
                }
            }
        }
        for (int i = 0; i < 1000; i++) {
            labels[data.label(i)]++;
        }
        // five standard deviations of a binomial
        int count = 30 * 7 * 5 * 3;
        for (long ones : bits) {
            assertEquals(count / 2.0, ones, 5 * Math.sqrt(count) / 2);
        }
        for (int seen : labels) {
            assertEquals(100, seen, 5 * Math.sqrt(1000 * .1 * .9));
        }
    }

    @Test
    void hasNoLabelsWithoutClasses() {
        Dataset data = new RandomProvider().create(new RandomSettings(4, 0, List.of(3), 0, 64), 1).pretrain();
        assertFalse(data.labelled());
        assertEquals(-1, data.label(3));
        assertEquals(List.of(), data.classNames());
        assertTrue(data.resident());
        assertThrows(IndexOutOfBoundsException.class, () -> data.read(4));
    }

    @Test
    void refusesWhatItCannotMake() {
        for (String[] wrong : new String[][] {{"images", "0"}, {"distinct", "20000"}}) {
            RuntimeException error = assertThrows(IllegalArgumentException.class, () -> new RandomSettings(
                    wrong[0].equals("images") ? 0 : 1, 0, List.of(256, 256, 3), 2, wrong[0].equals("distinct") ? 20000 : 1));
            assertTrue(error.getMessage().startsWith(wrong[0] + " is " + wrong[1] + "; allowed is "), error.getMessage());
        }
    }
}

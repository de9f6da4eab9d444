// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/**
 * Random orders, as functions of a seed and a number such as the epoch. These are the permutations of the native
 * operation {@code random_permutation}, drawn on the host, so that which data an experiment sees never depends on its
 * device.
 */
public final class Shuffle {
    /** The stream of the order in which an epoch visits the data. */
    public static final int EPOCH = 0x65706f63;

    /** The stream of the choice of a subset. */
    public static final int SUBSET = 0x73756273;

    private static final int DIGITS = 1 << 16;

    private Shuffle() {}

    /**
     * A permutation of 0 ... n-1: the numbers in the order of their random 64-bit keys, equal keys in the order of the
     * numbers. Equal arguments give equal permutations, on every machine.
     *
     * @param seed the experiment's seed
     * @param epoch the epoch, or any number that tells draws apart
     * @param stream tells uses of randomness apart
     * @param n how many, at least 0
     */
    public static int[] permutation(long seed, long epoch, int stream, int n) {
        Philox philox = new Philox(seed, epoch, stream);
        long[] keys = new long[n];
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            keys[i] = philox.draws(i);
            order[i] = i;
        }
        for (int shift = 0; shift < 64; shift += 16) {
            order = sortByDigit(keys, order, shift);
        }
        return order;
    }

    /** One pass of a stable radix sort. */
    private static int[] sortByDigit(long[] keys, int[] order, int shift) {
        int[] next = new int[DIGITS + 1];
        for (long key : keys) {
            next[(int) (key >>> shift & 0xffff) + 1]++;
        }
        for (int digit = 0; digit < DIGITS; digit++) {
            next[digit + 1] += next[digit];
        }
        int[] sorted = new int[order.length];
        for (int i : order) {
            sorted[next[(int) (keys[i] >>> shift & 0xffff)]++] = i;
        }
        return sorted;
    }
}

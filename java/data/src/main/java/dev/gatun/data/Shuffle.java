// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/** Random orders, as functions of a seed and a number such as the epoch. */
public final class Shuffle {
    /** The stream of the order in which an epoch visits the data. */
    public static final int EPOCH = 1;

    /** The stream of the choice of a subset. */
    public static final int SUBSET = 2;

    private Shuffle() {}

    /**
     * A uniform permutation of 0 ... n-1 (Fisher and Yates). Equal arguments give equal permutations, on every machine.
     *
     * @param seed the experiment's seed
     * @param epoch the epoch, or any number that tells draws apart
     * @param stream tells uses of randomness apart
     * @param n how many, at least 0
     */
    public static int[] permutation(long seed, long epoch, int stream, int n) {
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            order[i] = i;
        }
        int[] words = new int[4];
        for (int i = n - 1; i > 0; i--) {
            words[0] = i;
            words[1] = stream;
            words[2] = (int) epoch;
            words[3] = (int) (epoch >>> 32);
            Philox.block(words, (int) seed, (int) (seed >>> 32));
            long bits = Integer.toUnsignedLong(words[0]) << 32 | Integer.toUnsignedLong(words[1]);
            // the high half of bits * (i + 1) is uniform on 0 ... i up to a bias of n / 2^64
            int j = (int) Math.unsignedMultiplyHigh(bits, i + 1L);
            int swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        return order;
    }
}

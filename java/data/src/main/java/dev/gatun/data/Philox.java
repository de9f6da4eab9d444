// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

/**
 * Philox 4x32 with 10 rounds (Salmon, Moraes, Dror and Shaw, 2011), keyed and packed as {@code gatun/random.h}
 * describes, for decisions that are made before there is a device.
 */
final class Philox {
    private static final long MULTIPLIER_0 = 0xD2511F53L;
    private static final long MULTIPLIER_1 = 0xCD9E8D57L;
    private static final int WEYL_0 = 0x9E3779B9;
    private static final int WEYL_1 = 0xBB67AE85;
    private static final int FOLD = 0x6761746E;

    /** Two words of key and two that are added to the sample's id. */
    private final int[] folded;

    private final int[] words = new int[4];

    Philox(long seed, long step, int stream) {
        folded = new int[] {(int) step, (int) (step >>> 32), stream, FOLD};
        block(folded, (int) seed, (int) (seed >>> 32));
    }

    /** Draws 1 (high half) and 0 (low half) of a sample. */
    long draws(long id) {
        words[0] = 0;
        words[1] = 0;
        words[2] = (int) id ^ folded[2];
        words[3] = (int) (id >>> 32) ^ folded[3];
        block(words, folded[0], folded[1]);
        return (long) words[1] << 32 | Integer.toUnsignedLong(words[0]);
    }

    /**
     * Encrypts a counter with a key of two words, in place.
     *
     * @param counter four words, replaced by four random words
     */
    static void block(int[] counter, int key0, int key1) {
        int a = counter[0];
        int b = counter[1];
        int c = counter[2];
        int d = counter[3];
        for (int round = 0; round < 10; round++) {
            long x = MULTIPLIER_0 * Integer.toUnsignedLong(a);
            long y = MULTIPLIER_1 * Integer.toUnsignedLong(c);
            a = (int) (y >>> 32) ^ b ^ key0;
            c = (int) (x >>> 32) ^ d ^ key1;
            b = (int) y;
            d = (int) x;
            key0 += WEYL_0;
            key1 += WEYL_1;
        }
        counter[0] = a;
        counter[1] = b;
        counter[2] = c;
        counter[3] = d;
    }
}

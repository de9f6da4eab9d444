// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * Key of every random decision: the numbers drawn are a function of (seed, step, stream, sample id, index), whatever the device, the
 * instruction set or the number of threads.
 *
 * @param seed of the experiment
 * @param step global step, or epoch where decisions are made once an epoch
 * @param stream separates the uses of randomness within a step
 */
public record RandomKey(long seed, long step, int stream) {
    private static final Struct STRUCT = new Struct("gatun_random_key");
    private static final long SEED = STRUCT.u64("seed");
    private static final long STEP = STRUCT.u64("step");
    private static final long STREAM = STRUCT.u32("stream");

    static {
        STRUCT.u32("reserved");
    }

    /** Bytes of a key in memory. */
    public static final long BYTES = STRUCT.size();

    /** The same seed and step, another stream. */
    public RandomKey stream(int other) {
        return new RandomKey(seed, step, other);
    }

    /** The same seed and stream at another step. */
    public RandomKey step(long other) {
        return new RandomKey(seed, other, stream);
    }

    /**
     * A stream below this one, for the {@code index}-th use inside it; distinct pairs (stream, index) give distinct streams but
     * for the collisions of a 32-bit mixing function.
     */
    public RandomKey child(int index) {
        return new RandomKey(seed, step, (int) mix(((long) stream << 32) | (index & 0xffffffffL)));
    }

    /** A key for a name, independent of the order in which names are met: the step is replaced by the name's hash. */
    public RandomKey named(String name) {
        long hash = 0xcbf29ce484222325L;
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            hash = (hash ^ (b & 0xff)) * 0x100000001b3L;
        }
        return new RandomKey(seed, mix(hash), stream);
    }

    /**
     * Sample ids under which the rows of a batch draw apart even where a sample is there several times: the first row of a sample has
     * its id, the k-th has k − 1 above bit 40.
     *
     * @param ids one a row, below 2^40
     */
    public static long[] apart(long... ids) {
        Map<Long, Long> seen = HashMap.newHashMap(ids.length);
        return Arrays.stream(ids).map(id -> id | (seen.merge(id, 1L, Long::sum) - 1) << 40).toArray();
    }

    /** Writes the key where operations read it: at least {@link #BYTES} bytes, aligned to 8. */
    public void write(MemorySegment target) {
        target.set(ValueLayout.JAVA_LONG, SEED, seed);
        target.set(ValueLayout.JAVA_LONG, STEP, step);
        target.set(ValueLayout.JAVA_INT, STREAM, stream);
        target.set(ValueLayout.JAVA_INT, STREAM + 4, 0);
    }

    // a bijection of 64 bits with full avalanche (two xor-shift-multiply rounds)
    private static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}

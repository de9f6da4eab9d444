// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

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

    /** The same key for another use. */
    public RandomKey withStream(int other) {
        return new RandomKey(seed, step, other);
    }

    /** Writes the key where operations read it: at least {@link #BYTES} bytes, aligned to 8. */
    public void write(MemorySegment target) {
        target.set(ValueLayout.JAVA_LONG, SEED, seed);
        target.set(ValueLayout.JAVA_LONG, STEP, step);
        target.set(ValueLayout.JAVA_INT, STREAM, stream);
        target.set(ValueLayout.JAVA_INT, STREAM + 4, 0);
    }
}

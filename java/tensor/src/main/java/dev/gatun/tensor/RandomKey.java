// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;

/**
 * Key of a random decision. The numbers drawn under a key are a function of the key (Philox) and of nothing else: not of the
 * order of calls, the number of threads, or what ran before a resume.
 *
 * @param seed the run's seed
 * @param step the global step
 * @param stream separates the uses of randomness within a step
 */
public record RandomKey(long seed, long step, int stream) {

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

    /** The key as primitives take it. */
    public dev.gatun.primitives.RandomKey primitive() {
        return new dev.gatun.primitives.RandomKey(seed, step, stream);
    }

    /** The key in a scope's memory, where kernels read it. */
    public MemorySegment in(Scope scope) {
        MemorySegment memory = scope.empty(DType.I64, dev.gatun.primitives.RandomKey.BYTES / Long.BYTES).segment();
        primitive().write(memory);
        return memory;
    }

    // a bijection of 64 bits with full avalanche (two xor-shift-multiply rounds)
    private static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}

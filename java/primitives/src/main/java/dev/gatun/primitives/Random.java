// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Random numbers as a pure function of a {@link RandomKey}, a sample id and an index (Philox4x32-10; Salmon et al., 2011): the same
 * bits on every device, instruction set and number of threads.
 *
 * <p>Rows of an output are samples: row r, column c is draw c of sample {@code ids[r]}, or of sample {@code firstId + r} where ids is
 * {@link Operand#NONE}. The key is memory that holds {@link RandomKey#BYTES} bytes written by {@link RandomKey#write}; it is read when
 * the operation runs.
 */
public final class Random {
    private static final Downcall BITS = Downcall.operation("gatun_random_bits", 3);
    private static final Struct BITS_DESC = Struct.descriptor("gatun_random_bits_desc");
    private static final long BITS_FIRST_ID;
    private static final long BITS_IDS;
    private static final long BITS_OUT;

    private static final Downcall UNIFORM = Downcall.operation("gatun_random_uniform", 3);
    private static final Struct UNIFORM_DESC = Struct.descriptor("gatun_random_uniform_desc");
    private static final long LOW = UNIFORM_DESC.f32("low");
    private static final long HIGH = UNIFORM_DESC.f32("high");
    private static final long UNIFORM_FIRST_ID;
    private static final long UNIFORM_IDS;
    private static final long UNIFORM_OUT;

    private static final Downcall NORMAL = Downcall.operation("gatun_random_normal", 3);
    private static final Struct NORMAL_DESC = Struct.descriptor("gatun_random_normal_desc");
    private static final long MEAN = NORMAL_DESC.f32("mean");
    private static final long DEVIATION = NORMAL_DESC.f32("deviation");
    private static final long NORMAL_FIRST_ID;
    private static final long NORMAL_IDS;
    private static final long NORMAL_OUT;

    private static final Downcall PERMUTATION = Downcall.withWorkspace("gatun_random_permutation", 2);
    private static final Downcall PERMUTATION_WORKSPACE = Downcall.workspaceQuery("gatun_random_permutation_workspace");
    private static final Struct PERMUTATION_DESC = Struct.descriptor("gatun_random_permutation_desc");
    private static final long COUNT;
    private static final long PERMUTATION_OUT;

    static {
        BITS_DESC.u32("reserved");
        BITS_FIRST_ID = BITS_DESC.i64("first_id");
        BITS_IDS = BITS_DESC.layout("ids");
        BITS_OUT = BITS_DESC.layout("out");
        UNIFORM_DESC.u32("reserved");
        UNIFORM_FIRST_ID = UNIFORM_DESC.i64("first_id");
        UNIFORM_IDS = UNIFORM_DESC.layout("ids");
        UNIFORM_OUT = UNIFORM_DESC.layout("out");
        NORMAL_DESC.u32("reserved");
        NORMAL_FIRST_ID = NORMAL_DESC.i64("first_id");
        NORMAL_IDS = NORMAL_DESC.layout("ids");
        NORMAL_OUT = NORMAL_DESC.layout("out");
        PERMUTATION_DESC.u32("reserved");
        COUNT = PERMUTATION_DESC.i64("count");
        PERMUTATION_OUT = PERMUTATION_DESC.layout("out");
    }

    private Random() {}

    /**
     * Raw bits.
     *
     * @param ids i64 (rows) or {@link Operand#NONE}
     * @param out i32 (..., N), written
     */
    public static void bits(GatunStream stream, MemorySegment key, Operand ids, long firstId, Operand out) {
        try (Call call = Call.of(stream, BITS, BITS_DESC)) {
            call.set(BITS_FIRST_ID, firstId);
            key(call, key);
            call.input(BITS_IDS, "ids", ids);
            call.output(BITS_OUT, "out", out);
            call.run();
        }
    }

    /**
     * Uniform numbers low + (high − low) u, u a multiple of 2⁻²⁴ in [0, 1).
     *
     * @param ids i64 (rows) or {@link Operand#NONE}
     * @param out f32 (..., N), written
     */
    public static void uniform(
            GatunStream stream, MemorySegment key, Operand ids, long firstId, Operand out, float low, float high) {
        try (Call call = Call.of(stream, UNIFORM, UNIFORM_DESC)) {
            call.set(LOW, low);
            call.set(HIGH, high);
            call.set(UNIFORM_FIRST_ID, firstId);
            key(call, key);
            call.input(UNIFORM_IDS, "ids", ids);
            call.output(UNIFORM_OUT, "out", out);
            call.run();
        }
    }

    /**
     * Normal numbers.
     *
     * @param ids i64 (rows) or {@link Operand#NONE}
     * @param out f32 (..., N), written
     * @param deviation standard deviation, not negative
     */
    public static void normal(
            GatunStream stream, MemorySegment key, Operand ids, long firstId, Operand out, float mean, float deviation) {
        try (Call call = Call.of(stream, NORMAL, NORMAL_DESC)) {
            call.set(MEAN, mean);
            call.set(DEVIATION, deviation);
            call.set(NORMAL_FIRST_ID, firstId);
            key(call, key);
            call.input(NORMAL_IDS, "ids", ids);
            call.output(NORMAL_OUT, "out", out);
            call.run();
        }
    }

    /** Bytes of workspace for {@link #permutation}. */
    public static long permutationWorkspace(GatunStream stream, long count, Operand out) {
        try (Call call = Call.of(stream, PERMUTATION_WORKSPACE, PERMUTATION_DESC)) {
            call.set(COUNT, count);
            call.output(PERMUTATION_OUT, "out", out);
            return call.queryWorkspace();
        }
    }

    /**
     * The first entries of a permutation of 0 … count − 1 that depends on key and count only.
     *
     * @param out i32 (N), N ≤ count, written
     * @param workspace of {@link #permutationWorkspace} bytes, aligned to 64
     */
    public static void permutation(GatunStream stream, MemorySegment key, long count, Operand out, MemorySegment workspace) {
        try (Call call = Call.of(stream, PERMUTATION, PERMUTATION_DESC)) {
            call.set(COUNT, count);
            key(call, key);
            call.output(PERMUTATION_OUT, "out", out);
            call.runWithWorkspace(workspace);
        }
    }

    static void key(Call call, MemorySegment key) {
        call.pointer("key", key, RandomKey.BYTES, false);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Codes of samples over prototypes by Sinkhorn and Knopp's iteration (SwAV: Caron et al., 2020): exp(scores / epsilon), then a few times
 * prototypes divided by their sums and samples divided by theirs. The codes of a sample sum to 1.
 *
 * <p>Over several machines, each with its own samples: {@link #range}, join minimum and maximum; {@link #sums} without previous sums,
 * add up; iterations − 1 times {@link #sums} with the joined ones, add up; {@link #finish}. {@link #codes} is these calls in this order, up to
 * rounding.
 *
 * <p>Any finite scores are allowed; one that is not finite makes every code NaN.
 *
 * <p>Where the matrix of scores would not fit or pay: {@link #streaming} finds potentials of samples and prototypes from their features,
 * {@link #streamingCodes} the codes of any samples from those; the scores are recomputed and never stored.
 */
public final class Sinkhorn {
    private static final Downcall CODES = Downcall.withWorkspace("gatun_sinkhorn", 2);
    private static final Downcall RANGE = Downcall.withWorkspace("gatun_sinkhorn_range", 2);
    private static final Downcall SUMS = Downcall.withWorkspace("gatun_sinkhorn_sums", 4);
    private static final Downcall FINISH = Downcall.withWorkspace("gatun_sinkhorn_finish", 4);
    private static final Downcall WORKSPACE = Downcall.workspaceQuery("gatun_sinkhorn_workspace");
    private static final Struct DESC = Struct.descriptor("gatun_sinkhorn_desc");
    private static final long EPSILON = DESC.f32("epsilon");
    private static final long ITERATIONS = DESC.i32("iterations");
    private static final long SCORES;
    private static final long CODES_LAYOUT;

    static {
        DESC.u32("reserved");
        SCORES = DESC.layout("scores");
        CODES_LAYOUT = DESC.layout("codes");
    }

    private static final Downcall STREAMING_WORKSPACE = Downcall.workspaceQuery("gatun_sinkhorn_streaming_workspace");
    private static final Downcall STREAMING = Downcall.withWorkspace("gatun_sinkhorn_streaming", 4);
    private static final Downcall STREAMING_CODES = Downcall.withWorkspace("gatun_sinkhorn_streaming_codes", 5);
    private static final Struct STREAMING_DESC = Struct.descriptor("gatun_sinkhorn_streaming_desc");
    private static final long STREAMING_EPSILON = STREAMING_DESC.f32("epsilon");
    private static final long STREAMING_ITERATIONS = STREAMING_DESC.i32("iterations");
    private static final long FEATURES;
    private static final long PROTOTYPES;
    private static final long SAMPLE_POTENTIALS;
    private static final long PROTOTYPE_POTENTIALS;
    private static final long STREAMING_CODES_LAYOUT;

    static {
        STREAMING_DESC.u32("reserved");
        FEATURES = STREAMING_DESC.layout("features");
        PROTOTYPES = STREAMING_DESC.layout("prototypes");
        SAMPLE_POTENTIALS = STREAMING_DESC.layout("sample_potentials");
        PROTOTYPE_POTENTIALS = STREAMING_DESC.layout("prototype_potentials");
        STREAMING_CODES_LAYOUT = STREAMING_DESC.layout("codes");
    }

    private Sinkhorn() {}

    /**
     * What {@link #streaming} finds: the code of sample b for prototype k is e^(⟨z_b, c_k⟩ / epsilon + samples_b + prototypes_k).
     *
     * @param samples f32 (B)
     * @param prototypes f32 (K)
     */
    public record Potentials(Operand samples, Operand prototypes) {}

    /** Bytes of workspace that each call below needs for these scores. */
    public static long workspace(GatunStream stream, Operand scores) {
        try (Call call = call(stream, WORKSPACE, 1, 1)) {
            call.input(SCORES, "scores", scores);
            return call.queryWorkspace();
        }
    }

    /**
     * The codes of the last rows of scores.
     *
     * @param scores f32 (B, K): samples by prototypes
     * @param codes f32 (R, K), R ≤ B, written: codes of the last R samples; may be these rows of scores
     * @param epsilon positive; smaller gives harder codes, 0.05 is usual
     * @param iterations at least 1; 3 is usual
     * @param workspace of {@link #workspace} bytes, aligned to 64
     */
    public static void codes(
            GatunStream stream, Operand scores, Operand codes, float epsilon, int iterations, MemorySegment workspace) {
        try (Call call = call(stream, CODES, epsilon, iterations)) {
            call.input(SCORES, "scores", scores);
            call.output(CODES_LAYOUT, "codes", codes);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * Smallest and largest score.
     *
     * @param range f32 (2), written; both NaN when a score is not finite
     */
    public static void range(GatunStream stream, Operand scores, Operand range, MemorySegment workspace) {
        try (Call call = call(stream, RANGE, 1, 1)) {
            call.input(SCORES, "scores", scores);
            vector(call, "range", range, 2, true);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * One sweep: the sums of the prototypes over these samples.
     *
     * @param range f32 (2) of all samples; a spread of more than 70 epsilon is refused
     * @param previous f32 (K): sums of the sweep before over all samples, or {@link Operand#NONE} in the first sweep
     * @param sums f32 (K), written; may be previous
     */
    public static void sums(
            GatunStream stream, Operand scores, Operand range, Operand previous, Operand sums, float epsilon, MemorySegment workspace) {
        try (Call call = call(stream, SUMS, epsilon, 1)) {
            call.input(SCORES, "scores", scores);
            vector(call, "range", range, 2, false);
            if (previous.present()) {
                vector(call, "previous", previous, prototypes(scores), false);
            } else {
                call.absent();
            }
            vector(call, "sums", sums, prototypes(scores), true);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * The codes from the sums of the last sweep over all samples.
     *
     * @param sums f32 (K)
     * @param codes f32 (R, K), R ≤ B, written
     */
    public static void finish(
            GatunStream stream, Operand scores, Operand range, Operand sums, Operand codes, float epsilon, MemorySegment workspace) {
        try (Call call = call(stream, FINISH, epsilon, 1)) {
            call.input(SCORES, "scores", scores);
            vector(call, "range", range, 2, false);
            vector(call, "sums", sums, prototypes(scores), false);
            call.output(CODES_LAYOUT, "codes", codes);
            call.runWithWorkspace(workspace);
        }
    }

    /** Bytes of workspace that {@link #streaming} and {@link #streamingCodes} need for these operands: O((B + K) D). */
    public static long streamingWorkspace(GatunStream stream, Operand features, Operand prototypes, Potentials potentials) {
        try (Call call = streamingCall(stream, STREAMING_WORKSPACE, 1, 1)) {
            call.input(FEATURES, "features", features);
            call.input(PROTOTYPES, "prototypes", prototypes);
            call.output(SAMPLE_POTENTIALS, "sample_potentials", potentials.samples());
            call.output(PROTOTYPE_POTENTIALS, "prototype_potentials", potentials.prototypes());
            return call.queryWorkspace();
        }
    }

    /**
     * The potentials of the codes that {@link #codes} computes from the scores of features and prototypes.
     *
     * @param features f32, on CUDA also bf16 and f16 (B, D), D ≥ 1
     * @param prototypes as features (K, D)
     * @param potentials written
     * @param workspace of {@link #streamingWorkspace} bytes, aligned to 64
     */
    public static void streaming(
            GatunStream stream,
            Operand features,
            Operand prototypes,
            Potentials potentials,
            float epsilon,
            int iterations,
            MemorySegment workspace) {
        try (Call call = streamingCall(stream, STREAMING, epsilon, iterations)) {
            call.input(FEATURES, "features", features);
            call.input(PROTOTYPES, "prototypes", prototypes);
            call.output(SAMPLE_POTENTIALS, "sample_potentials", potentials.samples());
            call.output(PROTOTYPE_POTENTIALS, "prototype_potentials", potentials.prototypes());
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * The codes of any of the samples.
     *
     * @param features (R, D): of the samples wanted
     * @param potentials those of these samples, (R), and of all prototypes
     * @param codes f32 (R, K), written
     */
    public static void streamingCodes(
            GatunStream stream,
            Operand features,
            Operand prototypes,
            Potentials potentials,
            Operand codes,
            float epsilon,
            MemorySegment workspace) {
        try (Call call = streamingCall(stream, STREAMING_CODES, epsilon, 1)) {
            call.input(FEATURES, "features", features);
            call.input(PROTOTYPES, "prototypes", prototypes);
            call.input(SAMPLE_POTENTIALS, "sample_potentials", potentials.samples());
            call.input(PROTOTYPE_POTENTIALS, "prototype_potentials", potentials.prototypes());
            call.output(STREAMING_CODES_LAYOUT, "codes", codes);
            call.runWithWorkspace(workspace);
        }
    }

    private static Call streamingCall(GatunStream stream, Downcall downcall, float epsilon, int iterations) {
        Call call = Call.of(stream, downcall, STREAMING_DESC);
        call.set(STREAMING_EPSILON, epsilon);
        call.set(STREAMING_ITERATIONS, iterations);
        return call;
    }

    private static Call call(GatunStream stream, Downcall downcall, float epsilon, int iterations) {
        Call call = Call.of(stream, downcall, DESC);
        call.set(EPSILON, epsilon);
        call.set(ITERATIONS, iterations);
        return call;
    }

    private static long prototypes(Operand scores) {
        return scores.layout().size(scores.layout().rank() - 1);
    }

    private static void vector(Call call, String name, Operand operand, long elements, boolean written) {
        Layout layout = operand.layout();
        if (!operand.present() || !layout.equals(Layout.of(DType.F32, elements))) {
            throw GatunException.invalid(call.operation(), name + " is " + layout + ", expected f32[" + elements + "]");
        }
        call.pointer(name, operand.segment(), layout.spanBytes(), written);
    }
}

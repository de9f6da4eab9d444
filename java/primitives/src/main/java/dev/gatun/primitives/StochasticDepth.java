// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Residual branches that are dropped at random for each sample (Huang et al., 2016). Masked: every sample runs through the branch and
 * {@link #mask} says which count. Subset (DINOv2: Oquab et al., 2023): {@link #subset} picks the samples that run through it, the
 * others cost nothing. {@link #forward} joins either to the input, with LayerScale's gamma fused.
 *
 * <p>Decisions are a function of the key (memory of {@link RandomKey#BYTES} bytes) and the sample's id: {@code ids[b]}, or
 * {@code firstId + b} where ids is {@link Operand#NONE}.
 */
public final class StochasticDepth {
    private static final Downcall MASK = Downcall.operation("gatun_stochastic_depth_mask", 3);
    private static final Struct MASK_DESC = Struct.descriptor("gatun_stochastic_depth_mask_desc");
    private static final long RATE = MASK_DESC.f32("rate");
    private static final long MASK_FIRST_ID = MASK_DESC.i64("first_id");
    private static final long MASK_IDS = MASK_DESC.layout("ids");
    private static final long MASK_OUT = MASK_DESC.layout("mask");

    private static final Downcall SUBSET = Downcall.withWorkspace("gatun_stochastic_depth_subset", 3);
    private static final Downcall SUBSET_WORKSPACE = Downcall.workspaceQuery("gatun_stochastic_depth_subset_workspace");
    private static final Struct SUBSET_DESC = Struct.descriptor("gatun_stochastic_depth_subset_desc");
    private static final long SAMPLES;
    private static final long SUBSET_FIRST_ID;
    private static final long SUBSET_IDS;
    private static final long SUBSET_INDICES;

    private static final Downcall FORWARD = Downcall.operation("gatun_stochastic_depth_forward", 6);
    private static final Struct DESC = Struct.descriptor("gatun_stochastic_depth_desc");
    private static final long SCALE = DESC.f32("scale");
    private static final long X = DESC.layout("x");
    private static final long RESIDUAL = DESC.layout("residual");
    private static final long INDICES = DESC.layout("indices");
    private static final long ROW_MASK = DESC.layout("mask");
    private static final long GAMMA = DESC.layout("gamma");
    private static final long Y = DESC.layout("y");

    private static final Downcall BACKWARD = Downcall.withWorkspace("gatun_stochastic_depth_backward", 7);
    private static final Downcall BACKWARD_WORKSPACE = Downcall.workspaceQuery("gatun_stochastic_depth_backward_workspace");
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_stochastic_depth_backward_desc");
    private static final long BACKWARD_SCALE = BACKWARD_DESC.f32("scale");
    private static final long BACKWARD_DY = BACKWARD_DESC.layout("dy");
    private static final long BACKWARD_RESIDUAL = BACKWARD_DESC.layout("residual");
    private static final long BACKWARD_INDICES = BACKWARD_DESC.layout("indices");
    private static final long BACKWARD_MASK = BACKWARD_DESC.layout("mask");
    private static final long BACKWARD_GAMMA = BACKWARD_DESC.layout("gamma");
    private static final long BACKWARD_DRESIDUAL = BACKWARD_DESC.layout("dresidual");
    private static final long BACKWARD_DGAMMA = BACKWARD_DESC.layout("dgamma");

    static {
        SUBSET_DESC.u32("reserved");
        SAMPLES = SUBSET_DESC.i64("samples");
        SUBSET_FIRST_ID = SUBSET_DESC.i64("first_id");
        SUBSET_IDS = SUBSET_DESC.layout("ids");
        SUBSET_INDICES = SUBSET_DESC.layout("indices");
    }

    private StochasticDepth() {}

    /** Samples that a subset keeps: max(⌊samples (1 − rate)⌋, 1), where a rate such as .8 means the decimal: 10 of 50. */
    public static int kept(int samples, double rate) {
        // the double nearest to a decimal may lie above it, and the product then just below a whole number
        return Math.max((int) Math.floor(samples * (1 - rate) + 1e-6), 1);
    }

    /**
     * Masks of samples: 0 with probability rate, else 1 / (1 − rate).
     *
     * @param ids i64 (B) or {@link Operand#NONE}; equal ids share their decision
     * @param mask f32 (B), written
     * @param rate in [0, 1)
     */
    public static void mask(GatunStream stream, MemorySegment key, Operand ids, long firstId, Operand mask, float rate) {
        try (Call call = Call.of(stream, MASK, MASK_DESC)) {
            call.set(RATE, rate);
            call.set(MASK_FIRST_ID, firstId);
            Random.key(call, key);
            call.input(MASK_IDS, "ids", ids);
            call.output(MASK_OUT, "mask", mask);
            call.run();
        }
    }

    /** Bytes of workspace for {@link #subset}. */
    public static long subsetWorkspace(GatunStream stream, long samples, Operand indices) {
        try (Call call = Call.of(stream, SUBSET_WORKSPACE, SUBSET_DESC)) {
            call.set(SAMPLES, samples);
            call.output(SUBSET_INDICES, "indices", indices);
            return call.queryWorkspace();
        }
    }

    /**
     * A random subset of a batch, no sample twice.
     *
     * @param ids i64 (samples) or {@link Operand#NONE}
     * @param indices i32 (n), n ≤ samples, written: rows of the samples kept; see {@link #kept}
     * @param workspace of {@link #subsetWorkspace} bytes, aligned to 64
     */
    public static void subset(
            GatunStream stream, MemorySegment key, Operand ids, long firstId, long samples, Operand indices, MemorySegment workspace) {
        try (Call call = Call.of(stream, SUBSET, SUBSET_DESC)) {
            call.set(SAMPLES, samples);
            call.set(SUBSET_FIRST_ID, firstId);
            Random.key(call, key);
            call.input(SUBSET_IDS, "ids", ids);
            call.output(SUBSET_INDICES, "indices", indices);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * y = x, then y[indices[i]] += scale · mask[i] · gamma ⊙ residual[i].
     *
     * @param x f32 (B, ..., C), each sample contiguous
     * @param residual f32 (n, ..., C); one whose mask is 0 is not read
     * @param indices i32 (n), each in [0, B), or {@link Operand#NONE}: residual i belongs to sample i
     * @param mask f32 (n) or {@link Operand#NONE}
     * @param gamma f32 (C) or {@link Operand#NONE}
     * @param y f32, shape of x, written; may be x itself
     * @param scale B / n for a subset, 1 with a mask
     */
    public static void forward(
            GatunStream stream, Operand x, Operand residual, Operand indices, Operand mask, Operand gamma, Operand y, float scale) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            call.set(SCALE, scale);
            call.input(X, "x", x);
            call.input(RESIDUAL, "residual", residual);
            call.input(INDICES, "indices", indices);
            call.input(ROW_MASK, "mask", mask);
            call.input(GAMMA, "gamma", gamma);
            call.output(Y, "y", y);
            call.run();
        }
    }

    /** Bytes of workspace for {@link #backward}. */
    public static long backwardWorkspace(
            GatunStream stream, Operand dy, Operand indices, Operand mask, Operand gamma, Operand dresidual, Operand dgamma) {
        try (Call call = Call.of(stream, BACKWARD_WORKSPACE, BACKWARD_DESC)) {
            call.input(BACKWARD_DY, "dy", dy);
            call.input(BACKWARD_INDICES, "indices", indices);
            call.input(BACKWARD_MASK, "mask", mask);
            call.input(BACKWARD_GAMMA, "gamma", gamma);
            call.output(BACKWARD_DRESIDUAL, "dresidual", dresidual);
            call.output(BACKWARD_DGAMMA, "dgamma", dgamma);
            return call.queryWorkspace();
        }
    }

    /**
     * Gradients of residual and gamma; the gradient of x is dy itself.
     *
     * @param dy f32 (B, ..., C)
     * @param residual f32 (n, ..., C), or {@link Operand#NONE} where dgamma is absent
     * @param dresidual f32 (n, ..., C), written; not dy
     * @param dgamma f32 (C), written, or {@link Operand#NONE}
     * @param workspace of {@link #backwardWorkspace} bytes, aligned to 64
     */
    public static void backward(
            GatunStream stream,
            Operand dy,
            Operand residual,
            Operand indices,
            Operand mask,
            Operand gamma,
            Operand dresidual,
            Operand dgamma,
            float scale,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, BACKWARD, BACKWARD_DESC)) {
            call.set(BACKWARD_SCALE, scale);
            call.input(BACKWARD_DY, "dy", dy);
            call.input(BACKWARD_RESIDUAL, "residual", residual);
            call.input(BACKWARD_INDICES, "indices", indices);
            call.input(BACKWARD_MASK, "mask", mask);
            call.input(BACKWARD_GAMMA, "gamma", gamma);
            call.output(BACKWARD_DRESIDUAL, "dresidual", dresidual);
            call.output(BACKWARD_DGAMMA, "dgamma", dgamma);
            call.runWithWorkspace(workspace);
        }
    }
}

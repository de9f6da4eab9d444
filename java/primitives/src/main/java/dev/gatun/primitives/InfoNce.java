// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * The contrastive loss InfoNCE (van den Oord et al., 2018) in the forms NT-Xent (SimCLR: Chen et al., 2020, equation 1) and supervised
 * (SupCon: Khosla et al., 2020, equation 2), without the N×M matrix of scores.
 *
 * <p>Every row has a group; the positives P(i) of a query are the keys of its own group. A group below 0 means none: the row has no
 * positives, but is a negative of the others. In the self form (no keys) the queries are the keys, and no row is compared with itself.
 * With s_ij = q_i·k_j / temperature, loss_i = log Σ_j exp(s_ij) − mean of s_ij over P(i); 0 where P(i) is empty. Results are the same bits
 * for any number of threads.
 */
public final class InfoNce {
    private static final Downcall FORWARD_WORKSPACE = Downcall.streamWorkspaceQuery("gatun_info_nce_forward_workspace");
    private static final Downcall FORWARD = Downcall.withWorkspace("gatun_info_nce_forward", 7);
    private static final Struct DESC = Struct.descriptor("gatun_info_nce_desc");
    private static final InputFields INPUTS = new InputFields(DESC);
    private static final long LOSS = DESC.layout("loss");
    private static final long LSE = DESC.layout("lse");
    private static final long POSITIVES = DESC.layout("positives");

    private static final Downcall BACKWARD_WORKSPACE = Downcall.streamWorkspaceQuery("gatun_info_nce_backward_workspace");
    private static final Downcall BACKWARD = Downcall.withWorkspace("gatun_info_nce_backward", 9);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_info_nce_backward_desc");
    private static final InputFields BACKWARD_INPUTS = new InputFields(BACKWARD_DESC);
    private static final long BACKWARD_LSE = BACKWARD_DESC.layout("lse");
    private static final long BACKWARD_POSITIVES = BACKWARD_DESC.layout("positives");
    private static final long BACKWARD_DLOSS = BACKWARD_DESC.layout("dloss");
    private static final long BACKWARD_DQ = BACKWARD_DESC.layout("dq");
    private static final long BACKWARD_DK = BACKWARD_DESC.layout("dk");

    private InfoNce() {}

    /**
     * What the loss reads; the same for the forward and the backward pass.
     *
     * @param q f32 (N, D), any row stride, D ≥ 1
     * @param k f32 (M, D); or {@link Operand#NONE}: the self form
     * @param queryGroups i32 (N)
     * @param keyGroups i32 (M); {@link Operand#NONE} in the self form
     * @param temperature positive, not subnormal
     */
    public record Inputs(Operand q, Operand k, Operand queryGroups, Operand keyGroups, float temperature) {
        /** The self form: rows are compared with each other. */
        public static Inputs self(Operand rows, Operand groups, float temperature) {
            return new Inputs(rows, Operand.NONE, groups, Operand.NONE, temperature);
        }
    }

    /**
     * What the forward pass writes.
     *
     * @param loss f32 (N)
     * @param lse f32 (N): log Σ_j exp(s_ij), −∞ without keys; or {@link Operand#NONE}. Kept for {@link #backward}
     * @param positives i32 (N): |P(i)|; or {@link Operand#NONE}. Kept for {@link #backward}
     */
    public record Result(Operand loss, Operand lse, Operand positives) {}

    /**
     * What the backward pass writes; must not overlap each other or the inputs.
     *
     * @param dq f32, shape of q; in the self form the gradient through both sides of the comparison
     * @param dk f32, shape of k; or {@link Operand#NONE} where the keys are constants, and in the self form
     */
    public record Gradients(Operand dq, Operand dk) {}

    /** Bytes of workspace that {@link #forward} needs; it does not grow with N·M. */
    public static long forwardWorkspace(GatunStream stream, Inputs inputs, Result result) {
        try (Call call = Call.of(stream, FORWARD_WORKSPACE, DESC)) {
            putForward(call, inputs, result);
            return call.queryWorkspace();
        }
    }

    /**
     * The loss of each query. NaN in a row makes the log-sum-exp of each row that sees it NaN, and the loss of those that have positives.
     *
     * @param workspace native memory of {@link #forwardWorkspace} bytes, aligned to 64 bytes
     */
    public static void forward(GatunStream stream, Inputs inputs, Result result, MemorySegment workspace) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            putForward(call, inputs, result);
            call.runWithWorkspace(workspace);
        }
    }

    /** Bytes of workspace that {@link #backward} needs; it does not grow with N·M. */
    public static long backwardWorkspace(
            GatunStream stream, Inputs inputs, Operand lse, Operand positives, Operand dloss, Gradients gradients) {
        try (Call call = Call.of(stream, BACKWARD_WORKSPACE, BACKWARD_DESC)) {
            putBackward(call, inputs, lse, positives, dloss, gradients);
            return call.queryWorkspace();
        }
    }

    /**
     * With G_ij = dloss_i / temperature · (exp(s_ij − lse_i) − [j ∈ P(i)] / |P(i)|), 0 where P(i) is empty: dq = G·k and dk = Gᵀ·q; in the
     * self form dq = (G + Gᵀ)·q. Overwritten, not accumulated.
     *
     * @param inputs as in the forward pass
     * @param lse of {@link #forward}
     * @param positives of {@link #forward}
     * @param dloss f32 (N), any stride (0: one value for all rows): gradient of each row's loss
     * @param workspace native memory of {@link #backwardWorkspace} bytes, aligned to 64 bytes
     */
    public static void backward(
            GatunStream stream,
            Inputs inputs,
            Operand lse,
            Operand positives,
            Operand dloss,
            Gradients gradients,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, BACKWARD, BACKWARD_DESC)) {
            putBackward(call, inputs, lse, positives, dloss, gradients);
            call.runWithWorkspace(workspace);
        }
    }

    private static void putForward(Call call, Inputs inputs, Result result) {
        INPUTS.put(call, inputs);
        call.output(LOSS, "loss", result.loss());
        call.output(LSE, "lse", result.lse());
        call.output(POSITIVES, "positives", result.positives());
    }

    private static void putBackward(
            Call call, Inputs inputs, Operand lse, Operand positives, Operand dloss, Gradients gradients) {
        BACKWARD_INPUTS.put(call, inputs);
        call.input(BACKWARD_LSE, "lse", lse);
        call.input(BACKWARD_POSITIVES, "positives", positives);
        call.input(BACKWARD_DLOSS, "dloss", dloss);
        call.output(BACKWARD_DQ, "dq", gradients.dq());
        call.output(BACKWARD_DK, "dk", gradients.dk());
    }

    /** The fields that both descriptors start with. */
    private static final class InputFields {
        private final long temperature;
        private final long q;
        private final long k;
        private final long queryGroups;
        private final long keyGroups;

        InputFields(Struct struct) {
            temperature = struct.f32("temperature");
            q = struct.layout("q");
            k = struct.layout("k");
            queryGroups = struct.layout("query_groups");
            keyGroups = struct.layout("key_groups");
        }

        /** Fills the first four data pointers. */
        void put(Call call, Inputs inputs) {
            call.set(temperature, inputs.temperature());
            call.input(q, "q", inputs.q());
            call.input(k, "k", inputs.k());
            call.input(queryGroups, "query_groups", inputs.queryGroups());
            call.input(keyGroups, "key_groups", inputs.keyGroups());
        }
    }
}

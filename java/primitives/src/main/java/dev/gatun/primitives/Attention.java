// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Scaled dot-product attention, softmax(scale·q·kᵀ + bias)·v (Vaswani et al. 2017, equation 1), forward and backward without the N×N
 * matrix (Dao et al. 2022).
 *
 * <p>Batched form: q is (B, Nq, H, D), k and v are (B, Nk, H, D). Ragged form: q is (Tq, H, D), k and v are (Tk, H, D), and offsets say
 * which rows belong to which sequence. Any operand may be a strided view, such as one of the three parts of a (B, N, 3, H, D) buffer;
 * 1 ≤ D ≤ 128. A query that sees no key gives output 0, log-sum-exp −∞ and gradient 0. Results are the same bits for any number of
 * threads.
 */
public final class Attention {
    /** Largest head dimension D. */
    public static final int MAX_DEPTH = 128;

    private static final Struct DESC = Struct.descriptor("gatun_attention_desc");
    private static final InputFields INPUTS = new InputFields(DESC);
    private static final long OUT = DESC.layout("out");
    private static final long LOG_SUM_EXP = DESC.layout("log_sum_exp");
    private static final Downcall FORWARD_WORKSPACE = Downcall.streamWorkspaceQuery("gatun_attention_forward_workspace");
    private static final Downcall FORWARD = Downcall.withWorkspace("gatun_attention_forward", 8);

    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_attention_backward_desc");
    private static final InputFields BACKWARD_INPUTS = new InputFields(BACKWARD_DESC);
    private static final long BACKWARD_OUT = BACKWARD_DESC.layout("out");
    private static final long BACKWARD_LOG_SUM_EXP = BACKWARD_DESC.layout("log_sum_exp");
    private static final long DOUT = BACKWARD_DESC.layout("dout");
    private static final long DQ = BACKWARD_DESC.layout("dq");
    private static final long DK = BACKWARD_DESC.layout("dk");
    private static final long DV = BACKWARD_DESC.layout("dv");
    private static final long DBIAS = BACKWARD_DESC.layout("dbias");
    private static final Downcall BACKWARD_WORKSPACE = Downcall.streamWorkspaceQuery("gatun_attention_backward_workspace");
    private static final Downcall BACKWARD = Downcall.withWorkspace("gatun_attention_backward", 13);

    private Attention() {}

    /**
     * What attention reads; the same for the forward and the backward pass.
     *
     * @param q f32 (B, Nq, H, D), or (Tq, H, D) with offsets
     * @param k f32 (B, Nk, H, D), or (Tk, H, D) with offsets
     * @param v f32, shape of k
     * @param bias f32 (B, H, Nq, Nk), added to the scaled scores; the first three extents may each be 1 (broadcast). −∞ excludes a key.
     *     {@link Operand#NONE} for none; always none in the ragged form
     * @param queryOffsets i32 (S + 1): sequence s has the rows queryOffsets[s] to queryOffsets[s+1] − 1 of q. {@link Operand#NONE} in the
     *     batched form
     * @param keyOffsets i32 (S + 1), the same for k and v
     * @param scale factor of the scores, finite; 1/√D is usual
     * @param causal whether query i sees only keys j ≤ i + (Nk − Nq): the last query sees all keys
     */
    public record Inputs(
            Operand q,
            Operand k,
            Operand v,
            Operand bias,
            Operand queryOffsets,
            Operand keyOffsets,
            float scale,
            boolean causal) {
        /** Batched, without a bias, not causal. */
        public static Inputs batched(Operand q, Operand k, Operand v, float scale) {
            return new Inputs(q, k, v, Operand.NONE, Operand.NONE, Operand.NONE, scale, false);
        }

        /** Sequences of several lengths, each attending to itself alone, not causal. */
        public static Inputs ragged(Operand q, Operand k, Operand v, Operand offsets, float scale) {
            return new Inputs(q, k, v, Operand.NONE, offsets, offsets, scale, false);
        }

        /** The same with a bias. */
        public Inputs withBias(Operand newBias) {
            return new Inputs(q, k, v, newBias, queryOffsets, keyOffsets, scale, causal);
        }

        /** The same, causal. */
        public Inputs asCausal() {
            return new Inputs(q, k, v, bias, queryOffsets, keyOffsets, scale, true);
        }
    }

    /**
     * What the backward pass writes. The gradients must not overlap each other or the inputs, but may be views of one buffer.
     *
     * @param dq f32, shape of q
     * @param dk f32, shape of k
     * @param dv f32, shape of v
     * @param dbias f32, shape of the bias, summed over what the bias was broadcast to; or {@link Operand#NONE}
     */
    public record Gradients(Operand dq, Operand dk, Operand dv, Operand dbias) {
        /** Without a gradient of the bias. */
        public Gradients(Operand dq, Operand dk, Operand dv) {
            this(dq, dk, dv, Operand.NONE);
        }
    }

    /** Bytes of workspace that {@link #forward} needs: a few hundred KiB a thread. */
    public static long forwardWorkspace(GatunStream stream, Inputs inputs, Operand out, Operand logSumExp) {
        try (Call call = Call.of(stream, FORWARD_WORKSPACE, DESC)) {
            INPUTS.put(call, inputs);
            call.output(OUT, "out", out);
            call.output(LOG_SUM_EXP, "log_sum_exp", logSumExp);
            return call.queryWorkspace();
        }
    }

    /**
     * out = softmax(scale·q·kᵀ + bias)·v for each batch entry (or sequence) and head.
     *
     * @param out f32, shape of q; must not overlap the inputs
     * @param logSumExp f32 (B, H, Nq), or (H, Tq) in the ragged form: log Σⱼ exp(scoreᵢⱼ), for {@link #backward}; or {@link Operand#NONE}
     * @param workspace native memory of {@link #forwardWorkspace} bytes, aligned to 64 bytes
     */
    public static void forward(
            GatunStream stream, Inputs inputs, Operand out, Operand logSumExp, MemorySegment workspace) {
        try (Call call = Call.of(stream, FORWARD, DESC)) {
            INPUTS.put(call, inputs);
            call.output(OUT, "out", out);
            call.output(LOG_SUM_EXP, "log_sum_exp", logSumExp);
            call.runWithWorkspace(workspace);
        }
    }

    /** Bytes of workspace that {@link #backward} needs: below 2 MiB a thread. */
    public static long backwardWorkspace(
            GatunStream stream, Inputs inputs, Operand out, Operand logSumExp, Operand dout, Gradients gradients) {
        try (Call call = Call.of(stream, BACKWARD_WORKSPACE, BACKWARD_DESC)) {
            putBackward(call, inputs, out, logSumExp, dout, gradients);
            return call.queryWorkspace();
        }
    }

    /**
     * Gradients of q, k, v and, if asked for, the bias; overwritten, not accumulated.
     *
     * @param inputs as in the forward pass
     * @param out output of {@link #forward}
     * @param logSumExp of {@link #forward}
     * @param dout f32, shape of out
     * @param workspace native memory of {@link #backwardWorkspace} bytes, aligned to 64 bytes
     */
    public static void backward(
            GatunStream stream,
            Inputs inputs,
            Operand out,
            Operand logSumExp,
            Operand dout,
            Gradients gradients,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, BACKWARD, BACKWARD_DESC)) {
            putBackward(call, inputs, out, logSumExp, dout, gradients);
            call.runWithWorkspace(workspace);
        }
    }

    private static void putBackward(
            Call call, Inputs inputs, Operand out, Operand logSumExp, Operand dout, Gradients gradients) {
        BACKWARD_INPUTS.put(call, inputs);
        call.input(BACKWARD_OUT, "out", out);
        call.input(BACKWARD_LOG_SUM_EXP, "log_sum_exp", logSumExp);
        call.input(DOUT, "dout", dout);
        call.output(DQ, "dq", gradients.dq());
        call.output(DK, "dk", gradients.dk());
        call.output(DV, "dv", gradients.dv());
        call.output(DBIAS, "dbias", gradients.dbias());
    }

    /** The fields that both descriptors start with. */
    private static final class InputFields {
        private final long causal;
        private final long scale;
        private final long q;
        private final long k;
        private final long v;
        private final long bias;
        private final long queryOffsets;
        private final long keyOffsets;

        InputFields(Struct struct) {
            causal = struct.i32("causal");
            scale = struct.f32("scale");
            struct.u32("reserved");
            q = struct.layout("q");
            k = struct.layout("k");
            v = struct.layout("v");
            bias = struct.layout("bias");
            queryOffsets = struct.layout("query_offsets");
            keyOffsets = struct.layout("key_offsets");
        }

        /** Fills the first six data pointers. */
        void put(Call call, Inputs inputs) {
            call.set(causal, inputs.causal() ? 1 : 0);
            call.set(scale, inputs.scale());
            call.input(q, "q", inputs.q());
            call.input(k, "k", inputs.k());
            call.input(v, "v", inputs.v());
            call.input(bias, "bias", inputs.bias());
            call.input(queryOffsets, "query_offsets", inputs.queryOffsets());
            call.input(keyOffsets, "key_offsets", inputs.keyOffsets());
        }
    }
}

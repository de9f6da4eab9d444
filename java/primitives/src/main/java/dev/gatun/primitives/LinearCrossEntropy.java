// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Cross-entropy of the scores of rows with prototypes, and the gradients of both, on the CPU and without a matrix of scores: loss and
 * gradients in one call, some hundred rows at a time, whose scores stay in the caches and become their own gradient in place. The loss of
 * swapped prediction from features and prototypes (Caron et al., 2020, section 3.1), and of a linear classifier. On a CUDA device it is
 * UNSUPPORTED: {@link Gemm} and {@link CrossEntropy} compose it there.
 *
 * <p>Each score is computed once, as no backward pass asks for it again; so the factor of the gradients is known with the loss.
 */
public final class LinearCrossEntropy {
    private static final Downcall CALL = Downcall.withWorkspace("gatun_linear_cross_entropy", 7);
    private static final Downcall WORKSPACE = Downcall.streamWorkspaceQuery("gatun_linear_cross_entropy_workspace");
    private static final Struct DESC = Struct.descriptor("gatun_linear_cross_entropy_desc");
    private static final long TEMPERATURE = DESC.f32("temperature");
    private static final long FACTOR = DESC.f32("factor");
    private static final long Z;
    private static final long PROTOTYPES;
    private static final long TARGETS;
    private static final long SCORES;
    private static final long LOSS;
    private static final long DZ;
    private static final long DPROTOTYPES;

    static {
        DESC.u32("reserved");
        Z = DESC.layout("z");
        PROTOTYPES = DESC.layout("prototypes");
        TARGETS = DESC.layout("targets");
        SCORES = DESC.layout("scores");
        LOSS = DESC.layout("loss");
        DZ = DESC.layout("dz");
        DPROTOTYPES = DESC.layout("dprototypes");
    }

    private LinearCrossEntropy() {}

    /**
     * What the loss is of.
     *
     * @param z f32 (N, D), rows contiguous
     * @param prototypes f32 (K, D), rows contiguous
     * @param targets constants: f32 (R, K), soft, of any row sum; or i32 (R), labels, below 0 for none. R divides N: row n has target n mod R
     * @param scores f32 (N, K), rows contiguous: z·prototypesᵀ where it is at hand, overwritten; or {@link Operand#NONE}
     * @param temperature positive
     */
    public record Inputs(Operand z, Operand prototypes, Operand targets, Operand scores, float temperature) {}

    /**
     * What is written; none overlaps another or the inputs.
     *
     * @param loss f32 (N)
     * @param dz f32, shape of z, rows contiguous; or {@link Operand#NONE}
     * @param dprototypes f32, shape of prototypes, rows contiguous; or {@link Operand#NONE}
     * @param factor finite: the gradients are those of factor · Σₙ lossₙ, 1 / N for the mean
     */
    public record Result(Operand loss, Operand dz, Operand dprototypes, float factor) {}

    /** Bytes of workspace that {@link #run} needs: some MiB, which do not grow with N. */
    public static long workspace(GatunStream stream, Inputs inputs, Result result) {
        try (Call call = Call.of(stream, WORKSPACE, DESC)) {
            put(call, inputs, result);
            return call.queryWorkspace();
        }
    }

    /**
     * With s = z·prototypesᵀ, lossₙ = −Σₖ tₙₖ · log softmax(sₙ / temperature)ₖ, masked rows and labels as in {@link CrossEntropy}, and
     * Gₙ = factor / temperature · (softmax(sₙ / temperature)·Σₖ tₙₖ − tₙ): dz = G·prototypes, dprototypes = Gᵀ·z.
     *
     * @param workspace native memory of {@link #workspace} bytes, aligned to 64 bytes
     */
    public static void run(GatunStream stream, Inputs inputs, Result result, MemorySegment workspace) {
        try (Call call = Call.of(stream, CALL, DESC)) {
            put(call, inputs, result);
            call.runWithWorkspace(workspace);
        }
    }

    private static void put(Call call, Inputs inputs, Result result) {
        call.set(TEMPERATURE, inputs.temperature());
        call.set(FACTOR, result.factor());
        call.input(Z, "z", inputs.z());
        call.input(PROTOTYPES, "prototypes", inputs.prototypes());
        call.input(TARGETS, "targets", inputs.targets());
        call.output(SCORES, "scores", inputs.scores());
        call.output(LOSS, "loss", result.loss());
        call.output(DZ, "dz", result.dz());
        call.output(DPROTOTYPES, "dprototypes", result.dprototypes());
    }
}

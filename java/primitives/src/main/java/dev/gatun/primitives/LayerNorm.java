// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Layer normalisation (Ba, Kiros and Hinton, 2016): each row has mean 0 and variance 1 before gamma and beta, which may each be {@link
 * Operand#NONE}: 1 and 0.
 */
public final class LayerNorm {
    private static final Downcall CALL = Downcall.operation("gatun_layer_norm_forward", 6);
    private static final Struct DESC = Struct.descriptor("gatun_layer_norm_desc");
    private static final long EPSILON = DESC.f32("epsilon");
    private static final long X = DESC.layout("x");
    private static final long GAMMA = DESC.layout("gamma");
    private static final long BETA = DESC.layout("beta");
    private static final long Y = DESC.layout("y");
    private static final long MEAN = DESC.layout("mean");
    private static final long RSTD = DESC.layout("rstd");

    private static final Downcall BACKWARD_CALL = Downcall.withWorkspace("gatun_layer_norm_backward", 8);
    private static final Downcall BACKWARD_WORKSPACE = Downcall.workspaceQuery("gatun_layer_norm_backward_workspace");
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_layer_norm_backward_desc");
    private static final long BACKWARD_X;
    private static final long BACKWARD_GAMMA;
    private static final long BACKWARD_MEAN;
    private static final long BACKWARD_RSTD;
    private static final long BACKWARD_DY;
    private static final long BACKWARD_DX;
    private static final long BACKWARD_DGAMMA;
    private static final long BACKWARD_DBETA;

    static {
        BACKWARD_DESC.u32("reserved");
        BACKWARD_X = BACKWARD_DESC.layout("x");
        BACKWARD_GAMMA = BACKWARD_DESC.layout("gamma");
        BACKWARD_MEAN = BACKWARD_DESC.layout("mean");
        BACKWARD_RSTD = BACKWARD_DESC.layout("rstd");
        BACKWARD_DY = BACKWARD_DESC.layout("dy");
        BACKWARD_DX = BACKWARD_DESC.layout("dx");
        BACKWARD_DGAMMA = BACKWARD_DESC.layout("dgamma");
        BACKWARD_DBETA = BACKWARD_DESC.layout("dbeta");
    }

    private LayerNorm() {}

    /**
     * y = (x − mean)·rstd·gamma + beta for each row.
     *
     * @param epsilon added to the variance, positive; 1e-6 in vision transformers
     * @param x f32 (..., C), rows equally spaced
     * @param gamma f32 (C)
     * @param beta f32 (C)
     * @param y f32, shape of x, written
     * @param mean f32 (rows), written; for {@link #backward}
     * @param rstd f32 (rows), written: 1 / sqrt(biased variance + epsilon); for {@link #backward}
     */
    public static void forward(
            GatunStream stream,
            float epsilon,
            Operand x,
            Operand gamma,
            Operand beta,
            Operand y,
            Operand mean,
            Operand rstd) {
        try (Call call = Call.of(stream, CALL, DESC)) {
            call.set(EPSILON, epsilon);
            call.input(X, "x", x);
            call.input(GAMMA, "gamma", gamma);
            call.input(BETA, "beta", beta);
            call.output(Y, "y", y);
            call.output(MEAN, "mean", mean);
            call.output(RSTD, "rstd", rstd);
            call.run();
        }
    }

    /** Bytes of workspace for {@link #backward}. */
    public static long backwardWorkspace(
            GatunStream stream,
            Operand x,
            Operand gamma,
            Operand mean,
            Operand rstd,
            Operand dy,
            Operand dx,
            Operand dgamma,
            Operand dbeta) {
        try (Call call = Call.of(stream, BACKWARD_WORKSPACE, BACKWARD_DESC)) {
            call.input(BACKWARD_X, "x", x);
            call.input(BACKWARD_GAMMA, "gamma", gamma);
            call.input(BACKWARD_MEAN, "mean", mean);
            call.input(BACKWARD_RSTD, "rstd", rstd);
            call.input(BACKWARD_DY, "dy", dy);
            call.output(BACKWARD_DX, "dx", dx);
            call.output(BACKWARD_DGAMMA, "dgamma", dgamma);
            call.output(BACKWARD_DBETA, "dbeta", dbeta);
            return call.queryWorkspace();
        }
    }

    /**
     * With x̂ = (x − mean)·rstd and g = dy·gamma: dx = rstd·(g − mean(g) − x̂·mean(g·x̂)) for each row; dgamma = Σ dy·x̂ and dbeta = Σ dy
     * over the rows.
     *
     * @param x f32 (..., C): input of {@link #forward}
     * @param gamma as in {@link #forward}
     * @param mean f32 (rows) of {@link #forward}
     * @param rstd f32 (rows) of {@link #forward}
     * @param dy f32, shape of x
     * @param dx f32, shape of x, written; may be dy itself
     * @param dgamma f32 (C), written, or {@link Operand#NONE}
     * @param dbeta f32 (C), written, or {@link Operand#NONE}
     * @param workspace of {@link #backwardWorkspace} bytes, aligned to 64
     */
    public static void backward(
            GatunStream stream,
            Operand x,
            Operand gamma,
            Operand mean,
            Operand rstd,
            Operand dy,
            Operand dx,
            Operand dgamma,
            Operand dbeta,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, BACKWARD_CALL, BACKWARD_DESC)) {
            call.input(BACKWARD_X, "x", x);
            call.input(BACKWARD_GAMMA, "gamma", gamma);
            call.input(BACKWARD_MEAN, "mean", mean);
            call.input(BACKWARD_RSTD, "rstd", rstd);
            call.input(BACKWARD_DY, "dy", dy);
            call.output(BACKWARD_DX, "dx", dx);
            call.output(BACKWARD_DGAMMA, "dgamma", dgamma);
            call.output(BACKWARD_DBETA, "dbeta", dbeta);
            call.runWithWorkspace(workspace);
        }
    }
}

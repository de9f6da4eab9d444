// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Batch normalisation (Ioffe and Szegedy, 2015) of rows with C channels: (B, H, W, C) images are B·H·W rows.
 *
 * <p>Training is two calls each way, so that machines can join their sums between them: {@link #statistics} then {@link #forward};
 * {@link #backwardSums} then {@link #backward}. Machines with n_i rows join by mean = Σ n_i mean_i / n and centered = Σ (centered_i +
 * n_i (mean_i − mean)²); dgamma and dbeta by their sums.
 *
 * <p>All operands are f32, per-channel ones (C) contiguous; x, y, dy, dx are (..., C) with rows equally spaced. gamma and beta may each
 * be {@link Operand#NONE}: 1 and 0. With {@code relu}, y = max(0, ·) and the backward calls mask dy where that was 0 (recomputed from x,
 * to the bit).
 */
public final class BatchNorm {
    private static final Downcall STATISTICS_CALL = Downcall.withWorkspace("gatun_batch_norm_statistics", 3);
    private static final Downcall STATISTICS_WORKSPACE = Downcall.workspaceQuery("gatun_batch_norm_statistics_workspace");
    private static final Struct STATISTICS_DESC = Struct.descriptor("gatun_batch_norm_statistics_desc");
    private static final long STATISTICS_X;
    private static final long STATISTICS_MEAN;
    private static final long STATISTICS_CENTERED;

    private static final Downcall FORWARD_CALL = Downcall.operation("gatun_batch_norm_forward", 11);
    private static final Struct FORWARD_DESC = Struct.descriptor("gatun_batch_norm_desc");
    private static final long FORWARD_RELU = FORWARD_DESC.i32("relu");
    private static final long FORWARD_COUNT = FORWARD_DESC.i64("count");
    private static final long FORWARD_EPSILON = FORWARD_DESC.f64("epsilon");
    private static final long FORWARD_X = FORWARD_DESC.layout("x");
    private static final long FORWARD_MEAN = FORWARD_DESC.layout("mean");
    private static final long FORWARD_CENTERED = FORWARD_DESC.layout("centered");
    private static final long FORWARD_GAMMA = FORWARD_DESC.layout("gamma");
    private static final long FORWARD_BETA = FORWARD_DESC.layout("beta");
    private static final long FORWARD_MOMENTUM = FORWARD_DESC.layout("momentum");
    private static final long FORWARD_RUNNING_MEAN = FORWARD_DESC.layout("running_mean");
    private static final long FORWARD_RUNNING_VARIANCE = FORWARD_DESC.layout("running_variance");
    private static final long FORWARD_RSTD = FORWARD_DESC.layout("rstd");
    private static final long FORWARD_Y = FORWARD_DESC.layout("y");
    private static final long FORWARD_RESIDUAL = FORWARD_DESC.layout("residual");

    private static final Downcall INFERENCE_CALL = Downcall.operation("gatun_batch_norm_inference", 6);
    private static final Struct INFERENCE_DESC = Struct.descriptor("gatun_batch_norm_inference_desc");
    private static final long INFERENCE_RELU = INFERENCE_DESC.i32("relu");
    private static final long INFERENCE_EPSILON = INFERENCE_DESC.f64("epsilon");
    private static final long INFERENCE_X = INFERENCE_DESC.layout("x");
    private static final long INFERENCE_MEAN = INFERENCE_DESC.layout("mean");
    private static final long INFERENCE_VARIANCE = INFERENCE_DESC.layout("variance");
    private static final long INFERENCE_GAMMA = INFERENCE_DESC.layout("gamma");
    private static final long INFERENCE_BETA = INFERENCE_DESC.layout("beta");
    private static final long INFERENCE_Y = INFERENCE_DESC.layout("y");

    private static final Downcall SUMS_CALL = Downcall.withWorkspace("gatun_batch_norm_backward_sums", 10);
    private static final Downcall SUMS_WORKSPACE = Downcall.workspaceQuery("gatun_batch_norm_backward_sums_workspace");
    private static final Struct SUMS_DESC = Struct.descriptor("gatun_batch_norm_backward_sums_desc");
    private static final long SUMS_RELU = SUMS_DESC.i32("relu");
    private static final long SUMS_X = SUMS_DESC.layout("x");
    private static final long SUMS_MEAN = SUMS_DESC.layout("mean");
    private static final long SUMS_RSTD = SUMS_DESC.layout("rstd");
    private static final long SUMS_GAMMA = SUMS_DESC.layout("gamma");
    private static final long SUMS_BETA = SUMS_DESC.layout("beta");
    private static final long SUMS_DY = SUMS_DESC.layout("dy");
    private static final long SUMS_DGAMMA = SUMS_DESC.layout("dgamma");
    private static final long SUMS_DBETA = SUMS_DESC.layout("dbeta");
    private static final long SUMS_Y = SUMS_DESC.layout("y");
    private static final long SUMS_DRESIDUAL = SUMS_DESC.layout("dresidual");

    private static final Downcall BACKWARD_CALL = Downcall.operation("gatun_batch_norm_backward", 9);
    private static final Struct BACKWARD_DESC = Struct.descriptor("gatun_batch_norm_backward_desc");
    private static final long BACKWARD_RELU = BACKWARD_DESC.i32("relu");
    private static final long BACKWARD_COUNT = BACKWARD_DESC.i64("count");
    private static final long BACKWARD_X = BACKWARD_DESC.layout("x");
    private static final long BACKWARD_MEAN = BACKWARD_DESC.layout("mean");
    private static final long BACKWARD_RSTD = BACKWARD_DESC.layout("rstd");
    private static final long BACKWARD_GAMMA = BACKWARD_DESC.layout("gamma");
    private static final long BACKWARD_BETA = BACKWARD_DESC.layout("beta");
    private static final long BACKWARD_DY = BACKWARD_DESC.layout("dy");
    private static final long BACKWARD_DGAMMA = BACKWARD_DESC.layout("dgamma");
    private static final long BACKWARD_DBETA = BACKWARD_DESC.layout("dbeta");
    private static final long BACKWARD_DX = BACKWARD_DESC.layout("dx");

    static {
        STATISTICS_DESC.u32("reserved");
        STATISTICS_X = STATISTICS_DESC.layout("x");
        STATISTICS_MEAN = STATISTICS_DESC.layout("mean");
        STATISTICS_CENTERED = STATISTICS_DESC.layout("centered");
    }

    private BatchNorm() {}

    /** Bytes of workspace for {@link #statistics}. */
    public static long statisticsWorkspace(GatunStream stream, Operand x, Operand mean, Operand centered) {
        try (Call call = Call.of(stream, STATISTICS_WORKSPACE, STATISTICS_DESC)) {
            call.input(STATISTICS_X, "x", x);
            call.output(STATISTICS_MEAN, "mean", mean);
            call.output(STATISTICS_CENTERED, "centered", centered);
            return call.queryWorkspace();
        }
    }

    /**
     * Mean and centered sum of squares of each channel, in one pass over memory.
     *
     * @param x (..., C)
     * @param mean (C), written: mean over the rows
     * @param centered (C), written: Σ (x − mean)² over the rows
     * @param workspace of {@link #statisticsWorkspace} bytes, aligned to 64
     */
    public static void statistics(GatunStream stream, Operand x, Operand mean, Operand centered, MemorySegment workspace) {
        try (Call call = Call.of(stream, STATISTICS_CALL, STATISTICS_DESC)) {
            call.input(STATISTICS_X, "x", x);
            call.output(STATISTICS_MEAN, "mean", mean);
            call.output(STATISTICS_CENTERED, "centered", centered);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * Training: y = (x − mean)·rstd·gamma + beta; updates the running statistics.
     *
     * @param count rows that mean and centered are over (on all machines), at least 2
     * @param epsilon added to the variance, positive; 1e-5 is usual
     * @param mean (C) of {@link #statistics}
     * @param centered (C) of {@link #statistics}
     * @param momentum (1): running = (1 − momentum)·running + momentum·batch; absent with the running operands
     * @param runningMean (C), updated in place, or {@link Operand#NONE}
     * @param runningVariance (C), updated in place with the unbiased batch variance, or {@link Operand#NONE}
     * @param rstd (C), written: 1 / sqrt(biased variance + epsilon); for the backward pass
     * @param y shape of x, written
     * @param residual shape of x, added before the rectifier: y = max(0, norm(x) + residual); may be y itself; on the CPU only, or
     *     {@link Operand#NONE}
     */
    public static void forward(
            GatunStream stream,
            boolean relu,
            long count,
            double epsilon,
            Operand x,
            Operand mean,
            Operand centered,
            Operand gamma,
            Operand beta,
            Operand momentum,
            Operand runningMean,
            Operand runningVariance,
            Operand rstd,
            Operand y,
            Operand residual) {
        try (Call call = Call.of(stream, FORWARD_CALL, FORWARD_DESC)) {
            call.set(FORWARD_RELU, relu ? 1 : 0);
            call.set(FORWARD_COUNT, count);
            call.set(FORWARD_EPSILON, epsilon);
            call.input(FORWARD_X, "x", x);
            call.input(FORWARD_MEAN, "mean", mean);
            call.input(FORWARD_CENTERED, "centered", centered);
            call.input(FORWARD_GAMMA, "gamma", gamma);
            call.input(FORWARD_BETA, "beta", beta);
            call.input(FORWARD_MOMENTUM, "momentum", momentum);
            call.output(FORWARD_RUNNING_MEAN, "running_mean", runningMean);
            call.output(FORWARD_RUNNING_VARIANCE, "running_variance", runningVariance);
            call.output(FORWARD_RSTD, "rstd", rstd);
            call.output(FORWARD_Y, "y", y);
            call.input(FORWARD_RESIDUAL, "residual", residual);
            call.run();
        }
    }

    /**
     * y = (x − mean) / sqrt(variance + epsilon)·gamma + beta with the running statistics.
     *
     * @param mean (C) running mean
     * @param variance (C) running variance
     * @param y shape of x, written; may be x itself
     */
    public static void inference(
            GatunStream stream,
            boolean relu,
            double epsilon,
            Operand x,
            Operand mean,
            Operand variance,
            Operand gamma,
            Operand beta,
            Operand y) {
        try (Call call = Call.of(stream, INFERENCE_CALL, INFERENCE_DESC)) {
            call.set(INFERENCE_RELU, relu ? 1 : 0);
            call.set(INFERENCE_EPSILON, epsilon);
            call.input(INFERENCE_X, "x", x);
            call.input(INFERENCE_MEAN, "mean", mean);
            call.input(INFERENCE_VARIANCE, "variance", variance);
            call.input(INFERENCE_GAMMA, "gamma", gamma);
            call.input(INFERENCE_BETA, "beta", beta);
            call.output(INFERENCE_Y, "y", y);
            call.run();
        }
    }

    /** Bytes of workspace for {@link #backwardSums}. */
    public static long backwardSumsWorkspace(
            GatunStream stream,
            boolean relu,
            Operand x,
            Operand mean,
            Operand rstd,
            Operand gamma,
            Operand beta,
            Operand dy,
            Operand dgamma,
            Operand dbeta) {
        try (Call call = Call.of(stream, SUMS_WORKSPACE, SUMS_DESC)) {
            call.set(SUMS_RELU, relu ? 1 : 0);
            call.input(SUMS_X, "x", x);
            call.input(SUMS_MEAN, "mean", mean);
            call.input(SUMS_RSTD, "rstd", rstd);
            call.input(SUMS_GAMMA, "gamma", gamma);
            call.input(SUMS_BETA, "beta", beta);
            call.input(SUMS_DY, "dy", dy);
            call.output(SUMS_DGAMMA, "dgamma", dgamma);
            call.output(SUMS_DBETA, "dbeta", dbeta);
            return call.queryWorkspace();
        }
    }

    /**
     * The sums over rows that the gradient needs; they are the gradients of gamma and beta too.
     *
     * @param x input of {@link #forward}
     * @param mean (C) of the forward pass
     * @param rstd (C) of the forward pass
     * @param dy shape of x
     * @param dgamma (C), written: Σ dy·(x − mean)·rstd; needed by {@link #backward} even without gamma
     * @param dbeta (C), written: Σ dy
     * @param y of a forward pass with a residual and a rectifier: its result, else {@link Operand#NONE}. {@link #backward} then takes dresidual
     *     as dy, without a rectifier. On the CPU only
     * @param dresidual shape of x, written: dy where y was positive, the gradient of the residual; may be dy itself; there with y only
     * @param workspace of {@link #backwardSumsWorkspace} bytes, aligned to 64
     */
    public static void backwardSums(
            GatunStream stream,
            boolean relu,
            Operand x,
            Operand mean,
            Operand rstd,
            Operand gamma,
            Operand beta,
            Operand dy,
            Operand dgamma,
            Operand dbeta,
            Operand y,
            Operand dresidual,
            MemorySegment workspace) {
        try (Call call = Call.of(stream, SUMS_CALL, SUMS_DESC)) {
            call.set(SUMS_RELU, relu ? 1 : 0);
            call.input(SUMS_X, "x", x);
            call.input(SUMS_MEAN, "mean", mean);
            call.input(SUMS_RSTD, "rstd", rstd);
            call.input(SUMS_GAMMA, "gamma", gamma);
            call.input(SUMS_BETA, "beta", beta);
            call.input(SUMS_DY, "dy", dy);
            call.output(SUMS_DGAMMA, "dgamma", dgamma);
            call.output(SUMS_DBETA, "dbeta", dbeta);
            call.input(SUMS_Y, "y", y);
            call.output(SUMS_DRESIDUAL, "dresidual", dresidual);
            call.runWithWorkspace(workspace);
        }
    }

    /**
     * dx = gamma·rstd·(dy − (dbeta + x̂·dgamma) / count), x̂ = (x − mean)·rstd.
     *
     * @param count as in {@link #forward}
     * @param dgamma (C) of {@link #backwardSums}, over all machines
     * @param dbeta (C) of {@link #backwardSums}, over all machines
     * @param dx shape of x, written; may be dy itself
     */
    public static void backward(
            GatunStream stream,
            boolean relu,
            long count,
            Operand x,
            Operand mean,
            Operand rstd,
            Operand gamma,
            Operand beta,
            Operand dy,
            Operand dgamma,
            Operand dbeta,
            Operand dx) {
        try (Call call = Call.of(stream, BACKWARD_CALL, BACKWARD_DESC)) {
            call.set(BACKWARD_RELU, relu ? 1 : 0);
            call.set(BACKWARD_COUNT, count);
            call.input(BACKWARD_X, "x", x);
            call.input(BACKWARD_MEAN, "mean", mean);
            call.input(BACKWARD_RSTD, "rstd", rstd);
            call.input(BACKWARD_GAMMA, "gamma", gamma);
            call.input(BACKWARD_BETA, "beta", beta);
            call.input(BACKWARD_DY, "dy", dy);
            call.input(BACKWARD_DGAMMA, "dgamma", dgamma);
            call.input(BACKWARD_DBETA, "dbeta", dbeta);
            call.output(BACKWARD_DX, "dx", dx);
            call.run();
        }
    }
}

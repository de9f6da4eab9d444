// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Batch normalisation (Ioffe and Szegedy, 2015) over all dimensions but the last, with an optional ReLU in the same pass over
 * memory. The batch's variance is biased, the running one unbiased.
 */
public final class BatchNorm implements Function {
    private final RunningStatistics running;
    private final boolean relu;

    private BatchNorm(RunningStatistics running, boolean relu) {
        this.running = running;
        this.relu = relu;
    }

    /**
     * Training: normalises by the batch's statistics and moves the running ones towards them.
     *
     * @param x (..., C), at least two rows; f32, or on a CUDA device bf16 or f16, as the result; all else is f32
     * @param gamma (C) scale
     * @param beta (C) shift
     * @param running its mean and variance are overwritten
     * @param relu whether a ReLU follows
     * @return shape and dtype of x
     * @throws TensorException for fewer than two rows
     */
    public static Tensor apply(Tensor x, Tensor gamma, Tensor beta, RunningStatistics running, boolean relu) {
        checkRows(x);
        return Function.apply(new BatchNorm(running, relu), x, gamma, beta);
    }

    /**
     * As {@link #apply}, with a residual and a ReLU behind it, y = max(0, norm(x) + residual): the end of a residual block. On the CPU
     * the sum takes no pass over memory of its own; elsewhere it does.
     *
     * @param residual shape and dtype of x
     */
    public static Tensor applyResidual(Tensor x, Tensor residual, Tensor gamma, Tensor beta, RunningStatistics running) {
        if (!Arrays.equals(x.shape(), residual.shape()) || x.dtype() != residual.dtype()) {
            throw new TensorException("batch norm: x is " + x.describe() + ", the residual is " + residual.describe());
        }
        if (x.scope().device().kind() != DeviceKind.CPU) {
            Tensor y = apply(x, gamma, beta, running, false);
            Tensor sum = StochasticDepth.joinMasked(residual, y, null, null, true);
            Scope.discard(y, x, residual, sum);
            return sum;
        }
        checkRows(x);
        return Function.apply(new BatchNorm(running, true), x, gamma, beta, residual);
    }

    static void checkRows(Tensor x) {
        if (x.rank() < 2 || x.elements() / Math.max(1, x.size(-1)) < 2) {
            throw new TensorException("batch norm: needs at least two rows in training, given " + x.describe());
        }
    }

    /** Inference: normalises by given statistics. Differentiable in x, gamma and beta. */
    public static Tensor inference(Tensor x, Tensor gamma, Tensor beta, RunningStatistics running, boolean relu) {
        if (x.tracked() || gamma.tracked() || beta.tracked()) {
            Scope scope = x.scope();
            Tensor variance = scope.attach(running.variance().detach());
            Tensor rstd = scope.full(1f, variance.shape()).div(variance.add((float) running.epsilon()).sqrt());
            Tensor y = x.to(DType.F32).sub(running.mean().detach()).mul(rstd.mul(gamma)).add(beta).to(x.dtype());
            return relu ? Activation.relu(y) : y;
        }
        return Function.apply(new Inference(running, relu), x, gamma, beta);
    }

    /** The untracked case in one pass over memory. */
    private record Inference(RunningStatistics running, boolean relu) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.like(in[0]);
            dev.gatun.primitives.BatchNorm.inference(
                    c.stream(),
                    relu,
                    running.epsilon(),
                    c.rows(in[0]).operand(),
                    running.mean().operand(),
                    running.variance().operand(),
                    in[1].operand(),
                    in[2].operand(),
                    y.operand());
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            throw new IllegalStateException("an untracked result has no gradient");
        }
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor x = c.rows(in[0]);
        long channels = x.size(-1);
        Tensor mean = c.empty(channels);
        Tensor rstd = c.empty(channels);
        Tensor centered = c.empty(channels);
        Tensor y = c.like(x);
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.BatchNorm.statisticsWorkspace(
                    c.stream(), x.operand(), mean.operand(), centered.operand());
            dev.gatun.primitives.BatchNorm.statistics(
                    c.stream(), x.operand(), mean.operand(), centered.operand(), work.workspace(bytes));
            dev.gatun.primitives.BatchNorm.forward(
                    c.stream(),
                    relu,
                    x.elements() / channels,
                    running.epsilon(),
                    x.operand(),
                    mean.operand(),
                    centered.operand(),
                    in[1].operand(),
                    in[2].operand(),
                    work.full(running.momentum(), 1).operand(),
                    running.mean().operand(),
                    running.variance().operand(),
                    rstd.operand(),
                    y.operand(),
                    in.length > 3 ? c.rows(in[3]).operand() : Operand.NONE);
        }
        // without a gradient nothing here keeps x until somebody asks
        if (in.length == 3 && c.needsGradient() && c.device().kind() == DeviceKind.CPU) {
            Operand gamma = in[1].operand();
            Operand beta = in[2].operand();
            c.recomputable(y, x, (from, to) -> again(from, mean, centered, gamma, beta, to));
        }
        running.written();
        if (in.length > 3) {
            c.save(x, in[1], in[2], mean, rstd, y);
        } else {
            c.save(x, in[1], in[2], mean, rstd);
        }
        return y;
    }

    /** What {@link #forward} wrote, to the bit: one pass, where a convolution's result is kept and this one's is not. */
    private void again(Tensor x, Tensor mean, Tensor centered, Operand gamma, Operand beta, Tensor y) {
        try (Scope work = y.scope().open()) {
            dev.gatun.primitives.BatchNorm.forward(
                    y.device().stream(),
                    relu,
                    x.elements() / x.size(-1),
                    running.epsilon(),
                    x.operand(),
                    mean.operand(),
                    centered.operand(),
                    gamma,
                    beta,
                    Operand.NONE,
                    Operand.NONE,
                    Operand.NONE,
                    work.empty(x.size(-1)).operand(),
                    y.operand(),
                    Operand.NONE);
        }
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        Operand x = c.saved(0).operand();
        Operand gamma = c.saved(1).operand();
        Operand beta = c.saved(2).operand();
        Operand mean = c.saved(3).operand();
        Operand rstd = c.saved(4).operand();
        Tensor dy = c.dense(g[0]);
        // y is positive where what went into the ReLU was
        Tensor dresidual = c.inputs() > 3 ? c.reuse(g[0]) : null;
        Operand y = dresidual == null ? Operand.NONE : c.saved(5).operand();
        Tensor dgamma = c.empty(c.inputShape(1));
        Tensor dbeta = c.empty(c.inputShape(2));
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.BatchNorm.backwardSumsWorkspace(
                    c.stream(), relu, x, mean, rstd, gamma, beta, dy.operand(), dgamma.operand(), dbeta.operand());
            dev.gatun.primitives.BatchNorm.backwardSums(
                    c.stream(),
                    relu,
                    x,
                    mean,
                    rstd,
                    gamma,
                    beta,
                    dy.operand(),
                    dgamma.operand(),
                    dbeta.operand(),
                    y,
                    dresidual == null ? Operand.NONE : dresidual.operand(),
                    work.workspace(bytes));
        }
        Tensor dx = null;
        if (c.needsGradient(0)) {
            dx = dresidual == null ? c.reuse(g[0]) : c.empty(c.inputType(0), c.inputShape(0));
            dev.gatun.primitives.BatchNorm.backward(
                    c.stream(),
                    relu && dresidual == null,
                    c.saved(0).elements() / dgamma.elements(),
                    x,
                    mean,
                    rstd,
                    gamma,
                    beta,
                    (dresidual == null ? dy : dresidual).operand(),
                    dgamma.operand(),
                    dbeta.operand(),
                    dx.operand());
        }
        return dresidual == null ? new Tensor[] {dx, dgamma, dbeta} : new Tensor[] {dx, dgamma, dbeta, dresidual};
    }

    @Override
    public String composedForm() {
        return "x.sub(x.mean(0)) divided by the root of its mean square";
    }
}

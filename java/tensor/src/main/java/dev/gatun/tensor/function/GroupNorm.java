// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Group normalisation (Wu and He, 2018) of channels-last images: each sample and group of channels by its own statistics. */
public final class GroupNorm implements Function {
    private final int groups;
    private final float epsilon;

    private GroupNorm(int groups, float epsilon) {
        this.groups = groups;
        this.epsilon = epsilon;
    }

    /**
     * (x − mean) / √(biased variance + epsilon) · gamma + beta, mean and variance over all positions and a group's channels.
     *
     * @param x (B, ..., C); f32, or on a CUDA device bf16 or f16, as the result; all else is f32
     * @param gamma (C)
     * @param beta (C)
     */
    public static Tensor apply(Tensor x, int groups, Tensor gamma, Tensor beta, double epsilon) {
        check(x, groups);
        return Function.apply(new GroupNorm(groups, (float) epsilon), x, gamma, beta);
    }

    /** In elementary operations, for where the gradient is differentiated again; without gamma and beta. */
    public static Tensor composed(Tensor x, int groups, double epsilon) {
        check(x, groups);
        long batch = x.size(0);
        long width = x.size(-1) / groups;
        Tensor parts = x.reshape(batch, x.elements() / Math.max(1, batch * x.size(-1)), groups, width);
        Tensor mean = parts.mean(1).mean(2).reshape(batch, 1, groups, 1);
        Tensor centred = parts.sub(mean);
        Tensor variance = centred.square().mean(1).mean(2).reshape(batch, 1, groups, 1);
        return centred.div(variance.add((float) epsilon).sqrt()).reshape(x.shape());
    }

    private static void check(Tensor x, int groups) {
        if (x.rank() < 2 || groups < 1 || x.size(-1) % groups != 0) {
            throw new TensorException("group norm: " + x.describe() + " in " + groups + " groups");
        }
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor x = c.dense(in[0]);
        Tensor y = c.like(x);
        Tensor mean = c.empty(x.size(0), groups);
        Tensor rstd = c.empty(x.size(0), groups);
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.GroupNorm.forwardWorkspace(
                    c.stream(),
                    epsilon,
                    groups,
                    x.operand(),
                    in[1].operand(),
                    in[2].operand(),
                    y.operand(),
                    mean.operand(),
                    rstd.operand());
            dev.gatun.primitives.GroupNorm.forward(
                    c.stream(),
                    epsilon,
                    groups,
                    x.operand(),
                    in[1].operand(),
                    in[2].operand(),
                    y.operand(),
                    mean.operand(),
                    rstd.operand(),
                    work.workspace(bytes));
        }
        c.save(x, in[1], mean, rstd);
        return y;
    }

    @Override
    public Tensor[] backward(FunctionContext c, Tensor... g) {
        Operand x = c.saved(0).operand();
        Operand gamma = c.saved(1).operand();
        Operand mean = c.saved(2).operand();
        Operand rstd = c.saved(3).operand();
        Operand dy = c.dense(g[0]).operand();
        Tensor dx = c.empty(c.inputType(0), c.inputShape(0));
        Tensor dgamma = c.empty(c.inputShape(1));
        Tensor dbeta = c.empty(c.inputShape(2));
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.GroupNorm.backwardWorkspace(
                    c.stream(), groups, x, gamma, mean, rstd, dy, dx.operand(), dgamma.operand(), dbeta.operand());
            dev.gatun.primitives.GroupNorm.backward(
                    c.stream(),
                    groups,
                    x,
                    gamma,
                    mean,
                    rstd,
                    dy,
                    dx.operand(),
                    dgamma.operand(),
                    dbeta.operand(),
                    work.workspace(bytes));
        }
        return new Tensor[] {dx, dgamma, dbeta};
    }

    @Override
    public String composedForm() {
        return "GroupNorm.composed";
    }
}

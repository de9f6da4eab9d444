// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;

/** Layer normalisation (Ba, Kiros, Hinton, 2016) along the last dimension. */
public final class LayerNorm implements Function {
    private final float epsilon;

    private LayerNorm(float epsilon) {
        this.epsilon = epsilon;
    }

    /**
     * (x − mean) / √(biased variance + epsilon) · gamma + beta for each row.
     *
     * @param x (..., C); f32, or on a CUDA device bf16 or f16, as the result; all else is f32
     * @param gamma (C)
     * @param beta (C)
     */
    public static Tensor apply(Tensor x, Tensor gamma, Tensor beta, double epsilon) {
        return Function.apply(new LayerNorm((float) epsilon), x, gamma, beta);
    }

    /** In elementary operations, for where the gradient is differentiated again; without gamma and beta. */
    public static Tensor composed(Tensor x, double epsilon) {
        long[] kept = x.shape();
        kept[kept.length - 1] = 1;
        Tensor centred = x.sub(x.mean(-1).reshape(kept));
        return centred.div(centred.square().mean(-1).reshape(kept).add((float) epsilon).sqrt());
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor x = c.rows(in[0]);
        long rows = x.elements() / Math.max(1, x.size(-1));
        Tensor y = c.like(x);
        Tensor mean = c.empty(rows);
        Tensor rstd = c.empty(rows);
        dev.gatun.primitives.LayerNorm.forward(
                c.stream(),
                epsilon,
                x.operand(),
                in[1].operand(),
                in[2].operand(),
                y.operand(),
                mean.operand(),
                rstd.operand());
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
            long bytes = dev.gatun.primitives.LayerNorm.backwardWorkspace(
                    c.stream(), x, gamma, mean, rstd, dy, dx.operand(), dgamma.operand(), dbeta.operand());
            dev.gatun.primitives.LayerNorm.backward(
                    c.stream(),
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
        return "LayerNorm.composed";
    }
}

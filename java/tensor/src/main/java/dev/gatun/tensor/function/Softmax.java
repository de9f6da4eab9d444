// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tensor;

/** Softmax along the last dimension: exp(x / temperature) / Σ exp(x / temperature). A row of only −∞ becomes zeros. */
public final class Softmax implements Function {
    private final float temperature;

    private Softmax(float temperature) {
        this.temperature = temperature;
    }

    /** With temperature 1. */
    public static Tensor apply(Tensor x) {
        return apply(x, 1f);
    }

    /** @param temperature positive; smaller is sharper */
    public static Tensor apply(Tensor x, float temperature) {
        return Function.apply(new Softmax(temperature), x);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor y = c.like(in[0]);
        dev.gatun.primitives.Softmax.forward(c.stream(), temperature, c.rows(in[0]).operand(), y.operand());
        c.save(y);
        return y;
    }

    @Override
    public Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor dx = c.like(c.saved(0));
        dev.gatun.primitives.Softmax.backward(
                c.stream(), temperature, c.saved(0).operand(), c.dense(g[0]).operand(), dx.operand());
        return new Tensor[] {dx};
    }

    @Override
    public String composedForm() {
        return "x.exp() divided by its sum";
    }
}

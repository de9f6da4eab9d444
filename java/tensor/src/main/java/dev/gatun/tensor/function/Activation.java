// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tensor;

/** The nonlinearities of networks, element by element. A NaN stays NaN. */
public final class Activation implements Function {
    private final dev.gatun.primitives.Activation.Function kind;

    private Activation(dev.gatun.primitives.Activation.Function kind) {
        this.kind = kind;
    }

    /** max(x, 0); derivative 0 at 0. */
    public static Tensor relu(Tensor x) {
        return Function.apply(new Activation(dev.gatun.primitives.Activation.Function.RELU), x);
    }

    /** x·Φ(x) with the exact normal distribution function. */
    public static Tensor gelu(Tensor x) {
        return Function.apply(new Activation(dev.gatun.primitives.Activation.Function.GELU), x);
    }

    /** 1 / (1 + e⁻ˣ). */
    public static Tensor sigmoid(Tensor x) {
        return Function.apply(new Activation(dev.gatun.primitives.Activation.Function.SIGMOID), x);
    }

    /** The hyperbolic tangent. */
    public static Tensor tanh(Tensor x) {
        return Function.apply(new Activation(dev.gatun.primitives.Activation.Function.TANH), x);
    }

    @Override
    public String name() {
        return kind.name().toLowerCase(java.util.Locale.ROOT);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor x = c.rows(in[0]);
        c.save(x);
        Tensor y = c.like(x);
        dev.gatun.primitives.Activation.forward(c.stream(), kind, x.operand(), y.operand());
        return y;
    }

    @Override
    public Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor dx = c.reuse(g[0]);
        dev.gatun.primitives.Activation.backward(
                c.stream(), kind, c.saved(0).operand(), c.dense(g[0]).operand(), dx.operand());
        return new Tensor[] {dx};
    }

    @Override
    public String composedForm() {
        return "exp and arithmetic of tensors";
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tensor;

/** Rows scaled to unit Euclidean length along the last dimension: y = x / max(‖x‖₂, epsilon). */
public final class L2Normalize implements Function {
    /** The usual smallest length divided by. */
    public static final float EPSILON = 1e-12f;

    private final float epsilon;

    private L2Normalize(float epsilon) {
        this.epsilon = epsilon;
    }

    /** Normalises (..., D) with {@link #EPSILON}. */
    public static Tensor apply(Tensor x) {
        return apply(x, EPSILON);
    }

    /** Normalises (..., D). */
    public static Tensor apply(Tensor x, float epsilon) {
        return Function.apply(new L2Normalize(epsilon), x);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor x = c.rows(in[0]);
        Tensor y = c.like(x);
        Tensor norm = c.empty(x.elements() / Math.max(1, x.size(-1)));
        dev.gatun.primitives.L2Normalize.forward(c.stream(), x.operand(), y.operand(), norm.operand(), epsilon);
        c.save(y, norm);
        return y;
    }

    @Override
    public Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor y = c.saved(0);
        Tensor dy = c.dense(g[0]);
        Tensor dx = c.like(y);
        dev.gatun.primitives.L2Normalize.backward(
                c.stream(), y.operand(), c.saved(1).operand(), dy.operand(), dx.operand(), epsilon);
        return new Tensor[] {dx};
    }

    @Override
    public String composedForm() {
        return "x.div(x.square().sum(dim).sqrt())";
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tensor;

/** Rows picked by index: y[i] = x[indices[i]]. */
public final class GatherRows implements Function {
    private final Tensor indices;

    private GatherRows(Tensor indices) {
        this.indices = indices;
    }

    /**
     * Picks rows; one may be picked several times.
     *
     * @param x any dtype (N, ...), each row contiguous; only f32 has a gradient
     * @param indices i32 (n), each in [0, N)
     * @return (n, ...)
     */
    public static Tensor apply(Tensor x, Tensor indices) {
        return Function.apply(new GatherRows(indices), x);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        long[] shape = in[0].shape();
        shape[0] = indices.elements();
        Tensor y = c.scope().empty(in[0].dtype(), shape);
        dev.gatun.primitives.GatherRows.forward(c.stream(), c.dense(in[0]).operand(), indices.operand(), y.operand());
        c.save(indices);
        return y;
    }

    @Override
    public Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor dx = c.empty(c.inputShape(0));
        dev.gatun.primitives.GatherRows.backward(
                c.stream(), c.dense(g[0]).operand(), c.saved(0).operand(), dx.operand());
        return new Tensor[] {dx};
    }
}

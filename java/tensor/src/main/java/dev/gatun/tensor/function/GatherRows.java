// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Rows picked by index: y[i] = x[indices[i]]. */
public final class GatherRows implements Function {
    private final Tensor indices;

    private GatherRows(Tensor indices) {
        this.indices = indices;
    }

    /**
     * Picks rows; one may be picked several times.
     *
     * @param x any dtype (N, ...), each row contiguous; floating types have a gradient
     * @param indices i32 (n), each in [0, N)
     * @return (n, ...)
     */
    public static Tensor apply(Tensor x, Tensor indices) {
        return Function.apply(new GatherRows(indices), x);
    }

    /**
     * Writes rows in place of others; those that no index names are not touched.
     *
     * @param x f32 (N, ...), contiguous, not tracked, its rows finite where they are replaced
     * @param rows f32 (n, ...)
     * @param indices i32 (n), each in [0, N), no row twice
     */
    public static void put(Tensor x, Tensor rows, Tensor indices) {
        GatunStream stream = x.device().stream();
        try (Scope work = rows.scope().open()) {
            Tensor old = work.empty(rows.shape());
            dev.gatun.primitives.GatherRows.forward(stream, x.operand(), indices.operand(), old.operand());
            // a number less itself is 0, to which the new one is added: both exact
            add(stream, old, indices, -1f, x);
            add(stream, rows, indices, 1f, x);
        }
        x.written();
    }

    private static void add(GatunStream stream, Tensor rows, Tensor indices, float factor, Tensor x) {
        dev.gatun.primitives.StochasticDepth.forward(
                stream, x.operand(), rows.operand(), indices.operand(), Operand.NONE, Operand.NONE, x.operand(), factor);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        long[] shape = in[0].shape();
        shape[0] = indices.elements();
        Tensor x = c.dense(in[0]).detach();
        Tensor y = c.scope().empty(x.dtype(), shape);
        gather(x, y);
        c.save(indices);
        c.recomputable(y, x, this::gather);
        return y;
    }

    private void gather(Tensor x, Tensor y) {
        dev.gatun.primitives.GatherRows.forward(y.device().stream(), x.operand(), indices.operand(), y.operand());
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor others = c.accumulator(0);
        if (others != null && others.rank() > 1 && others.isContiguous() && others.dtype() == g[0].dtype()) {
            // the rows that nothing picked are not touched: with a shortcut around a branch on some rows, these are most of the work
            Operand sum = others.operand();
            dev.gatun.primitives.StochasticDepth.forward(c.stream(), sum, c.dense(g[0]).operand(), c.saved(0).operand(),
                    Operand.NONE, Operand.NONE, sum, 1f);
            return new Tensor[] {null};
        }
        Tensor dx = c.empty(c.inputType(0), c.inputShape(0));
        dev.gatun.primitives.GatherRows.backward(
                c.stream(), c.dense(g[0]).operand(), c.saved(0).operand(), dx.operand());
        return new Tensor[] {dx};
    }
}

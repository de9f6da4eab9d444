// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.InfoNce.Gradients;
import dev.gatun.primitives.InfoNce.Inputs;
import dev.gatun.primitives.InfoNce.Result;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;

/**
 * The contrastive loss of SimCLR (NT-Xent: Chen et al., 2020), SupCon (Khosla et al., 2020) and their kin, without the matrix of scores.
 *
 * <p>Rows of one group are positives of each other, all other rows are negatives; a group below 0 is none. For a row i and scores
 * s_ij = z_i·z_j / temperature, the loss is log Σ_j exp(s_ij) − mean of s_ij over its positives, and 0 if it has none. Rows are compared as
 * they are: normalise them first ({@link L2Normalize}).
 */
public final class InfoNce implements Function {
    private final @Nullable Tensor keyGroups;
    private final Tensor queryGroups;
    private final float temperature;
    private final boolean mean;

    private InfoNce(Tensor queryGroups, @Nullable Tensor keyGroups, float temperature, boolean mean) {
        this.queryGroups = queryGroups;
        this.keyGroups = keyGroups;
        this.temperature = temperature;
        this.mean = mean;
    }

    /**
     * The mean loss over the rows that have a positive; 0 if none has. SimCLR's loss is this with {@link #twins}, SupCon's with labels as
     * groups. The gradient flows through both sides of each comparison.
     *
     * @param z (N, D), f32, or on a CUDA device bf16 or f16; every row is compared with all others
     * @param groups i32 (N)
     * @param temperature positive
     * @return a scalar
     */
    public static Tensor apply(Tensor z, Tensor groups, float temperature) {
        return Function.apply(new InfoNce(groups, null, temperature, true), z);
    }

    /** The loss of each row (N); otherwise as {@link #apply(Tensor, Tensor, float)}. */
    public static Tensor rows(Tensor z, Tensor groups, float temperature) {
        return Function.apply(new InfoNce(groups, null, temperature, false), z);
    }

    /**
     * The mean loss over the queries that have a positive among the keys; 0 if none has. Keys that are not tracked, such as a queue's, cost
     * no gradient.
     *
     * @param q (N, D); each row is compared with all keys
     * @param k (M, D)
     * @param queryGroups i32 (N)
     * @param keyGroups i32 (M)
     * @param temperature positive
     * @return a scalar
     */
    public static Tensor apply(Tensor q, Tensor k, Tensor queryGroups, Tensor keyGroups, float temperature) {
        return Function.apply(new InfoNce(queryGroups, keyGroups, temperature, true), q, k);
    }

    /** The loss of each query (N); otherwise as {@link #apply(Tensor, Tensor, Tensor, Tensor, float)}. */
    public static Tensor rows(Tensor q, Tensor k, Tensor queryGroups, Tensor keyGroups, float temperature) {
        return Function.apply(new InfoNce(queryGroups, keyGroups, temperature, false), q, k);
    }

    /**
     * The groups of a batch of two views, view after view: row i and row i + pairs are one pair.
     *
     * @return i32 (2·pairs): 0, 1, …, pairs − 1, 0, 1, …, pairs − 1
     */
    public static Tensor twins(int pairs, Scope scope) {
        return scope.fromHost(DType.I32, target -> {
            for (int i = 0; i < 2 * pairs; i++) {
                target.setAtIndex(ValueLayout.JAVA_INT, i, i % pairs);
            }
        }, 2L * pairs);
    }

    private Inputs inputs(Tensor q, @Nullable Tensor k, Tensor groups, @Nullable Tensor otherGroups) {
        return new Inputs(
                q.operand(),
                k == null ? Operand.NONE : k.operand(),
                groups.operand(),
                otherGroups == null ? Operand.NONE : otherGroups.operand(),
                temperature);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor q = matrix(c, in[0]);
        Tensor k = in.length > 1 ? matrix(c, in[1]) : null;
        Tensor groups = c.dense(queryGroups);
        Tensor otherGroups = keyGroups == null ? null : c.dense(keyGroups);
        Tensor loss = c.empty(q.size(0));
        Tensor lse = c.empty(q.size(0));
        Tensor positives = c.scope().empty(DType.I32, q.size(0));
        Inputs inputs = inputs(q, k, groups, otherGroups);
        Result result = new Result(loss.operand(), lse.operand(), positives.operand());
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.InfoNce.forwardWorkspace(c.stream(), inputs, result);
            dev.gatun.primitives.InfoNce.forward(c.stream(), inputs, result, work.workspace(bytes));
        }
        // What a row's gradient is multiplied with.
        Tensor each = mean ? Share.of(positives, 1).reshape(1) : c.scope().full(1f, 1);
        if (k == null || otherGroups == null) {
            c.save(q, groups, lse, positives, each);
        } else {
            c.save(q, groups, lse, positives, each, k, otherGroups);
        }
        return mean ? loss.sum().mul(each.reshape()) : loss;
    }

    private static Tensor matrix(FunctionContext c, Tensor t) {
        if (t.rank() != 2 || !t.dtype().floating()) {
            throw new TensorException("InfoNCE: needs rows (N, D) of a floating type, given " + t.describe());
        }
        return c.channels(t);
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        boolean self = c.inputs() == 1;
        Inputs inputs = inputs(c.saved(0), self ? null : c.saved(5), c.saved(1), self ? null : c.saved(6));
        Operand lse = c.saved(2).operand();
        Operand positives = c.saved(3).operand();
        Tensor dq = c.empty(c.inputType(0), c.inputShape(0));
        Tensor dk = !self && c.needsGradient(1) ? c.empty(c.inputType(1), c.inputShape(1)) : null;
        Gradients gradients = new Gradients(dq.operand(), dk == null ? Operand.NONE : dk.operand());
        try (Scope work = c.scope().open()) {
            Operand dloss = work.attach(c.dense(g[0])).operand();
            if (mean) {
                // one value for all rows
                Tensor one = work.attach(g[0]).reshape(1).mul(c.saved(4));
                dloss = new Operand(one.operand().segment(), Layout.strided(DType.F32, new long[] {dq.size(0)}, new long[] {0}));
            }
            long bytes = dev.gatun.primitives.InfoNce.backwardWorkspace(
                    c.stream(), inputs, lse, positives, dloss, gradients);
            dev.gatun.primitives.InfoNce.backward(
                    c.stream(), inputs, lse, positives, dloss, gradients, work.workspace(bytes));
        }
        return self ? new Tensor[] {dq} : new Tensor[] {dq, dk};
    }

    @Override
    public String composedForm() {
        return "q.matmulTransposed(k), exp, sum and log, and the scores of the positives picked by a mask";
    }
}

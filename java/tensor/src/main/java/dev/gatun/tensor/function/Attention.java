// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.Attention.Gradients;
import dev.gatun.primitives.Attention.Inputs;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import org.jspecify.annotations.Nullable;

/** Scaled dot-product attention, softmax(scale · q·kᵀ + bias)·v, without the matrix of scores. */
public final class Attention {
    private static final String COMPOSED = "q.matmulTransposed(k), a softmax of exp and sum, and matmul(v) for each head";

    private Attention() {}

    /**
     * Batched attention.
     *
     * @param q (B, Nq, H, D), f32 or on a CUDA device bf16 or f16, as k, v and the result
     * @param k (B, Nk, H, D)
     * @param v (B, Nk, H, D)
     * @param causal whether query i sees only keys j ≤ i + (Nk − Nq)
     * @return (B, Nq, H, D)
     */
    public static Tensor apply(Tensor q, Tensor k, Tensor v, float scale, boolean causal) {
        return Function.apply(new Separate(scale, causal), q, k, v);
    }

    /** As {@link #apply(Tensor, Tensor, Tensor, float, boolean)} with an f32 bias (B, H, Nq, Nk) on the scores; its first three sizes may be 1. */
    public static Tensor apply(Tensor q, Tensor k, Tensor v, Tensor bias, float scale, boolean causal) {
        return Function.apply(new Separate(scale, causal), q, k, v, bias);
    }

    /**
     * Self-attention on one buffer, which is read and whose gradient is written in place of its three parts.
     *
     * @param qkv (B, N, 3·H·D), queries, keys and values one after the other, heads within each: the output of one linear layer
     * @return (B, N, H·D)
     */
    public static Tensor self(Tensor qkv, int heads, boolean causal) {
        if (qkv.rank() != 3 || qkv.size(2) % (3L * heads) != 0) {
            throw new TensorException("attention: needs (B, N, 3·heads·D) with " + heads + " heads, given " + qkv.describe());
        }
        long width = qkv.size(2) / 3;
        Tensor parts = qkv.reshape(qkv.size(0), qkv.size(1), 3, heads, width / heads);
        return Function.apply(new Self(null, causal), parts).reshape(qkv.size(0), qkv.size(1), width);
    }

    /**
     * Self-attention of sequences of several lengths in one buffer, each attending to itself alone.
     *
     * @param qkv (T, 3·H·D): all tokens of all sequences
     * @param offsets i32 (S + 1): sequence s is rows offsets[s] to offsets[s+1] − 1
     * @return (T, H·D)
     */
    public static Tensor selfRagged(Tensor qkv, Tensor offsets, int heads) {
        if (qkv.rank() != 2 || qkv.size(1) % (3L * heads) != 0) {
            throw new TensorException("attention: needs (T, 3·heads·D) with " + heads + " heads, given " + qkv.describe());
        }
        long width = qkv.size(1) / 3;
        Tensor parts = qkv.reshape(qkv.size(0), 3, heads, width / heads);
        return Function.apply(new Self(offsets, false), parts).reshape(qkv.size(0), width);
    }

    private static void forward(FunctionContext c, Inputs inputs, Tensor out, Tensor logSumExp) {
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.Attention.forwardWorkspace(
                    c.stream(), inputs, out.operand(), logSumExp.operand());
            dev.gatun.primitives.Attention.forward(
                    c.stream(), inputs, out.operand(), logSumExp.operand(), work.workspace(bytes));
        }
    }

    private static void backward(
            FunctionContext c, Inputs inputs, Tensor out, Tensor logSumExp, Tensor dout, Gradients gradients) {
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.Attention.backwardWorkspace(
                    c.stream(), inputs, out.operand(), logSumExp.operand(), dout.operand(), gradients);
            dev.gatun.primitives.Attention.backward(
                    c.stream(),
                    inputs,
                    out.operand(),
                    logSumExp.operand(),
                    dout.operand(),
                    gradients,
                    work.workspace(bytes));
        }
    }

    private static void check(Tensor q, Tensor k, Tensor v) {
        if (q.rank() != 4 || k.rank() != 4 || v.rank() != 4) {
            throw new TensorException("attention: needs (B, N, H, D), given " + q.describe() + ", " + k.describe() + ", " + v.describe());
        }
    }

    /** Queries, keys and values as tensors of their own. */
    private record Separate(float scale, boolean causal) implements Function {
        @Override
        public String name() {
            return "attention";
        }

        private Inputs inputs(Tensor q, Tensor k, Tensor v, @Nullable Tensor bias) {
            return new Inputs(
                    q.operand(),
                    k.operand(),
                    v.operand(),
                    bias == null ? Operand.NONE : bias.operand(),
                    Operand.NONE,
                    Operand.NONE,
                    scale,
                    causal);
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            check(in[0], in[1], in[2]);
            Tensor out = c.like(in[0]);
            Tensor logSumExp = c.empty(in[0].size(0), in[0].size(2), in[0].size(1));
            Tensor bias = in.length > 3 ? in[3] : null;
            Attention.forward(c, inputs(in[0], in[1], in[2], bias), out, logSumExp);
            if (bias == null) {
                c.save(in[0], in[1], in[2], out, logSumExp);
            } else {
                c.save(in[0], in[1], in[2], out, logSumExp, bias);
            }
            return out;
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor bias = c.inputs() > 3 ? c.saved(5) : null;
            Tensor dq = c.empty(c.inputType(0), c.inputShape(0));
            Tensor dk = c.empty(c.inputType(1), c.inputShape(1));
            Tensor dv = c.empty(c.inputType(2), c.inputShape(2));
            Tensor dbias = bias != null && c.needsGradient(3) ? c.emptyGradient(3) : null;
            Gradients gradients = new Gradients(
                    dq.operand(), dk.operand(), dv.operand(), dbias == null ? Operand.NONE : dbias.operand());
            Attention.backward(
                    c, inputs(c.saved(0), c.saved(1), c.saved(2), bias), c.saved(3), c.saved(4), c.dense(g[0]), gradients);
            return bias == null ? new Tensor[] {dq, dk, dv} : new Tensor[] {dq, dk, dv, dbias};
        }

        @Override
        public String composedForm() {
            return COMPOSED;
        }
    }

    /** Three views of one buffer (..., 3, H, D). */
    private record Self(@Nullable Tensor offsets, boolean causal) implements Function {
        @Override
        public String name() {
            return "attention";
        }

        /** One of the three as a view without its dimension. */
        private static Operand part(Tensor qkv, int index) {
            int dim = qkv.rank() - 3;
            Tensor slice = qkv.detach().slice(dim, index, index + 1);
            long[] shape = new long[qkv.rank() - 1];
            for (int i = 0, j = 0; i < qkv.rank(); i++) {
                if (i != dim) {
                    shape[j++] = qkv.size(i);
                }
            }
            return slice.reshape(shape).operand();
        }

        private Inputs inputs(Tensor qkv) {
            float scale = (float) (1 / Math.sqrt(qkv.size(-1)));
            Operand rows = offsets == null ? Operand.NONE : offsets.operand();
            return new Inputs(part(qkv, 0), part(qkv, 1), part(qkv, 2), Operand.NONE, rows, rows, scale, causal);
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor qkv = in[0];
            long heads = qkv.size(-2);
            long depth = qkv.size(-1);
            boolean ragged = offsets != null;
            long rows = qkv.size(0);
            long[] shape = ragged ? new long[] {rows, heads, depth} : new long[] {rows, qkv.size(1), heads, depth};
            Tensor out = c.empty(qkv.dtype(), shape);
            Tensor logSumExp = ragged ? c.empty(heads, rows) : c.empty(rows, heads, qkv.size(1));
            Attention.forward(c, inputs(qkv), out, logSumExp);
            c.save(qkv, out, logSumExp);
            return out;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor dqkv = c.empty(c.inputType(0), c.inputShape(0));
            Gradients gradients = new Gradients(part(dqkv, 0), part(dqkv, 1), part(dqkv, 2));
            Attention.backward(c, inputs(c.saved(0)), c.saved(1), c.saved(2), c.dense(g[0]), gradients);
            return new Tensor[] {dqkv};
        }

        @Override
        public String composedForm() {
            return COMPOSED;
        }
    }
}

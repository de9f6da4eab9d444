// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Residual branches that are dropped at random for each sample, joined to their input with LayerScale in one pass over memory. */
public final class StochasticDepth implements Function {
    private static final dev.gatun.primitives.Activation.Function RELU = dev.gatun.primitives.Activation.Function.RELU;

    private final @Nullable Tensor indices;
    private final @Nullable Tensor mask;
    private final float scale;
    private final boolean relu;

    private StochasticDepth(@Nullable Tensor indices, @Nullable Tensor mask, float scale, boolean relu) {
        this.indices = indices;
        this.mask = mask;
        this.scale = scale;
        this.relu = relu;
    }

    /**
     * A factor for each sample: 0 with probability {@code rate}, else 1 / (1 − rate).
     *
     * @param ids i64 (samples): a sample's decision is a function of the key and its id
     * @return f32 (samples), in {@code scope}
     */
    public static Tensor mask(Scope scope, RandomKey key, Tensor ids, double rate) {
        Tensor mask = scope.empty(ids.size(0));
        try (Scope work = scope.open()) {
            dev.gatun.primitives.StochasticDepth.mask(
                    scope.device().stream(), work.key(key), ids.operand(), 0, mask.operand(), (float) rate);
        }
        return mask;
    }

    /**
     * A random subset of exactly max(⌊samples (1 − rate)⌋, 1) samples.
     *
     * @param ids i64 (samples): the subset is a function of the key and the ids
     * @return i32 indices, no row twice, in {@code scope}
     */
    public static Tensor subset(Scope scope, RandomKey key, Tensor ids, double rate) {
        int samples = Math.toIntExact(ids.size(0));
        Tensor indices = scope.empty(DType.I32, dev.gatun.primitives.StochasticDepth.kept(samples, rate));
        try (Scope work = scope.open()) {
            long bytes = dev.gatun.primitives.StochasticDepth.subsetWorkspace(
                    scope.device().stream(), samples, indices.operand());
            dev.gatun.primitives.StochasticDepth.subset(
                    scope.device().stream(),
                    work.key(key),
                    ids.operand(),
                    0,
                    samples,
                    indices.operand(),
                    work.workspace(bytes));
        }
        return indices;
    }

    /**
     * y = x + mask · gamma ⊙ residual for each sample, then a ReLU if wanted, which keeps nothing but y.
     *
     * @param x (B, ..., C); f32, or on a CUDA device bf16 or f16, as the residual and the result
     * @param residual shape of x
     * @param mask (B) of {@link #mask}, or null: 1
     * @param gamma f32 (C) LayerScale's factor of each channel, or null: 1
     */
    public static Tensor joinMasked(
            Tensor x, Tensor residual, @Nullable Tensor mask, @Nullable Tensor gamma, boolean relu) {
        return join(new StochasticDepth(null, mask, 1f, relu), x, residual, gamma);
    }

    /**
     * y = x, and where sample s is indices[i]: y[s] += B / n · gamma ⊙ residual[i]; then a ReLU if wanted.
     *
     * @param x (B, ..., C)
     * @param residual (n, ..., C): the branch of the samples that {@code indices} picked
     * @param indices i32 (n) of {@link #subset}
     * @param gamma (C), or null: 1
     */
    public static Tensor joinSubset(
            Tensor x, Tensor residual, Tensor indices, @Nullable Tensor gamma, boolean relu) {
        float scale = (float) ((double) x.size(0) / indices.elements());
        return join(new StochasticDepth(indices, null, scale, relu), x, residual, gamma);
    }

    private static Tensor join(StochasticDepth function, Tensor x, Tensor residual, @Nullable Tensor gamma) {
        return gamma == null ? Function.apply(function, x, residual) : Function.apply(function, x, residual, gamma);
    }

    private static Operand operand(@Nullable Tensor t) {
        return t == null ? Operand.NONE : t.operand();
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor y = c.like(in[0]);
        Operand gamma = in.length > 2 ? in[2].operand() : Operand.NONE;
        dev.gatun.primitives.StochasticDepth.forward(
                c.stream(), c.dense(in[0]).operand(), c.dense(in[1]).operand(), operand(indices), operand(mask), gamma, y.operand(), scale);
        if (relu) {
            dev.gatun.primitives.Activation.forward(c.stream(), RELU, y.operand(), y.operand());
        }
        if (in.length > 2) {
            Tensor residual = c.dense(in[1]);
            c.save(relu ? y : residual, residual, in[2]);
        } else if (relu) {
            c.save(y);
        }
        return y;
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        boolean scaled = c.inputs() > 2;
        boolean wantsGamma = scaled && c.needsGradient(2);
        Tensor dy = c.dense(g[0]);
        if (relu) {
            // y is positive where what went into the ReLU was
            Tensor inside = c.reuse(g[0]);
            dev.gatun.primitives.Activation.backward(
                    c.stream(), RELU, c.saved(0).operand(), dy.operand(), inside.operand());
            dy = inside;
        }
        if (!scaled && mask == null && indices == null) {
            return new Tensor[] {dy, dy};
        }
        Tensor dresidual = null;
        Tensor dgamma = wantsGamma ? c.empty(c.inputShape(2)) : null;
        if (c.needsGradient(1) || wantsGamma) {
            dresidual = c.empty(c.inputType(1), c.inputShape(1));
            Operand gamma = scaled ? c.saved(2).operand() : Operand.NONE;
            Operand residual = wantsGamma ? c.saved(1).operand() : Operand.NONE;
            try (Scope work = c.scope().open()) {
                long bytes = dev.gatun.primitives.StochasticDepth.backwardWorkspace(
                        c.stream(),
                        dy.operand(),
                        operand(indices),
                        operand(mask),
                        gamma,
                        dresidual.operand(),
                        operand(dgamma));
                dev.gatun.primitives.StochasticDepth.backward(
                        c.stream(),
                        dy.operand(),
                        residual,
                        operand(indices),
                        operand(mask),
                        gamma,
                        dresidual.operand(),
                        operand(dgamma),
                        scale,
                        work.workspace(bytes));
            }
        }
        return scaled ? new Tensor[] {dy, dresidual, dgamma} : new Tensor[] {dy, dresidual};
    }

    @Override
    public String composedForm() {
        return "x.add(residual.mul(mask))";
    }
}

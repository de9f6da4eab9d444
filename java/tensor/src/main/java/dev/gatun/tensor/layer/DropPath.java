// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.GatherRows;
import dev.gatun.tensor.function.Sequences;
import dev.gatun.tensor.function.StochasticDepth;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A residual connection with stochastic depth: x + drop(γ ⊙ branch(x)). In training each sample's branch is dropped at random; in
 * inference none is. Two draws of one pass differ, and so do those of a sample's views; each is a function of the sample's id
 * ({@link Pass#withSamples}), not of its place in the batch.
 */
public final class DropPath {
    /** How samples are dropped. */
    public enum Form {
        /** Each sample on its own with probability rate; the branch runs on all (Huang et al., 2016). */
        MASK,
        /** Exactly max(⌊B (1 − rate)⌋, 1) samples are kept; the branch runs on those only (DINOv2). */
        SUBSET
    }

    private final double rate;
    private final Form form;
    private final boolean relu;

    /** Without a ReLU. */
    public DropPath(double rate, Form form) {
        this(rate, form, false);
    }

    /**
     * With or without a ReLU.
     *
     * @param rate probability that a sample's branch is dropped, in [0, 1)
     * @param relu whether a ReLU follows, which then takes no memory of its own
     */
    public DropPath(double rate, Form form, boolean relu) {
        if (!(rate >= 0 && rate < 1)) {
            throw new TensorException("drop path: rate " + rate + " is not in [0, 1)");
        }
        this.rate = rate;
        this.form = form;
        this.relu = relu;
    }

    /** Whether a pass may drop a branch. */
    public boolean drops(Pass pass) {
        return pass.training() && rate > 0;
    }

    /** x + drop(branch(x)): a block whose shortcut is its input. */
    public Tensor residual(Pass pass, Tensor x, Layer branch) {
        return residual(pass, x, x, branch, null);
    }

    /**
     * shortcut + drop(γ ⊙ branch(x)), and a ReLU if this has one. In training with {@link Form#SUBSET} the branch sees the kept rows of x only, forward and
     * backward: what it costs and keeps falls with the rate, and statistics that it takes over the batch are those of the kept rows.
     *
     * @param shortcut (B, ..., C), of all rows: x itself, or what a block makes of it where it changes the shape
     * @param x (B, ...), the branch's input
     * @param branch from rows of x to rows of the shortcut's shape; it must not keep its input or its result beyond the call
     * @param gamma (C), LayerScale; null: 1
     */
    public Tensor residual(Pass pass, Tensor shortcut, Tensor x, Layer branch, @Nullable Parameter gamma) {
        Tensor scale = gamma == null ? null : pass.use(gamma);
        if (!drops(pass)) {
            return masked(shortcut, x, branch.forward(pass, x), null, scale);
        }
        if (form == Form.MASK) {
            Tensor mask = StochasticDepth.mask(x.scope(), pass.nextKey(), pass.samples(x.size(0)), rate);
            return masked(shortcut, x, branch.forward(pass, x), mask, scale);
        }
        Tensor kept = StochasticDepth.subset(x.scope(), pass.nextKey(), pass.samples(x.size(0)), rate);
        Tensor some = GatherRows.apply(x, kept);
        Tensor residual = branch.forward(pass, some);
        Tensor y = StochasticDepth.joinSubset(shortcut, residual, kept, scale, relu);
        Scope.discard(residual, shortcut, x, some, y);
        if (relu) {
            // x is the ReLU of the block before, which keeps it: the branch's first operation gets its rows from there once more in backward
            some.release();
        }
        return y;
    }

    /**
     * Which of a batch's sequences run through a branch that is one function, and what its result is multiplied by. A mask's dropped sequences
     * are left out like those that are not in a subset: their factor would be 0.
     */
    Sequences.Group group(Pass pass, int count, int length) {
        if (!drops(pass)) {
            return new Sequences.Group(count, length, null, count, 1f);
        }
        Tensor ids = pass.samples(count);
        if (form == Form.SUBSET) {
            Tensor kept = StochasticDepth.subset(pass.scope(), pass.nextKey(), ids, rate);
            int most = Math.toIntExact(kept.elements());
            return new Sequences.Group(count, length, kept, most, (float) ((double) count / most));
        }
        float[] mask;
        try (Scope work = pass.scope().open()) {
            mask = StochasticDepth.mask(work, pass.nextKey(), ids, rate).toArray();
        }
        int[] kept = IntStream.range(0, count).filter(i -> mask[i] != 0).toArray();
        float factor = kept.length == 0 ? 1f : mask[kept[0]];
        // the same memory whatever was drawn
        Tensor indices = pass.scope().ofInts(Arrays.copyOf(kept, count)).slice(0, 0, kept.length);
        return new Sequences.Group(count, length, indices, count, factor);
    }

    private Tensor masked(Tensor shortcut, Tensor x, Tensor residual, @Nullable Tensor mask, @Nullable Tensor scale) {
        Tensor y = StochasticDepth.joinMasked(shortcut, residual, mask, scale, relu);
        // a sum needs none of its terms in backward
        Scope.discard(residual, shortcut, x, y);
        return y;
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * What one chain of pieces adds up of the gradients of a {@link PreNormBranch}'s parameters. The first chain adds to where they go, but for
 * those that LayerScale's gradient needs; the others have memory of their own. What nobody wants is not computed, but for a weight or a bias
 * whose other is wanted.
 */
final class BranchGradients {
    /** By input. */
    private final @Nullable Tensor[] sums = new Tensor[PreNormBranch.LAYER_SCALE];
    private final boolean scaled;
    private boolean firstBegun;
    private boolean lastBegun;

    /**
     * Memory for one chain's sums.
     *
     * @param into where each input's gradient goes; null: it is not wanted
     * @param direct whether this is the first chain
     */
    BranchGradients(Scope work, Tensor[] in, @Nullable Tensor[] into, boolean direct) {
        scaled = in.length > PreNormBranch.LAYER_SCALE;
        for (int i = PreNormBranch.NORM_WEIGHT; i <= PreNormBranch.NORM_BIAS; i++) {
            sums[i] = direct || into[i] == null ? into[i] : work.zeros(in[i].shape());
        }
        firstBegun = pair(work, in, into, PreNormBranch.IN_WEIGHT, direct);
        lastBegun = pair(work, in, into, PreNormBranch.OUT_WEIGHT, direct && !scaled);
    }

    /** A layer's weight and bias, whose gradients one product makes. @return whether there is something to add to */
    private boolean pair(Scope work, Tensor[] in, @Nullable Tensor[] into, int weight, boolean direct) {
        boolean forScale = scaled && weight == PreNormBranch.OUT_WEIGHT && into[PreNormBranch.LAYER_SCALE] != null;
        if (into[weight] == null && into[weight + 1] == null && !forScale) {
            return false;
        }
        boolean both = direct && into[weight] != null && into[weight + 1] != null;
        for (int i = weight; i <= weight + 1; i++) {
            sums[i] = both ? into[i] : work.empty(in[i].shape());
        }
        return both;
    }

    /** The last layer's, of the gradient of the branch's result. */
    void last(Products products, Tensor dy, Tensor x, boolean gelu) {
        if (sums[PreNormBranch.OUT_WEIGHT] == null) {
            return;
        }
        products.weightGradient(dy, x, gelu, lastBegun, sums[PreNormBranch.OUT_WEIGHT], sums[PreNormBranch.OUT_BIAS]);
        lastBegun = true;
    }

    /** The first layer's, of the gradient of its result. */
    void first(Products products, Tensor dy, Tensor x, Tensor[] in, Tensor mean, Tensor rstd) {
        if (sums[PreNormBranch.IN_WEIGHT] == null) {
            return;
        }
        products.normWeightGradient(dy, x, in[PreNormBranch.NORM_WEIGHT], in[PreNormBranch.NORM_BIAS], mean, rstd, firstBegun,
                sums[PreNormBranch.IN_WEIGHT], sums[PreNormBranch.IN_BIAS]);
        firstBegun = true;
    }

    /** The norm's. {@code dy}, the gradient of its result, becomes that of x. */
    void norm(Products products, Tensor x, Tensor[] in, Tensor mean, Tensor rstd, Tensor dy) {
        products.normBackward(x, in[PreNormBranch.NORM_WEIGHT], mean, rstd, dy, sums[PreNormBranch.NORM_WEIGHT], sums[PreNormBranch.NORM_BIAS]);
    }

    /** Adds what another chain has found. */
    void add(Products products, BranchGradients other) {
        for (int i = PreNormBranch.NORM_WEIGHT; i < sums.length; i++) {
            if (sums[i] != null) {
                products.accumulate(other.sums[i], sums[i]);
            }
        }
    }

    /** Of the first chain, to which the others were added: brings what is wanted to where it goes. */
    void finish(Products products, Tensor[] in, @Nullable Tensor[] into) {
        int weight = PreNormBranch.OUT_WEIGHT;
        int bias = PreNormBranch.OUT_BIAS;
        if (scaled && sums[weight] != null) {
            products.layerScaleGradients(in[PreNormBranch.LAYER_SCALE], in[weight], in[bias], sums[weight], sums[bias],
                    into[weight], into[bias], into[PreNormBranch.LAYER_SCALE]);
        }
        for (int i = PreNormBranch.IN_WEIGHT; i < (scaled ? weight : sums.length); i++) {
            if (into[i] != null && into[i] != sums[i]) {
                products.accumulate(sums[i], into[i]);
            }
        }
    }
}

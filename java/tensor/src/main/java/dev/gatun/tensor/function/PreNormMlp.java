// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Function;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** x + factor · γ ⊙ fc2(GELU(fc1(norm(x)))). Of the hidden layer it keeps what comes before the GELU. */
public final class PreNormMlp extends PreNormBranch {
    private PreNormMlp(Sequences sequences, double epsilon, boolean consumes) {
        super(sequences, epsilon, consumes);
    }

    /**
     * The branch added to x.
     *
     * @param sequences how x's tokens belong to sequences, and which run through the branch
     * @param epsilon the norm's
     * @param consumes whether x is not used any more by the caller: the result may take its memory, if nobody else needs it
     * @param x f32 (..., C), the tokens one after the other
     * @param parameters f32: the norm's weight (C) and bias (C), fc1's weight (H, C) and bias (H), fc2's weight (C, H) and bias (C), and
     *     LayerScale's γ (C) if there is one
     * @return shape of x
     * @throws TensorException if a shape does not fit, or the device does not offer it ({@link #offered})
     */
    public static Tensor apply(Sequences sequences, double epsilon, boolean consumes, Tensor x, Tensor... parameters) {
        Tensor[] in = inputs(x, parameters);
        require("pre-norm mlp", sequences, in, 1);
        return Function.apply(new PreNormMlp(sequences, epsilon, consumes), in);
    }

    @Override
    public String name() {
        return "pre-norm mlp";
    }

    @Override
    int owns() {
        return 1;
    }

    @Override
    Tensor[] own(Scope keeps, long rows, Tensor... in) {
        return new Tensor[] {keeps.empty(rows, in[IN_WEIGHT].size(0))};
    }

    @Override
    boolean gelu() {
        return true;
    }

    @Override
    void between(Products products, Sequences.Piece piece, Tensor[] own) {
        // the GELU is computed where the last layer reads
    }

    @Override
    Tensor betweenBackward(Products products, Scope work, Sequences.Piece piece, Tensor[] own, Tensor gradient) {
        return gradient;
    }

    @Override
    public String composedForm() {
        return "a TransformerBlock that is composed, and in place of its layer norm and GELU tensor operations";
    }
}

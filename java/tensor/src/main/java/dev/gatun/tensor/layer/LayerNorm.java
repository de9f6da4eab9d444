// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;

/** Layer normalisation along the last dimension. Parameters {@code weight}, {@code bias}. */
public final class LayerNorm implements Layer {
    private final Parameter weight;
    private final Parameter bias;
    private final double epsilon;

    /** @param epsilon added to the variance; 1e-6 in vision transformers */
    public LayerNorm(Parameters parameters, int features, double epsilon) {
        weight = parameters.parameter("weight", Initializer.ones(), features);
        bias = parameters.parameter("bias", Initializer.zeros(), features);
        this.epsilon = epsilon;
    }

    Parameter weight() {
        return weight;
    }

    Parameter bias() {
        return bias;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return dev.gatun.tensor.function.LayerNorm.apply(x, pass.use(weight), pass.use(bias), epsilon);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Group normalisation of channels-last images. Parameters {@code weight}, {@code bias}. */
public final class GroupNorm implements Layer {
    private final Parameter weight;
    private final Parameter bias;
    private final int groups;
    private final double epsilon;

    /** @param epsilon added to the variance; 1e-5 is usual */
    public GroupNorm(Parameters parameters, int groups, int channels, double epsilon) {
        if (groups < 1 || channels % groups != 0) {
            throw new TensorException("group norm: " + channels + " channels in " + groups + " groups");
        }
        weight = parameters.parameter("weight", Initializer.ones(), channels);
        bias = parameters.parameter("bias", Initializer.zeros(), channels);
        this.groups = groups;
        this.epsilon = epsilon;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return dev.gatun.tensor.function.GroupNorm.apply(x, groups, pass.use(weight), pass.use(bias), epsilon);
    }
}

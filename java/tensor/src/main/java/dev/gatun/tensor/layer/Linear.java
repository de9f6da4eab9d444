// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import org.jspecify.annotations.Nullable;

/** x·Wᵀ + b on the last dimension. Parameters: {@code weight} (out, in), {@code bias} (out). */
public final class Linear implements Layer {
    private final Parameter weight;
    private final @Nullable Parameter bias;

    /** With weights and bias uniform in ±1/√in, as PyTorch has them by default. */
    public Linear(Parameters parameters, int in, int out, boolean bias) {
        this(parameters, in, out, bias, Initializer.fanInUniform(), Initializer.uniform((float) (1 / Math.sqrt(in))));
    }

    /** @param biases not used where there is no bias */
    public Linear(Parameters parameters, int in, int out, boolean bias, Initializer weights, Initializer biases) {
        weight = parameters.parameter("weight", weights, out, in);
        this.bias = bias ? parameters.parameter("bias", biases, out) : null;
    }

    /** (out, in). */
    public Parameter weight() {
        return weight;
    }

    /** (out). */
    Parameter bias() {
        if (bias == null) {
            throw new TensorException(weight.name() + " has no bias");
        }
        return bias;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return bias == null
                ? x.matmulTransposed(pass.use(weight, x.dtype()))
                : x.linear(pass.use(weight, x.dtype()), pass.use(bias, x.dtype()));
    }
}

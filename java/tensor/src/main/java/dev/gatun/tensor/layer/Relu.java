// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Activation;

/** max(x, 0). */
public final class Relu implements Layer {
    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return Activation.relu(x);
    }
}

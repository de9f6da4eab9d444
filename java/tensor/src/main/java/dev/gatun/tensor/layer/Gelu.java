// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Activation;

/** x·Φ(x), exact. */
public final class Gelu implements Layer {
    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return Activation.gelu(x);
    }
}

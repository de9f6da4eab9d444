// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;

/** Rows scaled to unit length along the last dimension. */
public final class L2Normalize implements Layer {
    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return dev.gatun.tensor.function.L2Normalize.apply(x);
    }
}

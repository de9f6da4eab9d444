// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.tensor.Tensor;

/** All dimensions but the first as one. */
public final class Flatten implements Layer {
    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return x.reshape(x.size(0), -1);
    }
}

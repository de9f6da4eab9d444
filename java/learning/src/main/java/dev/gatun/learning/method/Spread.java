// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.tensor.Tensor;

/** Measures whether embeddings collapse. */
public final class Spread {
    private Spread() {}

    /**
     * The standard deviation of a dimension over the rows, averaged over the dimensions, times √D: about 1 for unit vectors
     * in all directions, 0 if all are the same.
     *
     * @param embeddings (N, D), rows of unit length, detached
     * @return f32, one value
     */
    public static Tensor of(Tensor embeddings) {
        Tensor deviations = embeddings.sub(embeddings.mean(0)).square().mean(0).sqrt();
        return deviations.mean().mul((float) Math.sqrt(embeddings.size(1)));
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Tensor;

/** Layer normalisation (Ba, Kiros, Hinton, 2016) along the last dimension. */
public final class LayerNorm {
    private LayerNorm() {}

    /**
     * (x − mean) / √(biased variance + epsilon) · gamma + beta for each row.
     *
     * @param x (..., C)
     * @param gamma (C)
     * @param beta (C)
     */
    public static Tensor apply(Tensor x, Tensor gamma, Tensor beta, double epsilon) {
        return composed(x, epsilon).mul(gamma).add(beta);
    }

    /** In elementary operations, for where the gradient is differentiated again; without gamma and beta. */
    public static Tensor composed(Tensor x, double epsilon) {
        long[] kept = x.shape();
        kept[kept.length - 1] = 1;
        Tensor centred = x.sub(x.mean(-1).reshape(kept));
        return centred.div(centred.square().mean(-1).reshape(kept).add((float) epsilon).sqrt());
    }
}

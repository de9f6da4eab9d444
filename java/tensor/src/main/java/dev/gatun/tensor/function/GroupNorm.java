// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Group normalisation (Wu and He, 2018) of channels-last images: each sample and group of channels by its own statistics. */
public final class GroupNorm {
    private GroupNorm() {}

    /**
     * (x − mean) / √(biased variance + epsilon) · gamma + beta, mean and variance over all positions and a group's channels.
     *
     * @param x (B, ..., C)
     * @param gamma (C)
     * @param beta (C)
     */
    public static Tensor apply(Tensor x, int groups, Tensor gamma, Tensor beta, double epsilon) {
        return composed(x, groups, epsilon).mul(gamma).add(beta);
    }

    /** In elementary operations, for where the gradient is differentiated again; without gamma and beta. */
    public static Tensor composed(Tensor x, int groups, double epsilon) {
        if (x.rank() < 2 || groups < 1 || x.size(-1) % groups != 0) {
            throw new TensorException("group norm: " + x.describe() + " in " + groups + " groups");
        }
        long batch = x.size(0);
        long width = x.size(-1) / groups;
        Tensor parts = x.reshape(batch, x.elements() / Math.max(1, batch * x.size(-1)), groups, width);
        Tensor mean = parts.mean(1).mean(2).reshape(batch, 1, groups, 1);
        Tensor centred = parts.sub(mean);
        Tensor variance = centred.square().mean(1).mean(2).reshape(batch, 1, groups, 1);
        return centred.div(variance.add((float) epsilon).sqrt()).reshape(x.shape());
    }
}

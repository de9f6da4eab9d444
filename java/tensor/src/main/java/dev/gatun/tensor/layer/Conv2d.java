// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.function.Convolution;
import org.jspecify.annotations.Nullable;

/**
 * Convolution of images (B, H, W, C). Parameters: {@code weight} (out, k, k, in / groups) in memory, (out, in / groups, k, k) in
 * files, and {@code bias} (out).
 */
public final class Conv2d implements Layer {
    private final Parameter weight;
    private final @Nullable Parameter bias;
    private final Geometry geometry;

    /** With weights from He et al.'s normal by fan-out, as residual networks have them, and a bias of zeros if any. */
    public Conv2d(Parameters parameters, int in, int out, int kernel, int stride, int padding, int groups, boolean bias) {
        this(parameters, in, out, kernel, Geometry.of(stride, padding, 1, groups), bias, Initializer.kaimingNormalFanOut());
    }

    /** With any geometry; a bias, if any, of zeros. */
    public Conv2d(
            Parameters parameters, int in, int out, int kernel, Geometry geometry, boolean bias, Initializer initializer) {
        if (in % geometry.groups() != 0 || out % geometry.groups() != 0) {
            throw new TensorException("convolution of " + in + " to " + out + " channels in " + geometry.groups() + " groups");
        }
        this.geometry = geometry;
        weight = parameters.parameter(
                "weight", initializer, FileLayout.OIHW, true, out, kernel, kernel, in / geometry.groups());
        this.bias = bias ? parameters.parameter("bias", Initializer.zeros(), out) : null;
    }

    /** (out, k, k, in / groups). */
    public Parameter weight() {
        return weight;
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return bias == null
                ? Convolution.apply(x, pass.use(weight, x.dtype()), geometry)
                : Convolution.apply(x, pass.use(weight, x.dtype()), pass.use(bias), geometry);
    }
}

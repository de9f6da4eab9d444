// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.primitives.Convolution.Geometry;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.function.Convolution;
import dev.gatun.tensor.layer.Layer;
import dev.gatun.tensor.layer.Pass;

/**
 * Edges in place of colours, the input of DeepCluster v1 (Caron et al., 2018): the mean over the channels, then Sobel's filters of
 * horizontal and vertical change, from (B, H, W, C) to (B, H, W, 2). The filters are fixed: no parameters, nothing in checkpoints.
 * The border is padded with zeros and responds to them.
 */
final class Sobel implements Layer {
    /** Channels of the result: change along the width, change along the height. */
    static final int CHANNELS = 2;

    private static final float[] SMOOTH = {1, 2, 1};
    private static final float[] CHANGE = {1, 0, -1};

    private final int channels;
    private final float[] weights;

    Sobel(int channels) {
        this.channels = channels;
        weights = new float[CHANNELS * 9 * channels];
        for (int i = 0; i < weights.length; i++) {
            int row = i / channels / 3 % 3;
            int column = i / channels % 3;
            boolean across = i < weights.length / CHANNELS;
            // the mean over the channels is part of the one convolution
            weights[i] = (across ? SMOOTH[row] * CHANGE[column] : CHANGE[row] * SMOOTH[column]) / channels;
        }
    }

    @Override
    public Tensor forward(Pass pass, Tensor x) {
        return Convolution.apply(x, pass.scope().constant(weights, CHANNELS, 3, 3, channels).to(x.dtype()), Geometry.of(1, 1, 1, 1));
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import java.util.List;

/**
 * The {@code model} section for {@code resnet}.
 *
 * @param block {@code basic} (two 3x3 convolutions) or {@code bottleneck} (1x1, 3x3 with the stride, 1x1 to four times the
 *     width)
 * @param depths blocks of each stage
 * @param widths channels of each stage, as many as depths
 * @param stem {@code small}: 3x3 convolution with stride 1, for images of about 32 pixels; {@code imagenet}: 7x7 with
 *     stride 2, then 3x3 max pooling with stride 2
 * @param zeroGamma whether the scale of each block's last batch norm starts at 0, so that blocks start as identities
 * @param dropPath rate of stochastic depth; 0: none
 * @param dropPathRule {@code uniform}: the same rate in every block; {@code linear}: rising from 0 at the first block
 * @param dropPathForm {@code mask}: each sample's residual is dropped on its own; {@code subset}: exactly as many samples as
 *     the rate says are computed at all, and batch norms of residual branches see those only
 * @param sobel whether the first convolution sees edges (the fixed Sobel filters of the mean over the channels, as DeepCluster v1
 *     does) in place of the image
 * @param allowedError error of each convolution that is accepted for speed: on the CPU 3x3 kernels with stride 1 then go by Winograd's
 *     minimal filtering ({@link dev.gatun.primitives.Convolution.Geometry}), from 1e-5 with tiles of 4x4 outputs whatever the widths here; 0:
 *     every product is computed
 */
public record ResNetSettings(
        String block,
        List<Integer> depths,
        List<Integer> widths,
        String stem,
        boolean zeroGamma,
        double dropPath,
        String dropPathRule,
        String dropPathForm,
        boolean sobel,
        double allowedError) {
    /** ResNet-18 with a stem for small images. */
    public ResNetSettings() {
        this("basic", List.of(2, 2, 2, 2), List.of(64, 128, 256, 512), "small", false, 0, "uniform", "mask", false, 0);
    }

    /** Checks every value; the message is one line that names the key and what it allows. */
    public ResNetSettings {
        Settings.require(block.equals("basic") || block.equals("bottleneck"), "block", block, "basic or bottleneck");
        Settings.sizes(depths, "depths");
        Settings.sizes(widths, "widths");
        Settings.require(widths.size() == depths.size(), "widths", widths, "as many numbers as depths has");
        Settings.require(stem.equals("small") || stem.equals("imagenet"), "stem", stem, "small or imagenet");
        Settings.rates(dropPath, dropPathRule, dropPathForm);
        Settings.require(allowedError >= 0 && allowedError < 1, "allowed_error", allowedError, "0 (exact) to below 1");
        depths = List.copyOf(depths);
        widths = List.copyOf(widths);
    }
}

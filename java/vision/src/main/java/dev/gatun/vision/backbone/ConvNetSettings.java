// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import java.util.List;

/**
 * The {@code model} section for {@code convnet}.
 *
 * @param widths output channels of each 3x3 convolution with stride 2; the last is the length of the features
 * @param sobel whether the first convolution sees edges (the fixed Sobel filters of the mean over the channels, as DeepCluster v1
 *     does) in place of the image
 */
public record ConvNetSettings(List<Integer> widths, boolean sobel) {
    /** The encoder of the Fashion-MNIST protocol. */
    public ConvNetSettings() {
        this(List.of(24, 48, 128), false);
    }

    /** Checks every value; the message is one line that names the key and what it allows. */
    public ConvNetSettings {
        Settings.sizes(widths, "widths");
        widths = List.copyOf(widths);
    }
}

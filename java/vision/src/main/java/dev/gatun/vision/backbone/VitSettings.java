// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

/**
 * The {@code model} section for {@code vit}.
 *
 * @param patch side of a patch in pixels; divides the images' sides
 * @param width length of a token, also of the features
 * @param depth number of blocks
 * @param heads attention heads; divides the width, and a head has at most 128 dimensions
 * @param mlpRatio the hidden layer of a block's MLP is this many times as wide as a token
 * @param pooling {@code token}: the features are the class token; {@code average}: the mean of the patches' tokens
 * @param dropPath rate of stochastic depth; 0: none
 * @param dropPathRule {@code uniform}: the same rate in every block; {@code linear}: rising from 0 at the first block
 * @param dropPathForm {@code mask}: each sample's residual is dropped on its own; {@code subset}: exactly as many samples as
 *     the rate says are computed at all (DINOv2)
 * @param layerScale initial value of LayerScale's factor of each channel of a residual (Touvron et al., 2021); 0: no LayerScale
 * @param blocks {@code fused}: the branches of a block are one function each where the device offers it; {@code composed}: layer by layer
 */
public record VitSettings(
        int patch,
        int width,
        int depth,
        int heads,
        double mlpRatio,
        String pooling,
        double dropPath,
        String dropPathRule,
        String dropPathForm,
        double layerScale,
        String blocks) {
    /** ViT-Ti/16. */
    public VitSettings() {
        this(16, 192, 12, 3, 4, "token", 0, "uniform", "mask", 0, "fused");
    }

    /** Checks every value; the message is one line that names the key and what it allows. */
    public VitSettings {
        Settings.require(patch >= 1, "patch", patch, "at least 1");
        Settings.require(width >= 1, "width", width, "at least 1");
        Settings.require(depth >= 1, "depth", depth, "at least 1");
        Settings.require(heads >= 1 && width % heads == 0 && width / heads <= 128, "heads", heads,
                "a divisor of the width " + width + " that leaves at most 128 dimensions a head");
        Settings.require(mlpRatio * width >= 1, "mlp_ratio", mlpRatio, "above 0");
        Settings.require(pooling.equals("token") || pooling.equals("average"), "pooling", pooling, "token or average");
        Settings.rates(dropPath, dropPathRule, dropPathForm);
        Settings.require(layerScale >= 0 && layerScale <= 1, "layer_scale", layerScale, "0 (none) to 1");
        Settings.require(blocks.equals("fused") || blocks.equals("composed"), "blocks", blocks, "fused or composed");
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Parameters;

/** Residual networks (He et al., 2015) with torchvision's layout and names: {@code model: {name: resnet, depths: [...]}}. */
public final class ResNetProvider implements EncoderProvider {
    @Override
    public String name() {
        return "resnet";
    }

    @Override
    public Class<ResNetSettings> settings() {
        return ResNetSettings.class;
    }

    @Override
    public Encoder create(Record settings, Parameters parameters, long[] inputShape) {
        Settings.images(name(), inputShape);
        return new ResNet((ResNetSettings) settings, parameters, (int) inputShape[2]);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Parameters;

/** The small convolutional encoder of the Fashion-MNIST protocol: {@code model: {name: convnet, widths: [...]}}. */
public final class ConvNetProvider implements EncoderProvider {
    @Override
    public String name() {
        return "convnet";
    }

    @Override
    public Class<ConvNetSettings> settings() {
        return ConvNetSettings.class;
    }

    @Override
    public Encoder create(Record settings, Parameters parameters, long[] inputShape) {
        Settings.images(name(), inputShape);
        return new ConvNet((ConvNetSettings) settings, parameters, (int) inputShape[2]);
    }
}

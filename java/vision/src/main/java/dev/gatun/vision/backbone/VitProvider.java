// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision.backbone;

import dev.gatun.tensor.layer.Encoder;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.tensor.layer.Parameters;

/** Vision transformers (Dosovitskiy et al., 2020) with timm's layout and names: {@code model: {name: vit, width: ...}}. */
public final class VitProvider implements EncoderProvider {
    @Override
    public String name() {
        return "vit";
    }

    @Override
    public Class<VitSettings> settings() {
        return VitSettings.class;
    }

    @Override
    public Encoder create(Record settings, Parameters parameters, long[] inputShape) {
        Settings.images(name(), inputShape);
        return new Vit((VitSettings) settings, parameters, inputShape);
    }
}

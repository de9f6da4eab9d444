// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.Dataset;
import dev.gatun.data.Views;
import dev.gatun.data.ViewsProvider;

/** Multi-crop views (SwAV, section 3.3): {@code views: {name: multi-crop, crops: [...]}}. */
public final class MultiCropProvider implements ViewsProvider {
    @Override
    public String name() {
        return "multi-crop";
    }

    @Override
    public Class<MultiCropSettings> settings() {
        return MultiCropSettings.class;
    }

    @Override
    public Views create(Record settings, Dataset data) {
        return new MultiCrop((MultiCropSettings) settings, Math.toIntExact(data.read(0).shape()[2]));
    }
}

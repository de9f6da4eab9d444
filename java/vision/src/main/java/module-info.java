// SPDX-License-Identifier: Apache-2.0
import dev.gatun.data.DatasetProvider;
import dev.gatun.data.ViewsProvider;
import dev.gatun.tensor.layer.EncoderProvider;
import dev.gatun.vision.ImageFolderProvider;
import dev.gatun.vision.MultiCropProvider;
import dev.gatun.vision.backbone.ConvNetProvider;
import dev.gatun.vision.backbone.ResNetProvider;
import dev.gatun.vision.backbone.VitProvider;

/** Image decoding, multi-crop views and backbones. */
module dev.gatun.vision {
    requires static transitive org.jspecify;
    requires transitive dev.gatun.data;
    requires java.desktop;

    exports dev.gatun.vision;
    exports dev.gatun.vision.backbone;

    provides DatasetProvider with ImageFolderProvider;
    provides ViewsProvider with MultiCropProvider;
    provides EncoderProvider with ConvNetProvider, ResNetProvider, VitProvider;
}

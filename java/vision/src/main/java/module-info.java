// SPDX-License-Identifier: Apache-2.0
import dev.gatun.data.DatasetProvider;
import dev.gatun.vision.ImageFolderProvider;

/** Image decoding, multi-crop views and backbones. */
module dev.gatun.vision {
    requires static transitive org.jspecify;
    requires transitive dev.gatun.data;
    requires java.desktop;

    exports dev.gatun.vision;

    provides DatasetProvider with ImageFolderProvider;
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.CachedDataset;
import dev.gatun.data.DataException;
import dev.gatun.data.Dataset;
import dev.gatun.data.DatasetProvider;
import dev.gatun.data.Datasets;
import dev.gatun.data.Decoder;
import dev.gatun.data.FolderDataset;
import java.nio.file.Path;
import java.util.Optional;

/** Images in folders, the ImageFolder convention: {@code data: {name: image-folder, path: ...}}. */
public final class ImageFolderProvider implements DatasetProvider {
    @Override
    public String name() {
        return "image-folder";
    }

    @Override
    public Class<ImageFolderSettings> settings() {
        return ImageFolderSettings.class;
    }

    @Override
    public Datasets create(Record settings, long seed) {
        ImageFolderSettings s = (ImageFolderSettings) settings;
        if (s.path().isEmpty()) {
            throw new DataException("data.path", "is not set; it names the folder of the training images");
        }
        if (s.channels() != 1 && s.channels() != 3) {
            throw new DataException("data.channels", "is " + s.channels() + "; allowed is 1 or 3");
        }
        Decoder decoder = new ImageDecoder(s.channels());
        if (s.cacheMib() < 0) {
            throw new DataException("data.cache_mib", "is " + s.cacheMib() + "; allowed is 0 or more");
        }
        Dataset train = CachedDataset.of(FolderDataset.open(Path.of(s.path()), decoder), (long) s.cacheMib() << 20);
        if (s.test().isEmpty()) {
            return Datasets.of(train, Optional.empty(), s.images(), seed);
        }
        Dataset test = FolderDataset.open(Path.of(s.test()), decoder);
        // images without labels have no classes to differ in: they can be looked at beside any test images
        if (train.labelled() && test.labelled() && !test.classNames().equals(train.classNames())) {
            throw new DataException(s.test(), "has classes " + test.classNames() + ", but " + s.path() + " has " + train.classNames());
        }
        return Datasets.of(train, Optional.of(test), s.images(), seed);
    }
}

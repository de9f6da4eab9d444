// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Any data in IDX files: {@code data: {name: idx, trainImages: ...}}. */
public final class IdxProvider implements DatasetProvider {
    @Override
    public String name() {
        return "idx";
    }

    @Override
    public Class<IdxSettings> settings() {
        return IdxSettings.class;
    }

    @Override
    public Datasets create(Record settings, long seed) {
        IdxSettings s = (IdxSettings) settings;
        if (s.trainImages().isEmpty()) {
            throw new DataException("data.train_images", "is not set; it names the IDX file of the training images");
        }
        Dataset train = open(s.trainImages(), s.trainLabels(), s.classNames());
        Optional<Dataset> test =
                s.testImages().isEmpty() ? Optional.empty() : Optional.of(open(s.testImages(), s.testLabels(), s.classNames()));
        return Datasets.of(train, test, s.images(), seed);
    }

    private static Dataset open(String images, String labels, List<String> classNames) {
        return labels.isEmpty() ? IdxDataset.open(Path.of(images)) : IdxDataset.open(Path.of(images), Path.of(labels), classNames);
    }
}

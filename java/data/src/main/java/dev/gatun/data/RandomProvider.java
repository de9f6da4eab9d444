// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.Optional;

/** Random elements that need no files: {@code data: {name: random, shape: [256, 256, 3]}}. */
public final class RandomProvider implements DatasetProvider {
    @Override
    public String name() {
        return "random";
    }

    @Override
    public Class<RandomSettings> settings() {
        return RandomSettings.class;
    }

    @Override
    public Datasets create(Record settings, long seed) {
        RandomSettings s = (RandomSettings) settings;
        Dataset train = new RandomDataset("random train", s.images(), s, seed, 0);
        Optional<Dataset> test = s.test() == 0 ? Optional.empty() : Optional.of(new RandomDataset("random test", s.test(), s, seed, 1));
        return new Datasets(train, train, test);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 60,000 training and 10,000 test images, 28x28, one channel, ten
 * classes. Reads the four IDX files, compressed or not; never downloads.
 */
public final class FashionMnistProvider implements DatasetProvider {
    /** The names of the ten classes. */
    public static final List<String> CLASSES = List.of(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot");

    private static final List<Path> USUAL_PLACES = List.of(
            Path.of("/usr/share/datasets/fashion-mnist"),
            Path.of("build/data/fashion-mnist"),
            Path.of("build/data/usr/share/datasets/fashion-mnist"),
            Path.of("data/fashion-mnist"));

    private static final String TRAIN_IMAGES = "train-images-idx3-ubyte";

    @Override
    public String name() {
        return "fashion-mnist";
    }

    @Override
    public Class<FashionMnistSettings> settings() {
        return FashionMnistSettings.class;
    }

    @Override
    public Datasets create(Record settings, long seed) {
        FashionMnistSettings s = (FashionMnistSettings) settings;
        Path folder = s.path().isEmpty() ? search(USUAL_PLACES) : Path.of(s.path());
        Dataset train = part(folder, TRAIN_IMAGES, "train-labels-idx1-ubyte");
        Dataset test = part(folder, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");
        return Datasets.of(train, Optional.of(test), s.images(), seed);
    }

    /** Finds the folder that holds the training images, or says how to get them. */
    static Path search(List<Path> places) {
        for (Path place : places) {
            if (Files.exists(place.resolve(TRAIN_IMAGES + ".gz")) || Files.exists(place.resolve(TRAIN_IMAGES))) {
                return place;
            }
        }
        throw new DataException("fashion-mnist", "not found in " + String.join(", ", places.stream().map(Path::toString).toList())
                + "; get it with `make data` or `gatun data fashion-mnist`, or set data.path");
    }

    private static Dataset part(Path folder, String images, String labels) {
        return IdxDataset.open(either(folder, images), either(folder, labels), CLASSES);
    }

    private static Path either(Path folder, String name) {
        Path compressed = folder.resolve(name + ".gz");
        return Files.exists(compressed) || !Files.exists(folder.resolve(name)) ? compressed : folder.resolve(name);
    }
}

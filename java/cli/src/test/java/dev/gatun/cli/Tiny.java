// SPDX-License-Identifier: Apache-2.0
package dev.gatun.cli;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;

/** An experiment of seconds: generated images in IDX files, a small network, one thread. */
final class Tiny {
    static final int SIDE = 8;
    static final int CLASSES = 4;
    static final int TRAIN = 96;
    static final int TEST = 40;

    private Tiny() {}

    /** Writes the data and a pipeline file; 6 steps an epoch. */
    static Path config(Path folder, int epochs) throws IOException {
        return config(folder, epochs, "");
    }

    /** As above, with further lines at the end of the file. */
    static Path config(Path folder, int epochs, String more) throws IOException {
        data(folder);
        return Files.writeString(folder.resolve("tiny.yaml"), """
                version: 1
                seed: 5
                device: {threads: 1}
                data: {name: idx, train_images: %1$s/train-images, train_labels: %1$s/train-labels,
                       test_images: %1$s/test-images, test_labels: %1$s/test-labels, batch: 16}
                views:
                  name: multi-crop
                  crops: [{role: global, count: 2, size: 8}, {role: local, count: 1, size: 6}]
                model: {name: convnet, widths: [4, 8]}
                method: {name: swav, prototypes: 8, hidden: [16], output: 8, freeze_epochs: 0, freeze_steps: 2}
                optimizer: {name: adamw, lr: 0.002}
                schedule: {epochs: %2$d}
                evaluation: {probe_epochs: 1, pixel_epochs: 1, shots: 2, neighbours: 3}
                """.formatted(folder, epochs) + more);
    }

    /** Writes the IDX files. */
    static void data(Path folder) throws IOException {
        images(folder.resolve("train-images"), TRAIN, 1);
        labels(folder.resolve("train-labels"), TRAIN);
        images(folder.resolve("test-images"), TEST, 2);
        labels(folder.resolve("test-labels"), TEST);
    }

    private static void images(Path file, int count, long seed) throws IOException {
        SplittableRandom random = new SplittableRandom(seed);
        ByteBuffer bytes = ByteBuffer.allocate(16 + count * SIDE * SIDE);
        bytes.putInt(0x803).putInt(count).putInt(SIDE).putInt(SIDE);
        for (int n = 0; n < count; n++) {
            for (int p = 0; p < SIDE * SIDE; p++) {
                boolean bright = (n % CLASSES < 2 ? p % SIDE : p / SIDE) / (1 + n % 2) % 2 == 0;
                bytes.put((byte) ((bright ? 150 : 30) + random.nextInt(60)));
            }
        }
        Files.write(file, bytes.array());
    }

    private static void labels(Path file, int count) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(8 + count);
        bytes.putInt(0x801).putInt(count);
        for (int n = 0; n < count; n++) {
            bytes.put((byte) (n % CLASSES));
        }
        Files.write(file, bytes.array());
    }
}

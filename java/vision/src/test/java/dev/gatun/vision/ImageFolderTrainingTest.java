// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.data.Dataset;
import dev.gatun.data.Element;
import dev.gatun.data.Loader;
import dev.gatun.data.View;
import dev.gatun.data.Views;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The way from files of several sizes to the views of a batch, with reading ahead. */
class ImageFolderTrainingTest {
    @TempDir
    Path folder;

    private void images() throws IOException {
        for (int i = 0; i < 8; i++) {
            int height = 20 + i;
            int width = 30 - 2 * i;
            byte[] pixels = new byte[height * width * 3];
            for (int p = 0; p < pixels.length; p++) {
                pixels[p] = (byte) (p * 31 + i * 57);
            }
            Path file = folder.resolve((i % 2 == 0 ? "even/" : "odd/") + i + ".png");
            Files.createDirectories(file.getParent());
            Files.write(file, Png.encode(new Element(new long[] {height, width, 3}, MemorySegment.ofArray(pixels))));
        }
    }

    private static List<float[]> run(Dataset data, int threads, int readers, long from, long to) {
        CropSettings global = new CropSettings();
        CropSettings local = new CropSettings("local", 2, 9, List.of(.1, .3), List.of(.75, 1.33), .5, .8, .4, .4, .3, 3, List.of(.1, 2.), 0);
        MultiCropSettings settings = new MultiCropSettings(List.of(global, local), List.of(.5), List.of(.25), 0, 0);
        Views views = new MultiCropProvider().create(settings, data);
        List<float[]> numbers = new ArrayList<>();
        try (Device device = Device.cpu(threads); Loader loader = new Loader(data, views, 3, true, 4, readers)) {
            for (long step = from; step < to; step++) {
                try (Scope scope = device.scope().open()) {
                    Batch batch = loader.batch(scope, step);
                    assertArrayEquals(data.labels(loader.indices(step)), batch.labels());
                    for (View view : batch.views()) {
                        numbers.add(view.images().toArray());
                    }
                }
            }
        }
        return numbers;
    }

    @Test
    void batchesAreTheSameForAnyThreadsAndAfterAResume() throws IOException {
        images();
        Dataset data = new ImageFolderProvider().create(new ImageFolderSettings(folder.toString(), "", 3, 0), 1).train();
        assertEquals(List.of("even", "odd"), data.classNames());
        List<float[]> whole = run(data, 1, 1, 0, 5);
        List<float[]> resumed = run(data, 2, 3, 3, 5);
        assertEquals(4 * 5, whole.size());
        for (int i = 0; i < resumed.size(); i++) {
            assertArrayEquals(whole.get(4 * 3 + i), resumed.get(i));
        }
    }

    @Test
    void aBrokenFileEndsTheRunWithItsName() throws IOException {
        images();
        Path broken = folder.resolve("odd/3.png");
        Files.write(broken, Arrays.copyOf(Files.readAllBytes(broken), 60));
        Dataset data = new ImageFolderProvider().create(new ImageFolderSettings(folder.toString(), "", 3, 0), 1).train();
        String line = ImageDecoderTest.line(() -> run(data, 1, 2, 0, 8));
        assertTrue(line.startsWith(broken + ": is a broken image"), line);
    }
}

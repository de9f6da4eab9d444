// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LoaderTest {
    private static final int SAMPLES = 23;

    @TempDir
    Path folder;

    private Dataset data;

    @BeforeEach
    void files() throws Exception {
        for (int i = 0; i < SAMPLES; i++) {
            Files.write(folder.resolve(String.format("%02d.bytes", i)), new byte[] {(byte) i});
        }
        data = FolderDataset.open(folder, FolderDatasetTest.BYTES);
    }

    /** One view whose only number is the sample's byte plus a part of the key. */
    static final Views VIEWS = new Views() {
        @Override
        public List<ViewRole> roles() {
            return List.of(new ViewRole("global", 1));
        }

        @Override
        public long[] shape() {
            return new long[] {1, 1, 1};
        }

        @Override
        public Samples samples(Dataset data, int[] indices) {
            float[] values = new float[indices.length];
            for (int i = 0; i < values.length; i++) {
                values[i] = data.read(indices[i]).data().get(ValueLayout.JAVA_BYTE, 0);
            }
            Samples.Stored stored = new Samples.Stored(
                    DType.F32, new long[] {values.length, 1, 1, 1}, target -> target.copyFrom(MemorySegment.ofArray(values)));
            return new Samples(Arrays.stream(indices).asLongStream().toArray(), data.labels(indices), List.of(stored), 1);
        }

        @Override
        public Batch make(Scope scope, Samples samples, List<Tensor> tensors, RandomKey key) {
            Tensor image = scope.attach(tensors.getFirst()).add(100f * key.step());
            return new Batch(samples.ids(), List.of(new View("global", 1, image)), samples.labels());
        }

        @Override
        public Tensor plain(Scope scope, Dataset data, int[] indices) {
            return make(scope, data, indices, new RandomKey(0, 0, 0)).views().getFirst().images();
        }

        @Override
        public byte[] picture(Tensor images, int row) {
            return new byte[0];
        }

        @Override
        public byte[] picture(Element element) {
            return new byte[0];
        }
    };

    private float[] values(Loader loader, long step) {
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            Batch batch = loader.batch(scope, step);
            int[] indices = loader.indices(step);
            assertEquals(indices.length, batch.size());
            assertArrayEquals(Arrays.stream(indices).asLongStream().toArray(), batch.ids());
            assertEquals(0, batch.labels().length);
            return batch.views().getFirst().images().toArray();
        }
    }

    @Test
    void everyEpochVisitsEverySampleOnceInItsOwnOrder() {
        try (Loader loader = new Loader(data, VIEWS, 5, false, 9, 2)) {
            assertEquals(5, loader.batchesPerEpoch());
            int[][] orders = new int[2][];
            for (int epoch = 0; epoch < 2; epoch++) {
                int[] all = new int[0];
                for (long step = 5L * epoch; step < 5L * epoch + 5; step++) {
                    int[] indices = loader.indices(step);
                    assertEquals(step % 5 == 4 ? 3 : 5, indices.length);
                    all = java.util.stream.IntStream.concat(Arrays.stream(all), Arrays.stream(indices)).toArray();
                }
                orders[epoch] = all.clone();
                Arrays.sort(all);
                for (int i = 0; i < SAMPLES; i++) {
                    assertEquals(i, all[i]);
                }
            }
            assertFalse(Arrays.equals(orders[0], orders[1]));
        }
        try (Loader loader = new Loader(data, VIEWS, 5, true, 9, 2)) {
            assertEquals(4, loader.batchesPerEpoch());
            assertEquals(1, loader.epoch(4));
            assertEquals(5, loader.indices(3).length);
        }
    }

    @Test
    void aBatchDependsOnSeedAndStepAlone() {
        float[][] inOrder = new float[12][];
        try (Loader loader = new Loader(data, VIEWS, 5, true, 9, 3)) {
            for (int step = 0; step < 12; step++) {
                inOrder[step] = values(loader, step);
            }
        }
        for (int start : new int[] {11, 3, 4, 7}) {
            try (Loader resumed = new Loader(data, VIEWS, 5, true, 9, 1)) {
                for (int step = start; step < 12; step++) {
                    assertArrayEquals(inOrder[step], values(resumed, step));
                }
                assertArrayEquals(inOrder[2], values(resumed, 2));
            }
        }
        try (Loader other = new Loader(data, VIEWS, 5, true, 10, 1)) {
            assertFalse(Arrays.equals(inOrder[0], values(other, 0)));
        }
    }

    @Test
    void aBrokenFileIsNamedWhenItsBatchIsDue() throws Exception {
        Files.writeString(folder.resolve("07.bytes"), "!");
        try (Loader loader = new Loader(data, VIEWS, 5, false, 9, 2)) {
            for (long step = 0; step < 5; step++) {
                long s = step;
                if (Arrays.stream(loader.indices(step)).anyMatch(i -> i == 7)) {
                    assertEquals(folder.resolve("07.bytes") + ": is broken", IdxDatasetTest.line(() -> values(loader, s)));
                    assertEquals(folder.resolve("07.bytes") + ": is broken", IdxDatasetTest.line(() -> values(loader, s)));
                } else {
                    values(loader, step);
                }
            }
        }
    }

    @Test
    void refusesEpochsWithoutBatches() {
        assertTrue(IdxDatasetTest.line(() -> new Loader(data, VIEWS, 24, true, 9, 1)).contains("23 samples, batches of 24"));
        assertThrows(IllegalArgumentException.class, () -> new Loader(data, VIEWS, 0, true, 9, 1));
    }
}

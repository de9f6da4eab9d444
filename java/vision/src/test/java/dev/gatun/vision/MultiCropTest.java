// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.Batch;
import dev.gatun.data.Dataset;
import dev.gatun.data.Element;
import dev.gatun.data.View;
import dev.gatun.data.ViewRole;
import dev.gatun.data.Views;
import dev.gatun.data.ViewsProvider;
import dev.gatun.tensor.Device;
import dev.gatun.primitives.RandomKey;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

class MultiCropTest {
    private static final List<Double> ONE = List.of(1., 1.);

    /** Images in memory, with their numbers modulo 3 as labels. */
    private record Images(List<Element> elements) implements Dataset {
        static Images of(int channels, int... sizes) {
            List<Element> elements = new ArrayList<>();
            for (int i = 0; i < sizes.length; i += 2) {
                byte[] pixels = new byte[sizes[i] * sizes[i + 1] * channels];
                for (int p = 0; p < pixels.length; p++) {
                    pixels[p] = (byte) ((p * 37 + i * 91 + p * p % 17) % 256);
                }
                elements.add(new Element(new long[] {sizes[i], sizes[i + 1], channels}, MemorySegment.ofArray(pixels)));
            }
            return new Images(elements);
        }

        static Images equal(int count, int side, int channels) {
            int[] sizes = new int[2 * count];
            Arrays.fill(sizes, side);
            return of(channels, sizes);
        }

        @Override
        public int size() {
            return elements.size();
        }

        @Override
        public Element read(int index) {
            return elements.get(index);
        }

        @Override
        public boolean labelled() {
            return true;
        }

        @Override
        public int label(int index) {
            return index % 3;
        }

        @Override
        public int classes() {
            return 3;
        }

        @Override
        public List<String> classNames() {
            return List.of("a", "b", "c");
        }

        @Override
        public String describe(int index) {
            return "image " + index;
        }
    }

    private static final CropSettings STRONG = new CropSettings(
            "global", 2, 12, List.of(.3, 1.), List.of(.75, 1.33), .5, .8, .4, .4, .5, 3, List.of(.1, 2.), .01);
    private static final CropSettings LOCAL =
            new CropSettings("local", 1, 7, List.of(.05, .3), List.of(.75, 1.33), .5, .8, .4, .4, .5, 3, List.of(.1, 2.), 0);

    private static Views views(Dataset data, CropSettings... crops) {
        int channels = (int) data.read(0).shape()[2];
        List<Double> mean = channels == 1 ? List.of(.3) : List.of(.3, .4, .5);
        List<Double> std = channels == 1 ? List.of(.35) : List.of(.2, .3, .4);
        return new MultiCropProvider().create(new MultiCropSettings(List.of(crops), mean, std, 0, 0), data);
    }

    private static float[] numbers(int threads, Views views, Dataset data, int[] indices, RandomKey key, int view) {
        try (Device device = Device.cpu(threads); Scope scope = device.scope().open()) {
            return views.make(scope, data, indices, key).views().get(view).images().toArray();
        }
    }

    private static float[] row(float[] all, int rows, int row) {
        int size = all.length / rows;
        return Arrays.copyOfRange(all, row * size, row * size + size);
    }

    @Test
    void aSampleThatIsInABatchTwiceIsShownDifferently() {
        Images data = Images.equal(4, 12, 1);
        Views views = views(data, STRONG);
        RandomKey key = new RandomKey(3, 4, 5);
        float[] twice = numbers(1, views, data, new int[] {2, 1, 2, 2}, key, 0);
        float[] once = numbers(1, views, data, new int[] {1, 2}, key, 0);
        assertArrayEquals(row(once, 2, 1), row(twice, 4, 0), "the first draws as it does alone");
        assertArrayEquals(row(once, 2, 0), row(twice, 4, 1));
        assertFalse(Arrays.equals(row(twice, 4, 0), row(twice, 4, 2)));
        assertFalse(Arrays.equals(row(twice, 4, 2), row(twice, 4, 3)));
    }

    @Test
    void batchesSayWhatTheyHold() {
        Dataset data = Images.equal(5, 20, 3);
        Views views = views(data, STRONG, LOCAL);
        assertEquals(List.of(new ViewRole("global", 12), new ViewRole("global", 12), new ViewRole("local", 7)), views.roles());
        assertEquals(3, views.count());
        assertArrayEquals(new long[] {12, 12, 3}, views.shape());
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            Batch batch = views.make(scope, data, new int[] {4, 0, 2, 1}, new RandomKey(1, 0, 5));
            assertArrayEquals(new long[] {4, 0, 2, 1}, batch.ids());
            assertArrayEquals(new int[] {1, 0, 2, 1}, batch.labels());
            for (int v = 0; v < 3; v++) {
                View view = batch.views().get(v);
                assertEquals(views.roles().get(v), new ViewRole(view.role(), view.size()));
                assertArrayEquals(new long[] {4, view.size(), view.size(), 3}, view.images().shape());
                assertTrue(view.images().finite());
            }
            // views of one size are one batch without a copy
            Tensor[] globals = {batch.views().get(0).images(), batch.views().get(1).images()};
            assertArrayEquals(new long[] {8, 12, 12, 3}, Tensor.adjacent(globals).orElseThrow().shape());
            assertArrayEquals(new long[] {2, 12, 12, 3}, views.plain(scope, data, new int[] {3, 3}).shape());
        }
    }

    @Test
    void aViewDependsOnKeyAndSampleAlone() {
        Dataset data = Images.equal(9, 20, 1);
        Views views = views(data, STRONG, LOCAL);
        int[] indices = {8, 3, 5, 0};
        RandomKey key = new RandomKey(7, 11, 3);
        for (int v = 0; v < 3; v++) {
            float[] one = numbers(1, views, data, indices, key, v);
            assertArrayEquals(one, numbers(2, views, data, indices, key, v));
            assertArrayEquals(one, numbers(3, views, data, indices, key, v));
            assertArrayEquals(row(one, 4, 2), numbers(2, views, data, new int[] {5}, key, v));
            assertFalse(Arrays.equals(one, numbers(1, views, data, indices, new RandomKey(8, 11, 3), v)));
            assertFalse(Arrays.equals(one, numbers(1, views, data, indices, new RandomKey(7, 12, 3), v)));
            assertFalse(Arrays.equals(one, numbers(1, views, data, indices, new RandomKey(7, 11, 4), v)));
        }
        assertFalse(Arrays.equals(numbers(1, views, data, indices, key, 0), numbers(1, views, data, indices, key, 1)));
    }

    @Test
    void imagesOfSeveralSizesDoNotChangeEachOther() {
        Dataset data = Images.of(3, 20, 31, 17, 12, 40, 15);
        Views views = views(data, STRONG);
        RandomKey key = new RandomKey(2, 0, 1);
        float[] all = numbers(2, views, data, new int[] {0, 1, 2}, key, 1);
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            float[] plain = views.plain(scope, data, new int[] {0, 1, 2}).toArray();
            for (int i = 0; i < 3; i++) {
                assertArrayEquals(row(all, 3, i), numbers(2, views, data, new int[] {i}, key, 1));
                assertArrayEquals(row(plain, 3, i), views.plain(scope, data, new int[] {i}).toArray());
            }
        }
    }

    @Test
    void withoutAugmentationAViewIsThePlainImage() {
        Dataset data = Images.equal(4, 12, 3);
        CropSettings still = new CropSettings("global", 1, 12, ONE, ONE, 0, 0, 0, 0, 0, 1, ONE, 0);
        Views views = views(data, still);
        int[] indices = {2, 0};
        double[] mean = {.3, .4, .5};
        double[] std = {.2, .3, .4};
        try (Device device = Device.cpu(2); Scope scope = device.scope().open()) {
            float[] plain = views.plain(scope, data, indices).toArray();
            for (int i = 0; i < plain.length; i++) {
                byte[] stored = data.read(indices[i * 2 / plain.length]).data().toArray(ValueLayout.JAVA_BYTE);
                double want = ((stored[i % stored.length] & 0xff) / 255. - mean[i % 3]) / std[i % 3];
                // three roundings of numbers of at most 1 before the division by std
                assertEquals(want, plain[i], 3 * Math.ulp(1f) / std[i % 3]);
            }
            assertArrayEquals(plain, views.make(scope, data, indices, new RandomKey(1, 1, 1)).views().getFirst().images().toArray());
        }
    }

    @Test
    void picturesShowTheStoredPixels() {
        for (int channels : new int[] {1, 3}) {
            Dataset data = Images.equal(2, 12, channels);
            Views views = views(data, STRONG);
            byte[] stored = data.read(1).data().toArray(ValueLayout.JAVA_BYTE);
            ImageDecoder decoder = new ImageDecoder(channels);
            try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
                Tensor plain = views.plain(scope, data, new int[] {0, 1});
                byte[] drawn = decoder.decode(views.picture(plain, 1), "x.png").data().toArray(ValueLayout.JAVA_BYTE);
                assertArrayEquals(stored, drawn);
                Tensor beyond = scope.full(1e9f, 1, 2, 2, channels);
                assertEquals(-1, decoder.decode(views.picture(beyond, 0), "x.png").data().get(ValueLayout.JAVA_BYTE, 0));
                assertThrows(IllegalArgumentException.class, () -> views.picture(scope.zeros(1, 2, 2, 2), 0));
            }
            byte[] element = decoder.decode(views.picture(data.read(1)), "x.png").data().toArray(ValueLayout.JAVA_BYTE);
            assertArrayEquals(stored, element);
        }
    }

    @Test
    void otherChannelsAreRefusedByName() {
        List<Element> mixed = List.of(Images.equal(1, 12, 3).read(0), Images.equal(1, 12, 1).read(0));
        Dataset data = new Images(mixed);
        Views views = views(data, STRONG);
        try (Device device = Device.cpu(1); Scope scope = device.scope().open()) {
            String line = ImageDecoderTest.line(() -> views.plain(scope, data, new int[] {0, 1}));
            assertEquals("image 1: has shape [12, 12, 1], not (height, width, 3)", line);
        }
        MultiCropSettings three = new MultiCropSettings(List.of(STRONG), List.of(.1, .2, .3), List.of(.1, .2, .3), 0, 0);
        assertThrows(IllegalArgumentException.class, () -> new MultiCropProvider().create(three, Images.equal(1, 12, 1)));
    }

    @Test
    void isFoundByItsName() {
        getClass().getModule().addUses(ViewsProvider.class);
        assertTrue(StreamSupport.stream(ServiceLoader.load(ViewsProvider.class).spliterator(), false)
                .anyMatch(p -> p.name().equals("multi-crop") && p instanceof MultiCropProvider));
    }
}

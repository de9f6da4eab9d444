// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class AugmentationTest {
    private static final Augmentation.Crop RANDOM = new Augmentation.Crop.Random(0.3f, 1, 0.75f, 4 / 3f);
    private static final Augmentation.Settings ALL =
            new Augmentation.Settings(RANDOM, false, 0.5f, 0.8f, 0.4f, 0.4f, 0.3f, 3, 0.1f, 2, 0.05f);

    private final byte[] pixels = new byte[4 * 12 * 10 * 3];

    AugmentationTest() {
        new SplittableRandom(3).nextBytes(pixels);
    }

    private Operand values(Native device, long... shape) {
        Operand operand = device.empty(DType.U8, shape);
        MemorySegment.copy(pixels, 0, operand.segment(), ValueLayout.JAVA_BYTE, 0, (int) operand.layout().elements());
        return operand;
    }

    private static MemorySegment key(Native device, int view) {
        MemorySegment key = device.arena.allocate(RandomKey.BYTES, 8);
        new RandomKey(1, 2, view).write(key);
        return key;
    }

    private static float[][] run(
            Native device, Augmentation.Settings settings, Augmentation.Images images, int view, int[] rows, long... shape) {
        Operand batch = device.empty(DType.F32, shape);
        Operand drawn = device.empty(DType.F32, shape[0], Augmentation.PARAMETERS);
        MemorySegment workspace =
                device.arena.allocate(Augmentation.workspace(device.stream, settings, images, batch), 64);
        long[] ids = Arrays.stream(rows).mapToLong(row -> 1000 + row).toArray();
        float[] mean = {0.5f, 0.4f, 0.3f};
        float[] deviation = {0.2f, 0.25f, 0.5f};
        Augmentation.run(
                device.stream,
                settings,
                images,
                device.of(rows, rows.length),
                device.of(ids, ids.length),
                key(device, view),
                device.of(mean, 3),
                device.of(deviation, 3),
                batch,
                drawn,
                workspace);
        return new float[][] {Native.floats(batch), Native.floats(drawn)};
    }

    @Test
    void plainImagesAreOnlyNormalised() {
        try (Native device = new Native()) {
            Augmentation.Settings plain = Augmentation.Settings.plain(new Augmentation.Crop.Central(0), false);
            float[] batch =
                    run(device, plain, Augmentation.Images.equal(values(device, 4, 12, 10, 3)), 0, new int[] {2, 0}, 2, 12, 10, 3)[0];
            double[] mean = {0.5, 0.4f, 0.3f};
            double[] deviation = {0.2f, 0.25, 0.5};
            for (int i = 0; i < 720; i++) {
                int pixel = pixels[(i < 360 ? 720 : -360) + i] & 0xff;
                assertEquals((pixel / 255.0 - mean[i % 3]) / deviation[i % 3], batch[i], 4 * Math.ulp(4f));
            }
        }
    }

    @Test
    void viewsDependOnTheKeyAndTheSampleOnly() {
        try (Native device = new Native(2);
                Native single = new Native(1)) {
            int[] rows = {3, 1, 0, 1};
            Augmentation.Images images = Augmentation.Images.equal(values(device, 4, 12, 10, 3));
            float[][] first = run(device, ALL, images, 0, rows, 4, 7, 9, 3);
            float[][] again = run(single, ALL, Augmentation.Images.equal(values(single, 4, 12, 10, 3)), 0, rows, 4, 7, 9, 3);
            assertArrayEquals(first[0], again[0]);
            assertArrayEquals(first[1], again[1]);
            assertArrayEquals(Arrays.copyOfRange(first[0], 189, 378), Arrays.copyOfRange(first[0], 567, 756));
            assertFalse(Arrays.equals(first[1], run(device, ALL, images, 1, rows, 4, 7, 9, 3)[1]));
            for (int view = 0; view < 4; view++) {
                float height = first[1][view * Augmentation.PARAMETERS + Augmentation.HEIGHT];
                float top = first[1][view * Augmentation.PARAMETERS + Augmentation.TOP];
                assertTrue(height >= 1 && top >= 0 && top + height <= 12, "rows " + top + " + " + height);
            }
        }
    }

    @Test
    void raggedImagesAreReadWhereTheyLie() {
        try (Native device = new Native()) {
            Augmentation.Images images = new Augmentation.Images(
                    values(device, 1440),
                    device.of(new long[] {0, 360, 720, 1440}, 4),
                    device.of(new int[] {12, 5, 8}, 3),
                    device.of(new int[] {10, 20, 30}, 3),
                    12,
                    30);
            Augmentation.Images equal = Augmentation.Images.equal(values(device, 4, 12, 10, 3));
            float[][] expected = run(device, ALL, equal, 0, new int[] {0}, 1, 6, 6, 3);
            float[][] ragged = run(device, ALL, images, 0, new int[] {0}, 1, 6, 6, 3);
            assertArrayEquals(expected[1], ragged[1]);
            assertArrayEquals(expected[0], ragged[0]);
            GatunException e = assertThrows(
                    GatunException.class, () -> run(device, ALL, images, 0, new int[] {3}, 1, 6, 6, 3));
            assertTrue(e.getMessage().contains("rows[0] is 3, there are 3 images"), e.getMessage());
        }
    }

    @Test
    void badSettingsAreNamed() {
        try (Native device = new Native()) {
            Augmentation.Images images = Augmentation.Images.equal(values(device, 4, 12, 10, 3));
            Augmentation.Settings bad = new Augmentation.Settings(
                    new Augmentation.Crop.Random(0.5f, 0.3f, 0.75f, 1), false, 0, 0, 0, 0, 0, 1, 1, 1, 0);
            GatunException e =
                    assertThrows(GatunException.class, () -> run(device, bad, images, 0, new int[] {0}, 1, 6, 6, 3));
            assertEquals("augmentation_workspace", e.operation());
            assertTrue(e.getMessage().contains("area_low is 0.5"), e.getMessage());
            GatunException channels =
                    assertThrows(GatunException.class, () -> run(device, ALL, images, 0, new int[] {0}, 1, 6, 6, 1));
            assertTrue(channels.getMessage().contains("images has 3 channels, batch has 1"), channels.getMessage());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class IdxDatasetTest {
    @TempDir
    Path folder;

    private static byte[] pixels(Dataset data, int index) {
        return data.read(index).data().toArray(ValueLayout.JAVA_BYTE);
    }

    /** The one line that a failure consists of. */
    static String line(Executable action) {
        String message = assertThrows(DataException.class, action).getMessage();
        assertEquals(1, message.lines().count(), message);
        return message;
    }

    private static void says(String message, Object... parts) {
        for (Object part : parts) {
            assertTrue(message.contains(part.toString()), message + " should say " + part);
        }
    }

    @Test
    void readsWhatWasWritten() throws IOException {
        byte[] data = IdxFiles.pattern(5 * 4 * 3);
        Path images = IdxFiles.plain(folder.resolve("images"), data, 5, 4, 3);
        Path labels = IdxFiles.plain(folder.resolve("labels"), new byte[] {2, 0, 1, 2, 0}, 5);
        Path images2 = IdxFiles.compressed(folder.resolve("images2"), data, 5, 4, 3);
        Path labels2 = IdxFiles.compressed(folder.resolve("labels2"), new byte[] {2, 0, 1, 2, 0}, 5);
        for (Dataset d : List.of(
                IdxDataset.open(images, labels, List.of("a", "b", "c")), IdxDataset.open(images2, labels2, List.of()))) {
            assertEquals(5, d.size());
            assertTrue(d.labelled());
            assertEquals(3, d.classes());
            assertArrayEquals(new int[] {2, 0, 1, 2, 0}, d.labels(new int[] {0, 1, 2, 3, 4}));
            for (int i = 0; i < 5; i++) {
                assertArrayEquals(new long[] {4, 3, 1}, d.read(i).shape());
                assertArrayEquals(Arrays.copyOfRange(data, i * 12, i * 12 + 12), pixels(d, i));
            }
            assertTrue(d.describe(3).endsWith("record 3"), d.describe(3));
        }
        assertEquals(List.of("a", "b", "c"), IdxDataset.open(images, labels, List.of("a", "b", "c")).classNames());
        assertEquals(List.of("0", "1", "2"), IdxDataset.open(images, labels, List.of()).classNames());
    }

    @Test
    void readsColourWithoutLabels() throws IOException {
        byte[] data = IdxFiles.pattern(2 * 4 * 3 * 3);
        Dataset d = IdxDataset.open(IdxFiles.plain(folder.resolve("images"), data, 2, 4, 3, 3));
        assertArrayEquals(new long[] {4, 3, 3}, d.read(1).shape());
        assertArrayEquals(Arrays.copyOfRange(data, 36, 72), pixels(d, 1));
        assertFalse(d.labelled());
        assertEquals(-1, d.label(1));
        assertEquals(0, d.labels(new int[] {0, 1}).length);
        assertThrows(IndexOutOfBoundsException.class, () -> d.read(2));
        assertThrows(IndexOutOfBoundsException.class, () -> d.label(-1));
    }

    @Test
    void namesMissingFile() {
        Path file = folder.resolve("none");
        says(line(() -> IdxDataset.open(file)), file, "no such file");
        says(line(() -> IdxDataset.open(folder)), folder, "not a readable file");
    }

    @Test
    void namesWrongMagic() throws IOException {
        Path labels = IdxFiles.plain(folder.resolve("labels"), new byte[] {1, 2}, 2);
        says(line(() -> IdxDataset.open(labels)), labels, "wrong magic 00000801", "00000803");
        Path text = Files.writeString(folder.resolve("text"), "this is no IDX file");
        says(line(() -> IdxDataset.open(text)), text, "wrong magic");
        Path images = IdxFiles.plain(folder.resolve("images"), new byte[4], 1, 2, 2);
        says(line(() -> IdxDataset.open(images, images, List.of())), images, "wrong magic 00000803", "00000801");
    }

    @Test
    void namesTruncatedFileWhereverItEnds() throws IOException {
        byte[] whole = IdxFiles.bytes(IdxFiles.pattern(3 * 4), 3, 2, 2);
        for (int length = 0; length < whole.length; length++) {
            Path file = Files.write(folder.resolve("cut" + length), Arrays.copyOf(whole, length));
            says(line(() -> IdxDataset.open(file)), file, "truncated");
        }
        Path compressed = IdxFiles.compressed(folder.resolve("whole.gz"), IdxFiles.pattern(300 * 4), 300, 2, 2);
        byte[] gzip = Files.readAllBytes(compressed);
        for (int length = 2; length < gzip.length; length += 7) {
            Path file = Files.write(folder.resolve("cut.gz" + length), Arrays.copyOf(gzip, length));
            says(line(() -> IdxDataset.open(file)), file, "truncated");
        }
        Path shortGzip = IdxFiles.compressed(folder.resolve("short.gz"), IdxFiles.pattern(11), 3, 2, 2);
        says(line(() -> IdxDataset.open(shortGzip)), shortGzip, "truncated", "12", "11");
    }

    @Test
    void namesDamagedGzip() throws IOException {
        byte[] gzip = Files.readAllBytes(IdxFiles.compressed(folder.resolve("whole"), IdxFiles.pattern(5000), 50, 10, 10));
        gzip[gzip.length - 6] ^= 1; // in the checksum
        Path file = Files.write(folder.resolve("damaged"), gzip);
        says(line(() -> IdxDataset.open(file)), file, "damaged");
    }

    @Test
    void refusesHeaderThatPromisesTheEarth() throws IOException {
        Path file = IdxFiles.plain(folder.resolve("earth"), new byte[4], -1, -1, -1);
        says(line(() -> IdxDataset.open(file)), file, "truncated", "4294967295x4294967295x4294967295");
        Path gzip = IdxFiles.compressed(folder.resolve("earth.gz"), new byte[4], 1 << 30, 28, 28);
        says(line(() -> IdxDataset.open(gzip)), gzip, "truncated");
    }

    @Test
    void namesSurplusBytes() throws IOException {
        Path file = IdxFiles.plain(folder.resolve("long"), new byte[13], 3, 2, 2);
        says(line(() -> IdxDataset.open(file)), file, "more than the 12 bytes");
    }

    @Test
    void namesEmptyFileOfImages() throws IOException {
        Path file = IdxFiles.plain(folder.resolve("empty"), new byte[0], 0, 2, 2);
        says(line(() -> IdxDataset.open(file)), file, "no images");
    }

    @Test
    void namesCountMismatchAndLabelOutOfRange() throws IOException {
        Path images = IdxFiles.plain(folder.resolve("images"), new byte[12], 3, 2, 2);
        Path two = IdxFiles.plain(folder.resolve("two"), new byte[] {0, 1}, 2);
        says(line(() -> IdxDataset.open(images, two, List.of())), two, "2 labels", images, "3 images");
        Path high = IdxFiles.plain(folder.resolve("high"), new byte[] {0, (byte) 200, 1}, 3);
        says(line(() -> IdxDataset.open(images, high, List.of("a", "b"))), high, "record 1", "label 200", "2 classes");
    }

    @Test
    void fashionMnistFromItsFolder() throws IOException {
        IdxFiles.compressed(folder.resolve("train-images-idx3-ubyte.gz"), IdxFiles.pattern(40 * 4), 40, 2, 2);
        byte[] labels = new byte[40];
        for (int i = 0; i < 40; i++) {
            labels[i] = (byte) (i % 10);
        }
        IdxFiles.plain(folder.resolve("train-labels-idx1-ubyte"), labels, 40);
        IdxFiles.compressed(folder.resolve("t10k-images-idx3-ubyte.gz"), IdxFiles.pattern(8), 2, 2, 2);
        IdxFiles.compressed(folder.resolve("t10k-labels-idx1-ubyte.gz"), new byte[] {9, 0}, 2);
        Datasets d = new FashionMnistProvider().create(new FashionMnistSettings(folder.toString(), 15), 3);
        assertEquals(15, d.pretrain().size());
        assertEquals(40, d.train().size());
        assertEquals("Ankle boot", d.test().orElseThrow().classNames().get(d.test().orElseThrow().label(0)));
        says(line(() -> new FashionMnistProvider().create(new FashionMnistSettings(folder.toString(), 41), 3)), "data.images", "41", "40");
        assertEquals(folder, FashionMnistProvider.search(List.of(folder.resolve("none"), folder)));
        says(line(() -> FashionMnistProvider.search(List.of(folder.resolve("none")))), folder.resolve("none"), "make data",
                "gatun data fashion-mnist");
        Path nothing = folder.resolve("nothing");
        says(line(() -> new FashionMnistProvider().create(new FashionMnistSettings(nothing.toString(), 0), 3)), nothing, "no such file");
    }
}

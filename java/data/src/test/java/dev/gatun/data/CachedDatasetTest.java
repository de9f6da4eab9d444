// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What was read stays as long as there is room; what comes out is the same either way. */
class CachedDatasetTest {
    @TempDir
    Path folder;

    private Dataset files(int count) throws IOException {
        for (int i = 0; i < count; i++) {
            Files.writeString(folder.resolve("x" + i + ".bytes"), "data" + i);
        }
        return FolderDataset.open(folder, FolderDatasetTest.BYTES);
    }

    private static byte[] read(Dataset data, int index) {
        return data.read(index).data().toArray(ValueLayout.JAVA_BYTE);
    }

    @Test
    void whatFitsIsReadOnce() throws IOException {
        Dataset plain = files(4);
        // room for two and a half
        Dataset cached = CachedDataset.of(plain, 12);
        for (int i = 0; i < 4; i++) {
            assertArrayEquals(read(plain, i), read(cached, i));
        }
        assertSame(cached.read(0), cached.read(0));
        assertTrue(cached.read(0).data().isNative() && cached.read(0).data().isReadOnly());
        for (int i = 0; i < 4; i++) {
            Files.writeString(folder.resolve("x" + i + ".bytes"), "other");
        }
        assertArrayEquals("data0".getBytes(), read(cached, 0));
        assertArrayEquals("data1".getBytes(), read(cached, 1));
        assertArrayEquals("other".getBytes(), read(cached, 2));
        assertArrayEquals("other".getBytes(), read(cached, 3));
    }

    @Test
    void threadsGetTheSameElement() throws IOException {
        Dataset cached = CachedDataset.of(files(8), 1000);
        assertTrue(IntStream.range(0, 800).parallel().allMatch(i -> new String(read(cached, i % 8)).equals("data" + i % 8)));
        assertSame(cached.read(7), cached.read(7));
    }

    @Test
    void theRestIsTheDataSets() throws IOException {
        Dataset plain = files(2);
        Dataset cached = CachedDataset.of(plain, 100);
        assertEquals(2, cached.size());
        assertEquals(plain.describe(1), cached.describe(1));
        assertEquals(plain.classNames(), cached.classNames());
        assertEquals(-1, cached.label(0));
        assertEquals(0, cached.classes());
        assertFalse(cached.labelled());
        assertFalse(cached.resident());
        assertSame(plain, CachedDataset.of(plain, 0));
        assertThrows(IllegalArgumentException.class, () -> CachedDataset.of(plain, -1));
    }

    @Test
    void anErrorIsNotKept() throws IOException {
        Files.writeString(folder.resolve("bad.bytes"), "!");
        Dataset cached = CachedDataset.of(FolderDataset.open(folder, FolderDatasetTest.BYTES), 100);
        assertThrows(DataException.class, () -> cached.read(0));
        Files.writeString(folder.resolve("bad.bytes"), "good");
        assertArrayEquals("good".getBytes(), read(cached, 0));
    }
}

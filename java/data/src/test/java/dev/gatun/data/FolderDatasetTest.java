// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderDatasetTest {
    /** A format for the tests: the file's bytes are the element; an exclamation mark is damage. */
    static final Decoder BYTES = new Decoder() {
        @Override
        public Set<String> extensions() {
            return Set.of("bytes");
        }

        @Override
        public Element decode(byte[] bytes, String where) {
            if (bytes[0] == '!') {
                throw new DataException(where, "is broken");
            }
            return new Element(new long[] {bytes.length}, MemorySegment.ofArray(bytes));
        }
    };

    @TempDir
    Path folder;

    private void write(String name, String text) throws IOException {
        Files.createDirectories(folder.resolve(name).getParent());
        Files.writeString(folder.resolve(name), text);
    }

    private static String text(Dataset data, int index) {
        return new String(data.read(index).data().toArray(ValueLayout.JAVA_BYTE));
    }

    @Test
    void classesAreSubFoldersInOrderOfTheirNames() throws IOException {
        write("cat/2.bytes", "c2");
        write("cat/10.bytes", "c10");
        write("bird/deep/er/1.BYTES", "b1");
        write("bird/notes.txt", "not data");
        write("bird/.hidden.bytes", "not data");
        write("dog/1.bytes", "d1");
        write("bird/.thumbnails/1.bytes", "not data");
        write(".git/1.bytes", "not data");
        write("README.md", "not data");
        Dataset data = FolderDataset.open(folder, BYTES);
        assertEquals(List.of("bird", "cat", "dog"), data.classNames());
        assertEquals(4, data.size());
        assertEquals("b1", text(data, 0));
        assertEquals("c10", text(data, 1));
        assertEquals("c2", text(data, 2));
        assertEquals("d1", text(data, 3));
        assertArrayEquals(new int[] {0, 1, 1, 2}, data.labels(new int[] {0, 1, 2, 3}));
        assertEquals(folder.resolve("cat/2.bytes").toString(), data.describe(2));
    }

    @Test
    void flatFolderHasNoLabels() throws IOException {
        write("b.bytes", "b");
        write("a.bytes", "a");
        Dataset data = FolderDataset.open(folder, BYTES);
        assertFalse(data.labelled());
        assertEquals(0, data.classes());
        assertEquals(-1, data.label(1));
        assertEquals("a", text(data, 0));
        assertEquals("b", text(data, 1));
    }

    @Test
    void namesWhatIsWrong() throws IOException {
        String missing = IdxDatasetTest.line(() -> FolderDataset.open(folder.resolve("none"), BYTES));
        assertEquals(folder.resolve("none") + ": there is no such folder", missing);
        String empty = IdxDatasetTest.line(() -> FolderDataset.open(folder, BYTES));
        assertEquals(folder + ": holds no images (files that end in bytes)", empty);
        write("cat/1.bytes", "c1");
        Files.createDirectories(folder.resolve("dog"));
        String emptyClass = IdxDatasetTest.line(() -> FolderDataset.open(folder, BYTES));
        assertEquals(folder.resolve("dog") + ": holds no images (files that end in bytes)", emptyClass);
        write("dog/1.bytes", "!");
        Dataset data = FolderDataset.open(folder, BYTES);
        assertEquals(folder.resolve("dog/1.bytes") + ": is broken", IdxDatasetTest.line(() -> data.read(1)));
        Files.delete(folder.resolve("cat/1.bytes"));
        assertTrue(IdxDatasetTest.line(() -> data.read(0)).startsWith(folder.resolve("cat/1.bytes") + ": cannot be read"));
        write("loose.bytes", "l");
        String mixed = IdxDatasetTest.line(() -> FolderDataset.open(folder, BYTES));
        assertTrue(mixed.startsWith(folder + ": holds both") && mixed.contains("loose.bytes"), mixed);
        Path file = folder.resolve("loose.bytes");
        assertEquals(file + ": is not a folder", IdxDatasetTest.line(() -> FolderDataset.open(file, BYTES)));
    }
}

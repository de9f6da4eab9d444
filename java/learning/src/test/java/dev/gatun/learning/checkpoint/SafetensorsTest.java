// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.learning.LearningException;
import dev.gatun.primitives.DType;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsTest {
    @TempDir
    Path folder;

    private static MemorySegment memory(MemorySegment values) {
        return Arena.ofAuto().allocate(Math.max(values.byteSize(), 1), 8).asSlice(0, values.byteSize()).copyFrom(values);
    }

    private static Safetensors.Entry floats(String name, float[] values, long... shape) {
        return new Safetensors.Entry(name, DType.F32, shape, memory(MemorySegment.ofArray(values)));
    }

    private Path written() {
        Path file = folder.resolve("some.safetensors");
        Safetensors.write(
                file,
                Map.of("note", "a \"quoted\" text"),
                List.of(
                        floats("weight", new float[] {1, -2.5f, Float.NaN, 4, 5, 6}, 2, 3),
                        new Safetensors.Entry("ids", DType.I64, new long[] {2}, memory(MemorySegment.ofArray(new long[] {-1, 7}))),
                        new Safetensors.Entry("counts", DType.I32, new long[] {}, memory(MemorySegment.ofArray(new int[] {9}))),
                        floats("empty", new float[0], 0, 4)));
        return file;
    }

    @Test
    void readsWhatWasWritten() {
        Safetensors.Content content = Safetensors.read(written());
        assertTrue(content.checked());
        assertEquals(Map.of("note", "a \"quoted\" text"), content.metadata());
        assertEquals(List.of("weight", "ids", "counts", "empty"), List.copyOf(content.entries().keySet()));
        assertArrayEquals(new long[] {2, 3}, content.entries().get("weight").shape());
        float[] values = content.entries().get("weight").data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        assertArrayEquals(new float[] {1, -2.5f, Float.NaN, 4, 5, 6}, values);
        assertEquals(9, content.entries().get("counts").data().get(ValueLayout.JAVA_INT_UNALIGNED, 0));
        assertEquals(7, content.entries().get("ids").data().get(ValueLayout.JAVA_LONG_UNALIGNED, 8));
    }

    @Test
    void theSameContentGivesTheSameBytesAndNoTemporaryFileRemains() throws IOException {
        byte[] first = Files.readAllBytes(written());
        assertArrayEquals(first, Files.readAllBytes(written()));
        try (var files = Files.list(folder)) {
            assertEquals(1, files.count());
        }
    }

    @Test
    void readsAFileOfAnotherLibraryWithoutChecksum() throws IOException {
        byte[] header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}".getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + header.length + 4).order(ByteOrder.LITTLE_ENDIAN);
        bytes.putLong(header.length).put(header).putFloat(3.5f);
        Path file = Files.write(folder.resolve("other.safetensors"), bytes.array());
        Safetensors.Content content = Safetensors.read(file);
        assertFalse(content.checked());
        assertEquals(3.5f, content.entries().get("a").data().get(ValueLayout.JAVA_FLOAT_UNALIGNED, 0));
    }

    @Test
    void everyDamagedByteAndEveryTruncationIsFound() throws IOException {
        byte[] good = Files.readAllBytes(written());
        Path file = folder.resolve("bad.safetensors");
        SplittableRandom random = new SplittableRandom(5);
        for (int trial = 0; trial < 600; trial++) {
            byte[] bad = good.clone();
            if (trial % 3 == 0) {
                bad = java.util.Arrays.copyOf(good, random.nextInt(good.length));
            } else {
                // the length and the header are where a careless reader would trust what it reads
                int at = random.nextInt(trial % 3 == 1 ? 64 : good.length);
                bad[at] ^= (byte) (1 + random.nextInt(255));
            }
            Files.write(file, bad);
            try {
                Safetensors.Content content = Safetensors.read(file);
                // only a damaged name of the checksum's own field can hide it; a run's checkpoint then is refused
                assertFalse(content.checked(), "trial " + trial);
            } catch (LearningException e) {
                assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
                assertFalse(e.getMessage().contains("\n"), e.getMessage());
            }
        }
    }

    @Test
    void hostileHeadersAreRefused() throws IOException {
        for (String header : List.of(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
                "{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}",
                "{\"a\":{\"dtype\":\"F32\",\"shape\":\"x\",\"data_offsets\":[0,4]}}",
                "{\"a\":3}",
                "[]",
                "{}",
                "[".repeat(5000),
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                        + "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}")) {
            byte[] text = header.getBytes(StandardCharsets.UTF_8);
            ByteBuffer bytes = ByteBuffer.allocate(8 + text.length + 4).order(ByteOrder.LITTLE_ENDIAN);
            bytes.putLong(text.length).put(text);
            Path file = Files.write(folder.resolve("hostile.safetensors"), bytes.array());
            LearningException e = assertThrows(LearningException.class, () -> Safetensors.read(file), header);
            assertFalse(e.getMessage().contains("\n"), e.getMessage());
        }
    }

    @Test
    void aFolderThatCannotBeWrittenIsOneLine() {
        Path file = folder.resolve("gone").resolve("x.safetensors");
        LearningException e =
                assertThrows(LearningException.class, () -> Safetensors.write(file, Map.of(), List.of()));
        assertEquals(file + ": cannot be written: no folder " + file.getParent(), e.getMessage());
        assertEquals(
                folder.resolve("none") + ": no such file",
                assertThrows(LearningException.class, () -> Safetensors.read(folder.resolve("none"))).getMessage());
    }

    @Test
    void aFullDiskIsOneLineAndLeavesTheOldFile() {
        // a device whose every write fails with "no space left"
        Path full = Path.of("/dev/full");
        if (Files.exists(full)) {
            LearningException e = assertThrows(LearningException.class, () -> {
                Files.createSymbolicLink(folder.resolve("x.tmp"), full);
                AtomicFile.write(folder.resolve("x"), "text");
            });
            assertTrue(e.getMessage().startsWith(folder.resolve("x") + ": cannot be written: "), e.getMessage());
            assertTrue(e.getMessage().contains("No space left"), e.getMessage());
        }
    }
}

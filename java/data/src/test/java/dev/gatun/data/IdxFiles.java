// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;

/** Writes IDX files for tests. */
final class IdxFiles {
    private IdxFiles() {}

    static byte[] bytes(byte[] data, int... sizes) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        DataOutputStream stream = new DataOutputStream(out);
        stream.writeInt(0x0800 | sizes.length);
        for (int size : sizes) {
            stream.writeInt(size);
        }
        stream.write(data);
        return out.toByteArray();
    }

    static Path plain(Path file, byte[] data, int... sizes) throws IOException {
        return Files.write(file, bytes(data, sizes));
    }

    static Path compressed(Path file, byte[] data, int... sizes) throws IOException {
        try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
            out.write(bytes(data, sizes));
        }
        return file;
    }

    /** Bytes that differ from their neighbours, in every position of a period that no image size divides. */
    static byte[] pattern(int n) {
        byte[] data = new byte[n];
        for (int i = 0; i < n; i++) {
            data[i] = (byte) (i * 31 % 251);
        }
        return data;
    }
}

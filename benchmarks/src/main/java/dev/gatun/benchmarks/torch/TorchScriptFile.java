// SPDX-License-Identifier: Apache-2.0
package dev.gatun.benchmarks.torch;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Writes TorchScript source as the archive that every build of PyTorch loads: a zip with the source, the format's version and one pickled
 * object without attributes.
 */
final class TorchScriptFile {
    /** of the archive's format, not of PyTorch: read by all releases since 1.11 */
    private static final String FORMAT_VERSION = "10\n";

    private TorchScriptFile() {}

    /** Writes class {@code Peer} of the given source into a temporary file, which the caller deletes. */
    static Path write(String source) {
        try {
            Path file = Files.createTempFile("gatun-peer", ".pt");
            try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
                zip.setMethod(ZipOutputStream.STORED);
                entry(zip, "peer/data.pkl", module());
                entry(zip, "peer/code/__torch__.py", source.getBytes(StandardCharsets.UTF_8));
                entry(zip, "peer/constants.pkl", new byte[] {(byte) 0x80, 2, ')', '.'});
                entry(zip, "peer/version", FORMAT_VERSION.getBytes(StandardCharsets.UTF_8));
            }
            return file;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Pickle, protocol 2: a new __torch__.Peer whose state is {"training": False}. */
    private static byte[] module() {
        ByteArrayOutputStream pickle = new ByteArrayOutputStream();
        byte[] key = "training".getBytes(StandardCharsets.UTF_8);
        pickle.writeBytes(new byte[] {(byte) 0x80, 2, 'c'});
        pickle.writeBytes("__torch__\nPeer\n".getBytes(StandardCharsets.UTF_8));
        pickle.writeBytes(new byte[] {')', (byte) 0x81, '}', '(', 'X', (byte) key.length, 0, 0, 0});
        pickle.writeBytes(key);
        pickle.writeBytes(new byte[] {(byte) 0x89, 'u', 'b', '.'});
        return pickle.toByteArray();
    }

    private static void entry(ZipOutputStream zip, String name, byte[] content) throws IOException {
        CRC32 crc = new CRC32();
        crc.update(content);
        ZipEntry entry = new ZipEntry(name);
        entry.setSize(content.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(content);
        zip.closeEntry();
    }
}

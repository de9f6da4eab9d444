// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.Element;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

/** Writes PNG files of unsigned-byte images. The same pixels give the same bytes on every machine with one zlib. */
final class Png {
    private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

    private Png() {}

    /**
     * @param image (height, width, 1 or 3)
     * @return a PNG file
     */
    static byte[] encode(Element image) {
        if (image.shape().length != 3 || image.shape()[2] != 1 && image.shape()[2] != 3) {
            throw new IllegalArgumentException("a picture is (height, width, 1 or 3), not " + java.util.Arrays.toString(image.shape()));
        }
        int height = (int) image.shape()[0];
        int width = (int) image.shape()[1];
        int channels = (int) image.shape()[2];
        ByteBuffer header = ByteBuffer.allocate(13).putInt(width).putInt(height);
        header.put((byte) 8).put((byte) (channels == 1 ? 0 : 2)).put((byte) 0).put((byte) 0).put((byte) 0);
        byte[] lines = new byte[height * (1 + width * channels)];
        for (int y = 0; y < height; y++) {
            // each line starts with its filter, 0: none
            MemorySegment.copy(image.data(), ValueLayout.JAVA_BYTE, (long) y * width * channels, lines,
                    y * (1 + width * channels) + 1, width * channels);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(SIGNATURE);
        chunk(out, "IHDR", header.array());
        chunk(out, "IDAT", deflate(lines));
        chunk(out, "IEND", new byte[0]);
        return out.toByteArray();
    }

    private static byte[] deflate(byte[] data) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (Deflater deflater = new Deflater(Deflater.DEFAULT_COMPRESSION)) {
            deflater.setInput(data);
            deflater.finish();
            byte[] buffer = new byte[8192];
            while (!deflater.finished()) {
                out.write(buffer, 0, deflater.deflate(buffer));
            }
        }
        return out.toByteArray();
    }

    private static void chunk(ByteArrayOutputStream out, String type, byte[] data) {
        byte[] name = type.getBytes(java.nio.charset.StandardCharsets.US_ASCII);
        CRC32 crc = new CRC32();
        crc.update(name);
        crc.update(data);
        out.writeBytes(ByteBuffer.allocate(4).putInt(data.length).array());
        out.writeBytes(name);
        out.writeBytes(data);
        out.writeBytes(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    }
}

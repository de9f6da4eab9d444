// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.report;

import dev.gatun.learning.checkpoint.AtomicFile;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;

/** NumPy's {@code .npy} format, version 1.0, little-endian float32, C order. */
public final class NpyWriter {
    private static final int CHUNK = 1 << 22;

    private NpyWriter() {}

    /**
     * Writes a tensor.
     *
     * @param file the target; replaced whole or not at all
     * @param tensor a contiguous f32 tensor
     * @throws dev.gatun.learning.LearningException if the file cannot be written; one line
     */
    public static void write(Path file, Tensor tensor) {
        MemorySegment data = tensor.segment();
        ByteBuffer header = header(tensor.shape());
        AtomicFile.write(file, channel -> {
            while (header.hasRemaining()) {
                channel.write(header);
            }
            for (long at = 0; at < data.byteSize(); at += CHUNK) {
                ByteBuffer part = data.asSlice(at, Math.min(CHUNK, data.byteSize() - at)).asByteBuffer();
                while (part.hasRemaining()) {
                    channel.write(part);
                }
            }
        });
    }

    private static ByteBuffer header(long[] shape) {
        String sizes = Arrays.stream(shape).mapToObj(n -> n + ",").collect(Collectors.joining(" "));
        String text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
        // magic, version and length take 10 bytes; the data start at a multiple of 64
        int padded = (10 + text.length() + 1 + 63) / 64 * 64;
        text = text + " ".repeat(padded - 10 - text.length() - 1) + "\n";
        ByteBuffer header = ByteBuffer.allocate(padded).order(ByteOrder.LITTLE_ENDIAN);
        header.put((byte) 0x93).put("NUMPY".getBytes(StandardCharsets.US_ASCII)).put((byte) 1).put((byte) 0);
        header.putShort((short) (padded - 10)).put(text.getBytes(StandardCharsets.US_ASCII));
        return header.flip();
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.checkpoint;

import dev.gatun.learning.LearningException;
import dev.gatun.primitives.DType;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * The safetensors format: an 8-byte length, a JSON header (name → dtype, shape, offsets), then the tensors, row-major and
 * little-endian. Reading trusts nothing: every length and offset is checked before it is used. Files written here carry a
 * CRC-32C of the whole file in their metadata ({@value #CHECKSUM}), so that any single damaged byte is found; files of
 * others, which have none, are read without it.
 */
public final class Safetensors {
    /** The metadata key of the checksum. */
    public static final String CHECKSUM = "checksum";

    private static final String UNSET = "00000000";
    private static final int MAX_HEADER = 100 << 20;
    private static final int CHUNK = 1 << 22;

    private Safetensors() {}

    /**
     * One tensor of a file.
     *
     * @param name its name
     * @param dtype its elements' type
     * @param shape its sizes, slowest first
     * @param data exactly its bytes, little-endian, in native memory
     */
    public record Entry(String name, DType dtype, long[] shape, MemorySegment data) {
        /** Checks that the data are as long as the shape says. */
        public Entry {
            if (!data.isNative() || data.byteSize() != bytes(dtype, shape)) {
                throw new IllegalArgumentException(name + ": needs the native memory of its shape, given " + data);
            }
        }
    }

    /**
     * A file's content.
     *
     * @param metadata texts by key, without the checksum
     * @param entries tensors by name, in the file's order
     * @param checked whether the file carried a checksum (which then was right)
     */
    public record Content(Map<String, String> metadata, Map<String, Entry> entries, boolean checked) {}

    /**
     * Writes a file so that the path holds either what it held before or the whole new content: into a temporary file
     * beside it, which is synced to the disk and then renamed. The same content gives the same bytes.
     *
     * @param file the target
     * @param metadata texts by key
     * @param entries the tensors
     * @throws LearningException if the file cannot be written, with the reason
     */
    public static void write(Path file, Map<String, String> metadata, List<Entry> entries) {
        Map<String, Object> header = new LinkedHashMap<>();
        Map<String, String> texts = new LinkedHashMap<>(metadata);
        texts.put(CHECKSUM, UNSET);
        header.put("__metadata__", texts);
        long offset = 0;
        for (Entry entry : entries) {
            long end = offset + entry.data().byteSize();
            Object before = header.put(entry.name(), Map.of());
            if (before != null) {
                throw new IllegalArgumentException("two tensors are named " + entry.name());
            }
            Map<String, Object> description = new LinkedHashMap<>();
            description.put("dtype", entry.dtype().name());
            description.put("shape", entry.shape());
            description.put("data_offsets", new long[] {offset, end});
            header.put(entry.name(), description);
            offset = end;
        }
        String json = JsonMapper.builder().build().writeValueAsString(header);
        // the format's readers map the file: the data start at a multiple of 8
        json += " ".repeat(-json.getBytes(StandardCharsets.UTF_8).length & 7);

        CRC32C sum = new CRC32C();
        sum.update(json.getBytes(StandardCharsets.UTF_8));
        for (Entry entry : entries) {
            update(sum, entry.data());
        }
        String checked = json.replace(field(UNSET), field(String.format("%08x", sum.getValue())));
        byte[] text = checked.getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(file, channel -> {
            ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, text.length);
            writeFully(channel, length);
            writeFully(channel, ByteBuffer.wrap(text));
            for (Entry entry : entries) {
                for (long at = 0; at < entry.data().byteSize(); at += CHUNK) {
                    writeFully(channel, chunk(entry.data(), at).asByteBuffer());
                }
            }
        });
    }

    /**
     * Reads a file.
     *
     * @param file the file
     * @throws LearningException if it is missing, truncated, damaged or not safetensors; one line that names it
     */
    public static Content read(Path file) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return read(file, channel);
        } catch (IOException e) {
            throw new LearningException(AtomicFile.reason(file, e, "cannot be read"), e);
        }
    }

    private static Content read(Path file, FileChannel channel) throws IOException {
        long size = channel.size();
        if (size < 8) {
            throw damaged(file, "only " + size + " bytes");
        }
        ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
        readFully(channel, length, file);
        long headerSize = length.getLong(0);
        if (headerSize < 2 || headerSize > MAX_HEADER || headerSize > size - 8) {
            throw damaged(file, "its header should be " + headerSize + " bytes, the file is " + size);
        }
        byte[] text = new byte[(int) headerSize];
        readFully(channel, ByteBuffer.wrap(text), file);
        Map<?, ?> header = header(text, file);
        long dataSize = size - 8 - headerSize;
        MemorySegment data = Arena.ofAuto().allocate(Math.max(dataSize, 1), 64).asSlice(0, dataSize);
        for (long at = 0; at < dataSize; at += CHUNK) {
            readFully(channel, chunk(data, at).asByteBuffer(), file);
        }

        Map<String, String> metadata = new LinkedHashMap<>();
        if (header.get("__metadata__") instanceof Map<?, ?> texts) {
            texts.forEach((key, value) -> metadata.put(key.toString(), String.valueOf(value)));
        }
        String checksum = metadata.remove(CHECKSUM);
        if (checksum != null) {
            verify(file, text, data, checksum);
        }
        Map<String, Entry> entries = new LinkedHashMap<>();
        long covered = 0;
        for (Map.Entry<?, ?> item : header.entrySet()) {
            String name = item.getKey().toString();
            if (!name.equals("__metadata__")) {
                Entry entry = entry(file, name, item.getValue(), data);
                entries.put(name, entry);
                covered += entry.data().byteSize();
            }
        }
        if (covered != dataSize) {
            throw damaged(file, "its tensors are " + covered + " bytes, the data " + dataSize);
        }
        return new Content(metadata, entries, checksum != null);
    }

    private static Map<?, ?> header(byte[] text, Path file) {
        try {
            Object header = JsonMapper.builder()
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .build()
                    .readValue(new String(text, StandardCharsets.UTF_8), Object.class);
            if (header instanceof Map<?, ?> map) {
                return map;
            }
        } catch (JacksonException e) {
            throw new LearningException(file + ": damaged or not a safetensors file: its header is not JSON", e);
        }
        throw damaged(file, "its header is not a JSON object");
    }

    private static Entry entry(Path file, String name, Object description, MemorySegment data) {
        if (!(description instanceof Map<?, ?> map)
                || !(map.get("dtype") instanceof String type)
                || !(map.get("shape") instanceof List<?> sizes)
                || !(map.get("data_offsets") instanceof List<?> offsets)
                || offsets.size() != 2) {
            throw damaged(file, "tensor " + name + " lacks a dtype, shape or offsets");
        }
        DType dtype = null;
        for (DType known : DType.values()) {
            dtype = known.name().equals(type) ? known : dtype;
        }
        if (dtype == null) {
            throw new LearningException(file + ": tensor " + name + " has dtype " + type + ", which Gatun does not read");
        }
        long[] shape = new long[sizes.size()];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = index(file, name, sizes.get(i));
        }
        long from = index(file, name, offsets.get(0));
        long to = index(file, name, offsets.get(1));
        if (from > to || to > data.byteSize()) {
            throw damaged(file, "tensor " + name + " ends at byte " + to + " of " + data.byteSize());
        }
        try {
            if (bytes(dtype, shape) != to - from) {
                throw damaged(file, "tensor " + name + " has " + (to - from) + " bytes, not those of its shape");
            }
        } catch (ArithmeticException e) {
            throw damaged(file, "tensor " + name + " has an impossible shape");
        }
        return new Entry(name, dtype, shape, data.asSlice(from, to - from));
    }

    private static long index(Path file, String name, Object value) {
        if ((value instanceof Integer || value instanceof Long) && ((Number) value).longValue() >= 0) {
            return ((Number) value).longValue();
        }
        throw damaged(file, "tensor " + name + " has a size or offset that is not a count: " + value);
    }

    private static void verify(Path file, byte[] text, MemorySegment data, String checksum) {
        // the sum was taken while its own field held zeros
        byte[] unset = new String(text, StandardCharsets.UTF_8)
                .replace(field(checksum), field(UNSET))
                .getBytes(StandardCharsets.UTF_8);
        CRC32C sum = new CRC32C();
        sum.update(unset);
        update(sum, data);
        if (!checksum.equals(String.format("%08x", sum.getValue()))) {
            throw damaged(file, "its checksum does not match");
        }
    }

    private static String field(String checksum) {
        return "\"" + CHECKSUM + "\":\"" + checksum + "\"";
    }

    static long bytes(DType dtype, long[] shape) {
        long elements = dtype.bytes();
        for (long size : shape) {
            elements = Math.multiplyExact(elements, size);
        }
        return elements;
    }

    private static void update(CRC32C sum, MemorySegment data) {
        for (long at = 0; at < data.byteSize(); at += CHUNK) {
            sum.update(chunk(data, at).asByteBuffer());
        }
    }

    private static MemorySegment chunk(MemorySegment data, long at) {
        return data.asSlice(at, Math.min(CHUNK, data.byteSize() - at));
    }

    private static void writeFully(FileChannel channel, ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) {
            channel.write(buffer);
        }
    }

    private static void readFully(FileChannel channel, ByteBuffer buffer, Path file) throws IOException {
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                throw damaged(file, "it ends too early");
            }
        }
    }

    private static LearningException damaged(Path file, String what) {
        return new LearningException(file + ": damaged or truncated: " + what);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * Images and labels in IDX files, the format of MNIST and its relatives; plain or compressed with gzip (told apart by
 * their bytes, not by their names). Images are unsigned bytes of rank 3 (count, height, width) or rank 4 (count,
 * height, width, channels); labels are unsigned bytes of rank 1. Everything is read into memory at once.
 */
public final class IdxDataset implements Dataset {
    /** Deflate cannot compress better than this, so a header that promises more than that lies. */
    private static final long LARGEST_GZIP_RATIO = 1032;

    private static final int UNSIGNED_BYTE = 0x08;

    private final Path file;
    private final long[] shape;
    private final long elementBytes;
    private final int size;
    private final MemorySegment images;
    private final byte[] labels;
    private final int classes;
    private final List<String> classNames;

    private IdxDataset(Path file, Contents images, Optional<Contents> labels, int classes, List<String> classNames) {
        this.file = file;
        this.shape = new long[] {images.sizes[1], images.sizes[2], images.sizes.length == 4 ? images.sizes[3] : 1};
        this.elementBytes = shape[0] * shape[1] * shape[2];
        this.size = Math.toIntExact(images.sizes[0]);
        this.images = images.data;
        this.labels = labels.map(l -> l.data.toArray(ValueLayout.JAVA_BYTE)).orElse(new byte[0]);
        this.classes = classes;
        this.classNames = classNames;
    }

    /**
     * Opens images without labels.
     *
     * @throws DataException if the file is missing, truncated, too long, or no IDX file of images
     */
    public static IdxDataset open(Path images) {
        return open(images, Optional.empty(), List.of());
    }

    /**
     * Opens images with labels.
     *
     * @param images the images
     * @param labels the labels, as many as images
     * @param classNames one name a class; if empty, the classes are numbered from 0 to the largest label
     * @throws DataException if a file is missing, truncated, too long or no IDX file of that kind, if the counts differ,
     *     or if a label has no class
     */
    public static IdxDataset open(Path images, Path labels, List<String> classNames) {
        return open(images, Optional.of(labels), classNames);
    }

    private static IdxDataset open(Path images, Optional<Path> labels, List<String> classNames) {
        Contents pictures = read(images, "images", 3, 4);
        if (pictures.sizes[0] < 1 || pictures.elements() < 1) {
            throw new DataException(images.toString(), "holds no images (sizes " + list(pictures.sizes) + ")");
        }
        if (labels.isEmpty()) {
            return new IdxDataset(images, pictures, Optional.empty(), 0, List.of());
        }
        Contents marks = read(labels.get(), "labels", 1, 1);
        if (marks.sizes[0] != pictures.sizes[0]) {
            throw new DataException(labels.get().toString(), "holds " + marks.sizes[0] + " labels, but " + images + " holds "
                    + pictures.sizes[0] + " images");
        }
        int largest = 0;
        for (long i = 0; i < marks.sizes[0]; i++) {
            int label = marks.data.get(ValueLayout.JAVA_BYTE, i) & 0xff;
            if (!classNames.isEmpty() && label >= classNames.size()) {
                throw new DataException(labels.get().toString(),
                        "record " + i + " has label " + label + ", but there are " + classNames.size() + " classes");
            }
            largest = Math.max(largest, label);
        }
        List<String> names = classNames.isEmpty() ? numbered(largest + 1) : List.copyOf(classNames);
        return new IdxDataset(images, pictures, Optional.of(marks), names.size(), names);
    }

    private static List<String> numbered(int classes) {
        List<String> names = new ArrayList<>(classes);
        for (int i = 0; i < classes; i++) {
            names.add(Integer.toString(i));
        }
        return List.copyOf(names);
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public Element read(int index) {
        return new Element(shape.clone(), images.asSlice(Math.multiplyExact(elementBytes, (long) check(index)), elementBytes));
    }

    @Override
    public boolean labelled() {
        return labels.length > 0;
    }

    @Override
    public int label(int index) {
        check(index);
        return labelled() ? labels[index] & 0xff : -1;
    }

    @Override
    public int classes() {
        return classes;
    }

    @Override
    public List<String> classNames() {
        return classNames;
    }

    @Override
    public String describe(int index) {
        return file + " record " + check(index);
    }

    @Override
    public boolean resident() {
        return true;
    }

    private int check(int index) {
        return java.util.Objects.checkIndex(index, size);
    }

    /** What an IDX file holds. */
    private record Contents(long[] sizes, MemorySegment data) {
        long elements() {
            return data.byteSize();
        }
    }

    private static Contents read(Path file, String what, int smallestRank, int largestRank) {
        if (!Files.exists(file)) {
            throw new DataException(file.toString(), "there is no such file (expected IDX " + what + ")");
        }
        if (!Files.isRegularFile(file) || !Files.isReadable(file)) {
            throw new DataException(file.toString(), "is not a readable file (expected IDX " + what + ")");
        }
        long fileBytes;
        boolean compressed;
        try (InputStream in = Files.newInputStream(file)) {
            fileBytes = Files.size(file);
            compressed = in.read() == 0x1f && in.read() == 0x8b;
        } catch (IOException e) {
            throw new DataException(file.toString(), "cannot be read: " + e.getMessage(), e);
        }
        try (InputStream in = open(file, compressed)) {
            byte[] magic = header(in, 4, file);
            if (magic[0] != 0 || magic[1] != 0 || magic[2] != UNSIGNED_BYTE || magic[3] < smallestRank || magic[3] > largestRank) {
                throw new DataException(file.toString(), String.format(
                        "wrong magic %02x%02x%02x%02x; IDX %s as unsigned bytes start with %s", magic[0], magic[1], magic[2],
                        magic[3], what, smallestRank == 1 ? "00000801" : "00000803 or 00000804"));
            }
            long[] sizes = new long[magic[3]];
            long bytes = 1;
            for (int d = 0; d < sizes.length; d++) {
                byte[] b = header(in, 4, file);
                sizes[d] = (b[0] & 0xffL) << 24 | (b[1] & 0xffL) << 16 | (b[2] & 0xffL) << 8 | b[3] & 0xffL;
                // saturate: four sizes of 32 bits can overflow, and any such product is refused below
                bytes = sizes[d] != 0 && bytes > Long.MAX_VALUE / sizes[d] ? Long.MAX_VALUE : bytes * sizes[d];
            }
            long possible = compressed ? fileBytes * LARGEST_GZIP_RATIO : fileBytes;
            if (bytes > possible || sizes[0] > Integer.MAX_VALUE - 8) {
                throw new DataException(file.toString(), "truncated: its header promises sizes " + list(sizes) + ", which do not fit in "
                        + fileBytes + (compressed ? " compressed" : "") + " bytes");
            }
            return new Contents(sizes, body(in, bytes, file, sizes));
        } catch (EOFException | ZipException e) {
            throw new DataException(file.toString(), "truncated or damaged gzip data: " + e.getMessage(), e);
        } catch (IOException e) {
            throw new DataException(file.toString(), "cannot be read: " + e.getMessage(), e);
        }
    }

    private static InputStream open(Path file, boolean compressed) throws IOException {
        InputStream in = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
        return compressed ? new GZIPInputStream(in, 1 << 16) : in;
    }

    private static byte[] header(InputStream in, int bytes, Path file) throws IOException {
        byte[] read = in.readNBytes(bytes);
        if (read.length < bytes) {
            throw new DataException(file.toString(), "truncated: it ends within the IDX header");
        }
        return read;
    }

    private static MemorySegment body(InputStream in, long bytes, Path file, long[] sizes) throws IOException {
        MemorySegment data = Arena.ofAuto().allocate(bytes, 64);
        byte[] chunk = new byte[1 << 16];
        long at = 0;
        while (at < bytes) {
            int n = in.read(chunk, 0, (int) Math.min(chunk.length, bytes - at));
            if (n < 0) {
                throw new DataException(file.toString(),
                        "truncated: its header promises " + bytes + " bytes (sizes " + list(sizes) + "), it holds " + at);
            }
            MemorySegment.copy(chunk, 0, data, ValueLayout.JAVA_BYTE, at, n);
            at += n;
        }
        if (in.read() >= 0) {
            throw new DataException(file.toString(), "holds more than the " + bytes + " bytes that its header promises (sizes "
                    + list(sizes) + ")");
        }
        return data;
    }

    private static String list(long[] sizes) {
        StringBuilder text = new StringBuilder();
        for (long size : sizes) {
            text.append(text.isEmpty() ? "" : "x").append(size);
        }
        return text.toString();
    }
}

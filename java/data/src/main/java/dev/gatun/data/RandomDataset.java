// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;

/**
 * Elements of uniformly random bytes with random labels, a function of the seed: there is nothing to learn in them. They lie in memory, so
 * that reading costs a copy.
 */
final class RandomDataset implements Dataset {
    /** The stream of the bytes; that of the labels is the next. */
    private static final int BYTES = 0x72616e64;

    private static final int PHILOX_BYTES = 16;

    private final String name;
    private final int size;
    private final long[] shape;
    private final int classes;
    private final int distinct;
    private final int elementBytes;
    private final MemorySegment bytes;
    private final Philox labels;

    /**
     * Makes the elements.
     *
     * @param name of the part, for errors
     * @param size how many elements
     * @param part tells the parts of one data set apart
     */
    RandomDataset(String name, int size, RandomSettings settings, long seed, int part) {
        this.name = name;
        this.size = size;
        shape = settings.shape().stream().mapToLong(Integer::longValue).toArray();
        classes = settings.classes();
        distinct = Math.min(settings.distinct(), size);
        int each = 1;
        for (long extent : shape) {
            each = Math.toIntExact(each * extent);
        }
        elementBytes = each;
        byte[] all = new byte[Math.multiplyExact(distinct, elementBytes)];
        fill(all, (int) seed ^ part, (int) (seed >>> 32) ^ BYTES);
        bytes = MemorySegment.ofArray(all).asReadOnly();
        labels = new Philox(seed, part, BYTES + 1);
    }

    private static void fill(byte[] bytes, int key0, int key1) {
        IntStream.range(0, (bytes.length + PHILOX_BYTES - 1) / PHILOX_BYTES).parallel().forEach(block -> {
            int[] words = {block, 0, 0, 0};
            Philox.block(words, key0, key1);
            int from = block * PHILOX_BYTES;
            for (int i = 0; i < Math.min(PHILOX_BYTES, bytes.length - from); i++) {
                bytes[from + i] = (byte) (words[i / 4] >>> 8 * (i % 4));
            }
        });
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public Element read(int index) {
        long from = (long) (Objects.checkIndex(index, size) % distinct) * elementBytes;
        return new Element(shape.clone(), bytes.asSlice(from, elementBytes));
    }

    @Override
    public boolean labelled() {
        return classes > 0;
    }

    @Override
    public int label(int index) {
        Objects.checkIndex(index, size);
        if (classes == 0) {
            return -1;
        }
        synchronized (labels) {
            return (int) Long.remainderUnsigned(labels.draws(index), classes);
        }
    }

    @Override
    public int classes() {
        return classes;
    }

    @Override
    public List<String> classNames() {
        return IntStream.range(0, classes).mapToObj(Integer::toString).toList();
    }

    @Override
    public String describe(int index) {
        return name + " element " + Objects.checkIndex(index, size);
    }

    @Override
    public boolean resident() {
        return true;
    }
}

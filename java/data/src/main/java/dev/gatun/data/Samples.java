// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/**
 * The elements of a batch as the host has read them, and how they go to the device that makes views of them.
 *
 * @param ids the samples' indices in the data set
 * @param labels one label a sample (-1 = none); empty if the data declare no labels
 * @param stored what goes to the device
 * @param layout what else {@link Views} must know to make views of it, such as the largest image's size; compared by {@code equals}
 */
public record Samples(long[] ids, int[] labels, List<Stored> stored, Object layout) {
    /**
     * A tensor's contents.
     *
     * @param type its dtype
     * @param shape its shape
     * @param writer writes them into as many bytes as the elements take
     */
    public record Stored(DType type, long[] shape, Consumer<MemorySegment> writer) {
        boolean isLike(Stored other) {
            return type == other.type && Arrays.equals(shape, other.shape);
        }
    }

    /** Puts them on a device; as many tensors as are {@link #stored}. */
    public List<Tensor> place(Scope scope) {
        return stored.stream().map(s -> scope.fromHost(s.type(), s.writer(), s.shape())).toList();
    }

    /** Whether views of the other's samples are made by the same operations on tensors of the same shapes. */
    public boolean isLike(Samples other) {
        return ids.length == other.ids.length
                && labels.length == other.labels.length
                && layout.equals(other.layout)
                && stored.size() == other.stored.size()
                && IntStream.range(0, stored.size()).allMatch(i -> stored.get(i).isLike(other.stored.get(i)));
    }
}

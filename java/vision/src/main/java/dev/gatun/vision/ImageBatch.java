// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.DataException;
import dev.gatun.data.Dataset;
import dev.gatun.data.Element;
import dev.gatun.data.Samples.Stored;
import dev.gatun.primitives.Augmentation;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The stored images of a batch on their way to a kernel.
 *
 * @param stored u8 (N, H, W, C) if all images have one size; else u8 (bytes), i64 (N + 1) offsets, i32 (N) heights, i32 (N) widths
 * @param layout how the kernel is told
 */
record ImageBatch(List<Stored> stored, Layout layout) {
    /**
     * What the host must know of the images.
     *
     * @param ragged whether they have several sizes
     * @param maxHeight no image is higher; 0 if not ragged
     * @param maxWidth no image is wider; 0 if not ragged
     */
    record Layout(boolean ragged, int maxHeight, int maxWidth) {
        /** The images for the kernel, from the tensors of what is stored. */
        Augmentation.Images images(List<Tensor> tensors) {
            return ragged
                    ? new Augmentation.Images(tensors.get(0).operand(), tensors.get(1).operand(), tensors.get(2).operand(),
                            tensors.get(3).operand(), maxHeight, maxWidth)
                    : Augmentation.Images.equal(tensors.get(0).operand());
        }
    }

    /**
     * Reads some images: as one block if all have one size, else one after the other.
     *
     * @param channels what every image must have
     * @throws DataException if an image cannot be read or has other channels
     */
    static ImageBatch read(Dataset data, int[] indices, int channels) {
        // files are decoded on all cores; what is in memory is not worth the trouble
        IntStream numbers = Arrays.stream(indices);
        Element[] elements = (data.resident() ? numbers : numbers.parallel()).mapToObj(data::read).toArray(Element[]::new);
        int[] heights = new int[indices.length];
        int[] widths = new int[indices.length];
        long[] offsets = new long[indices.length + 1];
        for (int i = 0; i < indices.length; i++) {
            Element element = elements[i];
            if (element.shape().length != 3 || element.shape()[2] != channels) {
                throw new DataException(data.describe(indices[i]),
                        "has shape " + Arrays.toString(element.shape()) + ", not (height, width, " + channels + ")");
            }
            heights[i] = (int) element.shape()[0];
            widths[i] = (int) element.shape()[1];
            offsets[i + 1] = offsets[i] + element.data().byteSize();
        }
        int height = Arrays.stream(heights).max().orElse(0);
        int width = Arrays.stream(widths).max().orElse(0);
        if (Arrays.stream(heights).allMatch(h -> h == height) && Arrays.stream(widths).allMatch(w -> w == width)) {
            return new ImageBatch(
                    List.of(pixels(elements, offsets, indices.length, height, width, channels)), new Layout(false, 0, 0));
        }
        return new ImageBatch(
                List.of(pixels(elements, offsets, size(offsets[indices.length])),
                        numbers(DType.I64, MemorySegment.ofArray(offsets)),
                        numbers(DType.I32, MemorySegment.ofArray(heights)),
                        numbers(DType.I32, MemorySegment.ofArray(widths))),
                new Layout(true, (int) size(height), (int) size(width)));
    }

    // batches of about the same size take the same memory, so that a step that was recorded with one does for the next
    private static long size(long atLeast) {
        long step = Math.max(64, Long.highestOneBit(atLeast) >> 1);
        return (atLeast + step - 1) / step * step;
    }

    private static Stored pixels(Element[] elements, long[] offsets, long... shape) {
        return new Stored(DType.U8, shape, target -> {
            for (int i = 0; i < elements.length; i++) {
                MemorySegment.copy(elements[i].data(), 0, target, offsets[i], elements[i].data().byteSize());
            }
        });
    }

    private static Stored numbers(DType type, MemorySegment values) {
        return new Stored(type, new long[] {values.byteSize() / type.bytes()}, target -> target.copyFrom(values));
    }
}

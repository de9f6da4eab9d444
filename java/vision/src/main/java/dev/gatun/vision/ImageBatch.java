// SPDX-License-Identifier: Apache-2.0
package dev.gatun.vision;

import dev.gatun.data.DataException;
import dev.gatun.data.Dataset;
import dev.gatun.data.Element;
import dev.gatun.primitives.Augmentation;
import dev.gatun.primitives.DType;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.stream.IntStream;

/** Puts the stored images of a batch where a kernel can read them. */
final class ImageBatch {
    private ImageBatch() {}

    /**
     * Reads some images: as one block if all have one size, else one after the other.
     *
     * @param scope where they live
     * @param channels what every image must have
     * @throws DataException if an image cannot be read or has other channels
     */
    static Augmentation.Images read(Scope scope, Dataset data, int[] indices, int channels) {
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
        boolean equal = Arrays.stream(heights).allMatch(h -> h == height) && Arrays.stream(widths).allMatch(w -> w == width);
        Tensor bytes = equal
                ? scope.empty(DType.U8, indices.length, height, width, channels)
                : scope.empty(DType.U8, offsets[indices.length]);
        bytes.write(target -> {
            for (int i = 0; i < elements.length; i++) {
                MemorySegment.copy(elements[i].data(), 0, target, offsets[i], elements[i].data().byteSize());
            }
        });
        return equal
                ? Augmentation.Images.equal(bytes.operand())
                : new Augmentation.Images(bytes.operand(), scope.ofLongs(offsets).operand(), scope.ofInts(heights).operand(),
                        scope.ofInts(widths).operand(), height, width);
    }
}

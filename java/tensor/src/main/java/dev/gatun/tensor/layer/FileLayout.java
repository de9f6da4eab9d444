// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

/** How a weight's dimensions are ordered in files, where that differs from memory. */
public enum FileLayout {
    /** As in memory. */
    SAME,
    /** Convolution weights: (out, height, width, in) in memory, (out, in, height, width) in files. */
    OIHW;

    /** For each dimension in the file, the dimension in memory. */
    public int[] memoryDimensions(int rank) {
        return switch (this) {
            case SAME -> java.util.stream.IntStream.range(0, rank).toArray();
            case OIHW -> new int[] {0, 3, 1, 2};
        };
    }

    /** A shape in memory as it is in files. */
    public long[] fileShape(long[] memoryShape) {
        int[] from = memoryDimensions(memoryShape.length);
        long[] shape = new long[memoryShape.length];
        for (int i = 0; i < shape.length; i++) {
            shape[i] = memoryShape[from[i]];
        }
        return shape;
    }
}

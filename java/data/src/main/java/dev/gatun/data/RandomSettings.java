// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.util.List;

/**
 * The {@code data} section for random elements, which need no files: for timing, and for trying a pipeline's shapes.
 *
 * @param images how many training elements there are
 * @param test how many test elements; 0: there are none
 * @param shape of an element, for images (height, width, channels)
 * @param classes of the labels; 0: there are none
 * @param distinct elements that are made and kept in memory; element i holds the bytes of element i mod {@code distinct}
 */
public record RandomSettings(int images, int test, List<Integer> shape, int classes, int distinct) {
    private static final long MOST_BYTES = Integer.MAX_VALUE - 16;

    /** As many colour images of 256 x 256, and as many classes, as a large photo collection; 64 of them differ. */
    public RandomSettings() {
        this(1 << 20, 0, List.of(256, 256, 3), 1000, 64);
    }

    /** Checks the values. */
    public RandomSettings {
        require(images >= 1, "images", images, "at least 1");
        require(test >= 0, "test", test, "at least 0");
        require(!shape.isEmpty() && shape.stream().allMatch(size -> size >= 1), "shape", shape, "a list of sizes of at least 1");
        require(classes >= 0, "classes", classes, "at least 0");
        require(distinct >= 1, "distinct", distinct, "at least 1");
        require(fits(shape, distinct), "distinct", distinct, "as many elements of " + shape + " as fit into " + MOST_BYTES + " bytes");
        shape = List.copyOf(shape);
    }

    private static boolean fits(List<Integer> shape, int distinct) {
        long bytes = distinct;
        for (int size : shape) {
            if (bytes > MOST_BYTES / size) {
                return false;
            }
            bytes *= size;
        }
        return true;
    }

    private static void require(boolean holds, String key, Object value, String allowed) {
        if (!holds) {
            throw new IllegalArgumentException(key + " is " + value + "; allowed is " + allowed);
        }
    }
}

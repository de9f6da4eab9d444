// SPDX-License-Identifier: Apache-2.0
package dev.gatun.data;

import java.lang.foreign.MemorySegment;

/**
 * One element of a data set, as stored: unsigned bytes, row-major. Images are (height, width, channels) with 1 or 3
 * channels.
 *
 * @param shape the sizes, slowest dimension first
 * @param data exactly the product of {@code shape} bytes; readable from every thread
 */
public record Element(long[] shape, MemorySegment data) {
    /** Checks that the data are as long as the shape says. */
    public Element {
        long bytes = 1;
        for (long size : shape) {
            bytes *= size;
        }
        if (bytes != data.byteSize()) {
            throw new IllegalArgumentException(
                    "an element of shape " + java.util.Arrays.toString(shape) + " has " + bytes + " bytes, not " + data.byteSize());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;

/**
 * Memory and how it is laid out: what an operation reads or writes.
 *
 * @param segment native memory that starts with the first element; its lifetime is its arena's
 * @param layout shape, strides and element type
 */
public record Operand(MemorySegment segment, Layout layout) {
    /** Stands for an optional operand that is absent. */
    public static final Operand NONE = new Operand(MemorySegment.NULL, Layout.of(DType.U8, 0));

    /** Whether this is an operand, not {@link #NONE}. */
    public boolean present() {
        return this != NONE;
    }
}

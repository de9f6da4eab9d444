// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.util.List;
import java.util.Map;

/**
 * A call that was made.
 *
 * @param operation the C function without {@code gatun_}, such as {@code sinkhorn} or {@code attention_backward}; of another library's call the
 *     name that its caller gave
 * @param detail which of several things the operation did, such as an elementwise one's; empty if it does one thing only
 * @param arguments operands that were present, in order
 * @param constants the other fields of the descriptor that were set, by their names in the header
 * @param bytes of the workspace, or of the memory that was taken, given back, copied or cleared; else 0
 * @param start {@link System#nanoTime} before the call
 * @param end {@link System#nanoTime} when it was done: on a device behind the host's back, when the device was
 */
public record CallTrace(
        String operation, String detail, List<Argument> arguments, Map<String, Number> constants, long bytes, long start, long end) {
    /**
     * An operand.
     *
     * @param name as in the header
     * @param layout shape, strides and type
     * @param written whether the call writes it
     */
    public record Argument(String name, Layout layout, boolean written) {}
}

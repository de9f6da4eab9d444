// SPDX-License-Identifier: Apache-2.0
/**
 * One typed call per kernel, on memory segments.
 *
 * <p>An operation is a final class with static methods; its operands are {@link dev.gatun.primitives.Operand}s: native memory of
 * yours plus a {@link dev.gatun.primitives.Layout}. Before the downcall each operand is checked (native, alive, large enough for its
 * layout, writable where it is written); the library then checks the descriptor. A violation is a
 * {@link dev.gatun.primitives.GatunException} that names the operation and the operand.
 *
 * <p>All restricted calls of Gatun are in this module: run with {@code --enable-native-access=dev.gatun.primitives}.
 */
@NullMarked
package dev.gatun.primitives;

import org.jspecify.annotations.NullMarked;

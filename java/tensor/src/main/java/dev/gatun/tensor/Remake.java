// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.util.function.BiConsumer;

/**
 * How a result's contents are computed again.
 *
 * @param function name of who computed them
 * @param from what they are computed from
 * @param version of that when they were
 * @param fill given {@code from}, writes them into another tensor of the result's type and shape
 */
record Remake(String function, Tensor result, Tensor from, int version, BiConsumer<Tensor, Tensor> fill) {
    /** Whether what they are computed from is there, or can be computed again itself. */
    boolean possible() {
        return from.version() == version && (from.isLive() || from.block.remake != null && from.block.remake.possible());
    }

    /** The contents, in a block of the given scope. */
    Block apply(Scope in) {
        if (!possible()) {
            throw new TensorException(function + ": " + from.describe()
                    + ", from which a result is computed again for the gradient, was overwritten or closed before backward");
        }
        Tensor again = in.empty(result.dtype(), result.shapeArray());
        boolean live = from.isLive();
        Tensor source = live ? from : from.over(from.block.remake.apply(in), in);
        fill.accept(source, again);
        if (!live) {
            Scope.release(source.block);
        }
        return again.block;
    }
}

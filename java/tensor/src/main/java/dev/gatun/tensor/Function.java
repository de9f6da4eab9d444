// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import org.jspecify.annotations.Nullable;

/**
 * A differentiable operation. A user's own operation implements {@link #forward} and {@link #backward} and is used by
 * {@code Function.apply(new MyFunction(), x, y)}; {@link GradientCheck} tests it in one line. Constants are fields of the
 * implementation, tensors that backward needs are put aside with {@link FunctionContext#save}.
 */
public interface Function {
    /** The operation's name in messages. */
    default String name() {
        return getClass().getSimpleName();
    }

    /**
     * Computes the result. Nothing done inside is recorded. New tensors belong into {@link FunctionContext#scope}.
     */
    Tensor forward(FunctionContext context, Tensor... inputs);

    /**
     * The gradients of the inputs, given the gradient of the result.
     *
     * @param gradients one entry: the gradient of the result, of its dtype; it must not be modified
     * @return one entry an input, of that input's shape and {@link FunctionContext#gradientType}; null where there is no gradient or where
     *     {@link FunctionContext#needsGradient} says none is wanted
     */
    @Nullable Tensor[] backward(FunctionContext context, Tensor... gradients);

    /**
     * Whether {@link #backward} is written in differentiable tensor operations of its saved inputs, so that a gradient can be
     * differentiated again. Where it is not, asking for {@code createGraph} through this operation is an error that names
     * {@link #composedForm}.
     */
    default boolean twiceDifferentiable() {
        return false;
    }

    /** What to write instead where a second derivative is needed; empty if there is nothing. */
    default String composedForm() {
        return "";
    }

    /** Applies an operation and records it if an input is tracked. */
    static Tensor apply(Function function, Tensor... inputs) {
        return Tape.apply(function, inputs);
    }
}

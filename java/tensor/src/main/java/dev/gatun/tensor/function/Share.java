// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.Elementwise;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;

/** What one of the rows that count has in a mean, computed where the numbers lie. */
final class Share {
    private Share() {}

    /**
     * 1 / max(1, how many of the numbers are at least {@code least}).
     *
     * @param numbers i32 (N)
     * @return f32, a scalar
     */
    static Tensor of(Tensor numbers, int least) {
        Scope scope = numbers.scope();
        Tensor above = scope.empty(numbers.shape());
        Elementwise.affine(numbers.device().stream(), 1f, numbers.operand(), 1f - least, above.operand());
        Tensor counted = Extremes.smaller(Extremes.larger(above, scope.zeros(1)), scope.full(1f, 1));
        return scope.full(1f, 1).div(Extremes.larger(counted.sum().reshape(1), scope.full(1f, 1))).reshape();
    }
}

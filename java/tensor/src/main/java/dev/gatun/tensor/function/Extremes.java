// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.Reduction;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;

/** Largest and smallest values, for what is measured and not trained: without gradients. */
public final class Extremes {
    private Extremes() {}

    /** The largest value along a dimension, which is left at extent 1; −∞ over nothing. */
    public static Tensor largest(Tensor x, int dim) {
        untracked("largest", x);
        long[] shape = x.shape();
        shape[dim < 0 ? dim + shape.length : dim] = 1;
        Tensor y = x.scope().empty(shape);
        long bytes = Reduction.workspace(x.device().stream(), Reduction.Kind.MAXIMUM, x.operand(), y.operand());
        try (Scope work = x.scope().open()) {
            Reduction.reduce(x.device().stream(), Reduction.Kind.MAXIMUM, x.operand(), y.operand(), work.workspace(bytes));
        }
        return y;
    }

    /** The larger of two values, element by element; b broadcasts to a's shape. */
    public static Tensor larger(Tensor a, Tensor b) {
        return binary("larger", Elementwise.Binary.MAXIMUM, a, b);
    }

    /** The smaller of two values, element by element; b broadcasts to a's shape. */
    public static Tensor smaller(Tensor a, Tensor b) {
        return binary("smaller", Elementwise.Binary.MINIMUM, a, b);
    }

    private static Tensor binary(String name, Elementwise.Binary operation, Tensor a, Tensor b) {
        untracked(name, a);
        untracked(name, b);
        Tensor y = Scope.youngest(a.scope(), b.scope()).empty(a.shape());
        Elementwise.binary(a.device().stream(), operation, a.operand(), b.operand(), y.operand());
        return y;
    }

    private static void untracked(String name, Tensor t) {
        if (t.tracked()) {
            throw new TensorException(name + " has no gradient: detach() " + t.describe());
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import org.jspecify.annotations.Nullable;

/** A named tensor that is saved but not trained: running statistics, queues, banks, counters. */
public final class State {
    private final String name;
    private final DType dtype;
    private final float initial;
    private final long[] shape;
    private @Nullable Tensor value;

    State(String name, DType dtype, float initial, long... shape) {
        this.name = name;
        this.dtype = dtype;
        this.initial = initial;
        this.shape = shape.clone();
    }

    /** The name in files. */
    public String name() {
        return name;
    }

    /** The shape. */
    public long[] shape() {
        return shape.clone();
    }

    /** The element type. */
    public DType dtype() {
        return dtype;
    }

    float initial() {
        return initial;
    }

    /** The values, written in place by whoever owns the state. */
    public Tensor value() {
        if (value == null) {
            throw new TensorException("state " + name + " has no memory yet: Parameters.build gives it, which follows a method's build");
        }
        return value;
    }

    void place(Tensor values) {
        value = values;
    }

    @Override
    public String toString() {
        return name + java.util.Arrays.toString(shape);
    }
}

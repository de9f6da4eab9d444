// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.layer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A trained tensor: a named part of the flat buffers of its {@link Parameters}. */
public final class Parameter {
    private final String name;
    private final long[] shape;
    private final Initializer initializer;
    private final FileLayout fileLayout;
    private final boolean decay;
    private long offset = -1;
    private @Nullable Tensor value;
    private @Nullable Supplier<Tensor> gradients;
    private @Nullable Tensor gradient;
    private @Nullable Function<DType, ComputeCopy> copies;

    Parameter(String name, Initializer initializer, FileLayout fileLayout, boolean decay, long... shape) {
        this.name = name;
        this.initializer = initializer;
        this.fileLayout = fileLayout;
        this.decay = decay;
        this.shape = shape.clone();
    }

    /** The name in files, for example {@code backbone.layer1.0.conv1.weight}. */
    public String name() {
        return name;
    }

    /** The shape in memory. */
    public long[] shape() {
        return shape.clone();
    }

    /** Number of elements. */
    public long elements() {
        long n = 1;
        for (long d : shape) {
            n *= d;
        }
        return n;
    }

    /** How files order its dimensions. */
    public FileLayout fileLayout() {
        return fileLayout;
    }

    /** Whether weight decay and layer-wise adaptation apply; by default to tensors of two or more dimensions. */
    public boolean decay() {
        return decay;
    }

    /** Place of its first element in the flat buffers. */
    public long offset() {
        built();
        return offset;
    }

    /** The values. A forward pass uses {@link Pass#use}, not this. */
    public Tensor value() {
        built();
        return value;
    }

    /** The gradient, to which every backward adds until {@link Parameters#zeroGradients}. */
    public Tensor gradient() {
        built();
        if (gradient == null) {
            gradient = gradients.get();
        }
        return gradient;
    }

    /** Where the values are in the dtype that a network computes in, other than f32. */
    ComputeCopy copy(DType type) {
        built();
        return copies.apply(type);
    }

    Initializer initializer() {
        return initializer;
    }

    void place(long at, Tensor values, Supplier<Tensor> gradients, Function<DType, ComputeCopy> copies) {
        offset = at;
        this.copies = copies;
        value = values;
        this.gradients = gradients;
    }

    private void built() {
        if (value == null) {
            throw new TensorException("parameter " + name + " has no memory yet: Parameters.build gives it, which follows a method's build");
        }
    }

    @Override
    public String toString() {
        return name + java.util.Arrays.toString(shape);
    }
}

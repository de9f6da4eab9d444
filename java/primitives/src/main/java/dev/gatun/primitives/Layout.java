// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.util.Arrays;

/** Shape and element strides of an operand; immutable. The last dimension of every operand has stride 1. */
public final class Layout {
    /** Largest number of dimensions. */
    public static final int MAX_RANK = 5;

    private final DType dtype;
    private final long[] shape;
    private final long[] strides;
    /** -1: more than there are numbers for. */
    private final long span;

    private Layout(DType dtype, long[] shape, long[] strides) {
        this.dtype = dtype;
        this.shape = shape;
        this.strides = strides;
        this.span = span(dtype, shape, strides);
    }

    private static long span(DType dtype, long[] shape, long[] strides) {
        long last = 0;
        for (int i = 0; i < shape.length; i++) {
            if (shape[i] == 0) {
                return 0;
            }
            long more = (shape[i] - 1) * strides[i];
            if (Math.multiplyHigh(shape[i] - 1, strides[i]) != 0 || more < 0 || last + more < 0) {
                return -1;
            }
            last += more;
        }
        return last < Long.MAX_VALUE / dtype.bytes() ? (last + 1) * dtype.bytes() : -1;
    }

    /** A contiguous layout. */
    public static Layout of(DType dtype, long... shape) {
        long[] strides = new long[shape.length];
        long stride = 1;
        for (int i = shape.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride = Math.multiplyExact(stride, Math.max(shape[i], 1));
        }
        return strided(dtype, shape, strides);
    }

    /** A layout with the given element strides. */
    public static Layout strided(DType dtype, long[] shape, long[] strides) {
        if (shape.length < 1 || shape.length > MAX_RANK) {
            throw new IllegalArgumentException("a layout has 1 to " + MAX_RANK + " dimensions, not " + shape.length);
        }
        if (strides.length != shape.length) {
            throw new IllegalArgumentException("shape " + Arrays.toString(shape) + " and strides " + Arrays.toString(strides)
                    + " differ in length");
        }
        for (int i = 0; i < shape.length; i++) {
            if (shape[i] < 0 || strides[i] < 0) {
                throw new IllegalArgumentException("negative extent or stride: shape " + Arrays.toString(shape) + " strides "
                        + Arrays.toString(strides));
            }
        }
        return new Layout(dtype, shape.clone(), strides.clone());
    }

    /** Type of the elements. */
    public DType dtype() {
        return dtype;
    }

    /** Number of dimensions. */
    public int rank() {
        return shape.length;
    }

    /** Extent of a dimension. */
    public long size(int dimension) {
        return shape[dimension];
    }

    /** Elements between neighbours along a dimension. */
    public long stride(int dimension) {
        return strides[dimension];
    }

    /** Extents of all dimensions. */
    public long[] shape() {
        return shape.clone();
    }

    /** Element strides of all dimensions. */
    public long[] strides() {
        return strides.clone();
    }

    /** Number of elements. */
    public long elements() {
        long count = 1;
        for (long extent : shape) {
            count = Math.multiplyExact(count, extent);
        }
        return count;
    }

    /** Bytes from the first element to the end of the last one; what memory must hold at least. */
    public long spanBytes() {
        if (span < 0) {
            throw new ArithmeticException("the span of " + this + " is beyond 64 bits");
        }
        return span;
    }

    /** As {@link #spanBytes}, or -1. */
    long span() {
        return span;
    }

    /** Whether the elements lie one after the other. */
    public boolean contiguous() {
        long expected = 1;
        for (int i = shape.length - 1; i >= 0; i--) {
            if (shape[i] > 1 && strides[i] != expected) {
                return false;
            }
            expected *= shape[i];
        }
        return true;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Layout layout
                && dtype == layout.dtype
                && Arrays.equals(shape, layout.shape)
                && Arrays.equals(strides, layout.strides);
    }

    @Override
    public int hashCode() {
        return 31 * (31 * dtype.hashCode() + Arrays.hashCode(shape)) + Arrays.hashCode(strides);
    }

    @Override
    public String toString() {
        String text = dtype + Arrays.toString(shape);
        return contiguous() ? text : text + " strides " + Arrays.toString(strides);
    }
}

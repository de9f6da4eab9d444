// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Arithmetic on shapes and element strides. */
final class Shapes {
    /** As many dimensions as a native layout holds. */
    static final int MAX_RANK = 5;

    private Shapes() {}

    static long elements(long[] shape) {
        if (shape.length > MAX_RANK) {
            throw new TensorException("a tensor has at most " + MAX_RANK + " dimensions, given " + text(shape));
        }
        long n = 1;
        for (long d : shape) {
            if (d < 0) {
                throw new TensorException("a shape has a negative size: " + text(shape));
            }
            try {
                n = Math.multiplyExact(n, d);
            } catch (ArithmeticException overflow) {
                throw new TensorException("the shape " + text(shape) + " has too many elements");
            }
        }
        return n;
    }

    static long[] contiguous(long[] shape) {
        long[] strides = new long[shape.length];
        long s = 1;
        for (int i = shape.length - 1; i >= 0; i--) {
            strides[i] = s;
            s *= Math.max(1, shape[i]);
        }
        return strides;
    }

    static boolean isContiguous(long[] shape, long[] strides) {
        long s = 1;
        for (int i = shape.length - 1; i >= 0; i--) {
            if (shape[i] == 0) {
                return true;
            }
            if (shape[i] != 1 && strides[i] != s) {
                return false;
            }
            s *= shape[i];
        }
        return true;
    }

    static String text(long[] shape) {
        return Arrays.toString(shape).replace('[', '(').replace(']', ')');
    }

    /** A dimension index, negative ones counted from the end. */
    static int dim(int dim, int rank) {
        int d = dim < 0 ? dim + rank : dim;
        if (d < 0 || d >= rank) {
            throw new TensorException("dimension " + dim + " of a tensor of rank " + rank);
        }
        return d;
    }

    /** Replaces one −1 by what the number of elements demands. */
    static long[] infer(long elements, long[] shape) {
        long[] result = shape.clone();
        int hole = -1;
        long known = 1;
        for (int i = 0; i < shape.length; i++) {
            if (shape[i] == -1 && hole < 0) {
                hole = i;
            } else {
                known = Math.multiplyExact(known, shape[i]);
            }
        }
        if (hole >= 0) {
            if (known == 0 || elements % known != 0) {
                throw new TensorException(elements + " elements do not fit the shape " + text(shape));
            }
            result[hole] = elements / known;
        }
        if (elements(result) != elements) {
            throw new TensorException(elements + " elements do not fit the shape " + text(shape));
        }
        return result;
    }

    /** Strides that show the same memory under another shape, or null if a copy is needed. */
    static long @Nullable [] view(long[] shape, long[] strides, long[] target) {
        long[] result = contiguous(target);
        if (elements(shape) == 0) {
            return result;
        }
        // dimensions of size 1 carry no information
        int n = 0;
        long[] size = new long[shape.length];
        long[] step = new long[shape.length];
        for (int i = 0; i < shape.length; i++) {
            if (shape[i] != 1) {
                size[n] = shape[i];
                step[n++] = strides[i];
            }
        }
        int from = 0;
        int to = 0;
        while (from < n) {
            int fromEnd = from + 1;
            int toEnd = to;
            long have = size[from];
            long want = 1;
            while (want < have || (toEnd < target.length && target[toEnd] == 1)) {
                want *= target[toEnd++];
                while (want > have) {
                    if (fromEnd == n) {
                        return null;
                    }
                    have *= size[fromEnd++];
                }
            }
            for (int i = from; i + 1 < fromEnd; i++) {
                if (step[i] != step[i + 1] * size[i + 1]) {
                    return null;
                }
            }
            long s = step[fromEnd - 1];
            for (int i = toEnd - 1; i >= to; i--) {
                result[i] = s;
                s *= target[i];
            }
            from = fromEnd;
            to = toEnd;
        }
        return result;
    }

    /** The shape of an elementwise result, right-aligned; sizes must be equal or 1. */
    static long[] broadcast(String operation, long[] a, long[] b) {
        int rank = Math.max(a.length, b.length);
        long[] result = new long[rank];
        for (int i = 1; i <= rank; i++) {
            long x = i <= a.length ? a[a.length - i] : 1;
            long y = i <= b.length ? b[b.length - i] : 1;
            if (x != y && x != 1 && y != 1) {
                throw new TensorException(operation + ": shapes " + text(a) + " and " + text(b) + " do not broadcast");
            }
            result[rank - i] = x == 1 ? y : x;
        }
        return result;
    }
}

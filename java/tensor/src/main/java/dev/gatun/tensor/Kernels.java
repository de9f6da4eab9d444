// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The elementwise and reduction primitives as tensors use them. */
final class Kernels {
    enum Binary {
        ADD,
        SUB,
        MUL,
        DIV
    }

    enum Unary {
        ADD,
        MUL,
        EXP,
        LOG,
        SQRT,
        SQUARE
    }

    private Kernels() {}

    private interface Visit {
        void at(long a, long b, long c);
    }

    private static long[] strides(Tensor t, long[] shape) {
        long[] result = new long[shape.length];
        int shift = shape.length - t.rank();
        for (int i = 0; i < t.rank(); i++) {
            result[i + shift] = t.shapeArray()[i] == 1 ? 0 : t.stridesArray()[i];
        }
        return result;
    }

    private static void each(long[] shape, long[] a, long[] b, long[] c, int dim, long x, long y, long z, Visit v) {
        if (dim == shape.length) {
            v.at(x, y, z);
            return;
        }
        for (long i = 0; i < shape[dim]; i++) {
            each(shape, a, b, c, dim + 1, x + i * a[dim], y + i * b[dim], z + i * c[dim], v);
        }
    }

    private static float get(MemorySegment s, long i) {
        return s.getAtIndex(ValueLayout.JAVA_FLOAT, i);
    }

    private static void set(MemorySegment s, long i, float v) {
        s.setAtIndex(ValueLayout.JAVA_FLOAT, i, v);
    }

    static void copy(Tensor from, Tensor to) {
        long[] shape = to.shapeArray();
        int bytes = to.dtype().bytes();
        MemorySegment s = from.segment();
        MemorySegment d = to.segment();
        if (from.isContiguous() && to.isContiguous()) {
            d.copyFrom(s.asSlice(0, d.byteSize()));
            return;
        }
        each(shape, strides(from, shape), strides(to, shape), strides(to, shape), 0, 0, 0, 0, (x, y, z) ->
                MemorySegment.copy(s, x * bytes, d, y * bytes, bytes));
    }

    static void fill(Tensor t, float value) {
        MemorySegment d = t.segment();
        long[] st = strides(t, t.shapeArray());
        each(t.shapeArray(), st, st, st, 0, 0, 0, 0, (x, y, z) -> set(d, x, value));
    }

    static void binary(Binary op, Tensor a, Tensor b, Tensor out) {
        long[] shape = out.shapeArray();
        MemorySegment p = a.segment();
        MemorySegment q = b.segment();
        MemorySegment r = out.segment();
        each(shape, strides(a, shape), strides(b, shape), strides(out, shape), 0, 0, 0, 0, (x, y, z) -> {
            float u = get(p, x);
            float w = get(q, y);
            set(r, z, switch (op) {
                case ADD -> u + w;
                case SUB -> u - w;
                case MUL -> u * w;
                case DIV -> u / w;
            });
        });
    }

    static void unary(Unary op, Tensor a, float k, Tensor out) {
        long[] shape = out.shapeArray();
        MemorySegment p = a.segment();
        MemorySegment r = out.segment();
        each(shape, strides(a, shape), strides(a, shape), strides(out, shape), 0, 0, 0, 0, (x, y, z) -> {
            float u = get(p, x);
            set(r, z, switch (op) {
                case ADD -> u + k;
                case MUL -> u * k;
                case EXP -> (float) Math.exp(u);
                case LOG -> (float) Math.log(u);
                case SQRT -> (float) Math.sqrt(u);
                case SQUARE -> u * u;
            });
        });
    }

    /** to += factor · from. */
    static void accumulate(Tensor to, Tensor from, float factor) {
        long[] shape = to.shapeArray();
        MemorySegment p = from.segment();
        MemorySegment r = to.segment();
        each(shape, strides(from, shape), strides(from, shape), strides(to, shape), 0, 0, 0, 0, (x, y, z) ->
                set(r, z, get(r, z) + factor * get(p, x)));
    }

    static void sum(Tensor a, Tensor b, Tensor out) {
        binary(Binary.ADD, a, b, out);
    }

    static void sumTo(Tensor x, Tensor out) {
        out.zero();
        long[] shape = x.shapeArray();
        MemorySegment p = x.segment();
        MemorySegment r = out.segment();
        double[] sums = new double[(int) out.elements()];
        each(shape, strides(x, shape), strides(x, shape), strides(out, shape), 0, 0, 0, 0, (i, j, z) -> sums[(int) z] += get(p, i));
        for (int i = 0; i < sums.length; i++) {
            set(r, i, (float) sums[i]);
        }
    }

    static void repeatTo(Tensor x, Tensor out) {
        long[] shape = out.shapeArray();
        MemorySegment p = x.segment();
        MemorySegment r = out.segment();
        each(shape, strides(x, shape), strides(x, shape), strides(out, shape), 0, 0, 0, 0, (i, j, z) -> set(r, z, get(p, i)));
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.Elementwise;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The elementwise and reduction primitives as tensors use them. */
final class Kernels {
    private Kernels() {}

    static void copy(Tensor from, Tensor to) {
        Elementwise.copy(to.device().stream(), from.operand(), to.operand());
    }

    static void fill(Tensor t, float value) {
        Elementwise.fill(t.device().stream(), value, t.operand());
    }

    static void binary(Elementwise.Binary op, Tensor a, Tensor b, Tensor out) {
        Elementwise.binary(out.device().stream(), op, a.operand(), b.operand(), out.operand());
    }

    static void unary(Elementwise.Unary op, Tensor a, Tensor out) {
        Elementwise.unary(out.device().stream(), op, a.operand(), out.operand());
    }

    static void affine(float alpha, Tensor a, float beta, Tensor out) {
        Elementwise.affine(out.device().stream(), alpha, a.operand(), beta, out.operand());
    }

    /** to += factor · from. */
    static void accumulate(Tensor to, Tensor from, float factor) {
        Elementwise.accumulate(to.device().stream(), factor, from.operand(), to.operand());
    }

    static void sum(Tensor a, Tensor b, Tensor out) {
        binary(Elementwise.Binary.ADD, a, b, out);
    }

    private interface Visit {
        void at(long a, long b);
    }

    private static long[] strides(Tensor t, long[] shape) {
        long[] result = new long[shape.length];
        int shift = shape.length - t.rank();
        for (int i = 0; i < t.rank(); i++) {
            result[i + shift] = t.shapeArray()[i] == 1 ? 0 : t.stridesArray()[i];
        }
        return result;
    }

    private static void each(long[] shape, long[] a, long[] b, int dim, long x, long y, Visit v) {
        if (dim == shape.length) {
            v.at(x, y);
            return;
        }
        for (long i = 0; i < shape[dim]; i++) {
            each(shape, a, b, dim + 1, x + i * a[dim], y + i * b[dim], v);
        }
    }

    static void sumTo(Tensor x, Tensor out) {
        long[] shape = x.shapeArray();
        MemorySegment p = x.segment();
        MemorySegment r = out.segment();
        double[] sums = new double[(int) out.elements()];
        each(shape, strides(x, shape), strides(out, shape), 0, 0, 0, (i, z) ->
                sums[(int) z] += p.getAtIndex(ValueLayout.JAVA_FLOAT, i));
        for (int i = 0; i < sums.length; i++) {
            r.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) sums[i]);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Reduction;

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

    /** Reduces x to the shape of out: over every dimension that out lacks or has at 1. */
    static void reduce(Reduction.Kind kind, Tensor x, Tensor out) {
        GatunStream stream = out.device().stream();
        long bytes = Reduction.workspace(stream, kind, x.operand(), out.operand());
        try (Scope work = out.scope().open()) {
            Reduction.reduce(stream, kind, x.operand(), out.operand(), work.workspace(bytes));
        }
    }

    static void countNonfinite(Tensor x, Tensor count) {
        Reduction.countNonfinite(x.device().stream(), x.operand(), count.operand());
    }

    static int nonfinite(Tensor x) {
        try (Scope work = x.scope().open()) {
            Tensor count = work.empty(DType.I32, 1);
            countNonfinite(x, count);
            return count.toIntArray()[0];
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Reduction;
import java.util.Arrays;

/** Sums and their reverse, repetition. */
final class Reductions {
    private Reductions() {}

    static Tensor sum(Tensor x) {
        return sumTo(x, new long[0]);
    }

    static Tensor mean(Tensor x) {
        return Function.apply(new MeanTo(new long[0]), x);
    }

    static Tensor sum(Tensor x, int dim) {
        int d = Shapes.dim(dim, x.rank());
        long[] kept = x.shape();
        kept[d] = 1;
        return sumTo(x, kept).reshape(without(x.shape(), d));
    }

    static Tensor mean(Tensor x, int dim) {
        int d = Shapes.dim(dim, x.rank());
        long[] kept = x.shape();
        kept[d] = 1;
        return Function.apply(new MeanTo(kept), x).reshape(without(x.shape(), d));
    }

    /** Sums over the dimensions that broadcasting {@code shape} to x's shape would repeat. */
    static Tensor sumTo(Tensor x, long[] shape) {
        return sumTo(x, shape, x.dtype());
    }

    /** As {@link #sumTo(Tensor, long[])}, stored in x's dtype or f32. */
    static Tensor sumTo(Tensor x, long[] shape, DType type) {
        return Arrays.equals(x.shapeArray(), shape) ? x : Function.apply(new SumTo(shape, type), x);
    }

    static Tensor repeatTo(Tensor x, long[] shape) {
        return Arrays.equals(x.shapeArray(), shape) ? x : Function.apply(new RepeatTo(shape), x);
    }

    private static long[] without(long[] shape, int dim) {
        long[] rest = new long[shape.length - 1];
        for (int i = 0, j = 0; i < shape.length; i++) {
            if (i != dim) {
                rest[j++] = shape[i];
            }
        }
        return rest;
    }

    private record SumTo(long[] shape, DType type) implements Function {
        @Override
        public String name() {
            return "sum";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.empty(type, shape);
            Kernels.reduce(Reduction.Kind.SUM, in[0], y);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {repeatTo(g[0].to(c.inputType(0)), c.inputShape(0))};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private record MeanTo(long[] shape) implements Function {
        @Override
        public String name() {
            return "mean";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.empty(in[0].dtype(), shape);
            Kernels.reduce(Reduction.Kind.MEAN, in[0], y);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            long all = Shapes.elements(c.inputShape(0));
            float share = all == 0 ? 0 : (float) ((double) Shapes.elements(shape) / all);
            return new Tensor[] {repeatTo(g[0].mul(share), c.inputShape(0))};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private record RepeatTo(long[] shape) implements Function {
        @Override
        public String name() {
            return "repeat";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.empty(in[0].dtype(), shape);
            Kernels.copy(in[0], y);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {sumTo(g[0], c.inputShape(0), c.gradientType(0))};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }
}

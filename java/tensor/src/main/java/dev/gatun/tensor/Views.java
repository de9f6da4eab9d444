// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.util.Arrays;
import java.util.Optional;

/** Operations that change how memory is seen, with their gradients. */
final class Views {
    private Views() {}

    static Tensor reshape(Tensor x, long... target) {
        long[] shape = Shapes.infer(x.elements(), target);
        return Function.apply(new Reshape(shape), x);
    }

    static Tensor slice(Tensor x, int dim, long from, long to) {
        int d = Shapes.dim(dim, x.rank());
        if (from < 0 || to < from || to > x.size(d)) {
            throw new TensorException("slice: " + from + " to " + to + " of dimension " + d + " of " + x.describe());
        }
        return Function.apply(new Slice(d, from, to, x.shape()), x);
    }

    static Tensor transpose(Tensor x, int a, int b) {
        return Function.apply(new Transpose(Shapes.dim(a, x.rank()), Shapes.dim(b, x.rank())), x);
    }

    static Tensor copy(Tensor x) {
        return Function.apply(new Copy(), x);
    }

    static Tensor concat(int dim, Tensor... parts) {
        if (parts.length == 0) {
            throw new TensorException("concat: no tensors");
        }
        return Function.apply(new Concat(Shapes.dim(dim, parts[0].rank())), parts);
    }

    static Optional<Tensor> adjacent(Tensor... parts) {
        if (parts.length == 0) {
            throw new TensorException("adjacent: no tensors");
        }
        Tensor first = parts[0];
        long[] shape = first.shape();
        long rows = 0;
        long next = first.offset;
        Scope scope = first.scope();
        for (Tensor part : parts) {
            long[] other = part.shape();
            if (other.length == 0 || other.length != shape.length) {
                return Optional.empty();
            }
            rows += other[0];
            other[0] = shape[0];
            boolean fits = Arrays.equals(other, shape) && part.isContiguous() && part.dtype() == first.dtype() && !part.tracked()
                    && part.block == first.block && part.offset == next;
            if (!fits) {
                return Optional.empty();
            }
            next += part.elements();
            scope = Scope.youngest(scope, part.scope());
        }
        shape[0] = rows;
        return Optional.of(first.view(scope, 0, shape, Shapes.contiguous(shape)));
    }

    private record Reshape(long[] target) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor x = in[0];
            long[] strides = Shapes.view(x.shapeArray(), x.stridesArray(), target);
            if (strides != null) {
                return x.view(c.scope(), 0, target, strides);
            }
            Tensor dense = c.scope().empty(x.dtype(), x.shapeArray());
            Kernels.copy(x, dense);
            return dense.view(c.scope(), 0, target, Shapes.contiguous(target));
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].reshape(c.inputShape(0))};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private record Slice(int dim, long from, long to, long[] whole) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            long[] shape = in[0].shape();
            shape[dim] = to - from;
            return in[0].view(c.scope(), from * in[0].stridesArray()[dim], shape, in[0].strides());
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {Function.apply(new Pad(dim, from, whole), g[0])};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    /** The reverse of a slice: zeros around. */
    private record Pad(int dim, long from, long[] whole) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.scope().zeros(in[0].dtype(), whole);
            long[] shape = in[0].shape();
            Kernels.copy(in[0], y.view(c.scope(), from * y.stridesArray()[dim], shape, y.strides()));
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].slice(dim, from, from + c.inputShape(0)[dim])};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private record Transpose(int a, int b) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            long[] shape = in[0].shape();
            long[] strides = in[0].strides();
            swap(shape);
            swap(strides);
            return in[0].view(c.scope(), 0, shape, strides);
        }

        private void swap(long[] values) {
            long t = values[a];
            values[a] = values[b];
            values[b] = t;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0].transpose(a, b)};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private record Copy() implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor y = c.scope().empty(in[0].dtype(), in[0].shapeArray());
            Kernels.copy(in[0], y);
            return y;
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            return new Tensor[] {g[0]};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private record Concat(int dim) implements Function {
        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            long[] shape = in[0].shape();
            long total = 0;
            for (Tensor t : in) {
                long[] other = t.shape();
                if (other.length != shape.length || t.dtype() != in[0].dtype()) {
                    throw misfit(in[0], t);
                }
                total += other[dim];
                other[dim] = shape[dim];
                if (!Arrays.equals(other, shape)) {
                    throw misfit(in[0], t);
                }
            }
            shape[dim] = total;
            Tensor y = c.scope().empty(in[0].dtype(), shape);
            long at = 0;
            for (Tensor t : in) {
                Kernels.copy(t, y.view(c.scope(), at * y.stridesArray()[dim], t.shape(), y.strides()));
                at += t.size(dim);
            }
            return y;
        }

        private TensorException misfit(Tensor a, Tensor b) {
            return new TensorException("concat along " + dim + ": " + b.describe() + " beside " + a.describe());
        }

        @Override
        public Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor[] parts = new Tensor[c.inputs()];
            long at = 0;
            for (int i = 0; i < parts.length; i++) {
                long next = at + c.inputShape(i)[dim];
                if (c.needsGradient(i)) {
                    parts[i] = g[0].slice(dim, at, next);
                }
                at = next;
            }
            return parts;
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import org.jspecify.annotations.Nullable;

/** Matrix product through the device's {@link Gemm}; transposed views are read as they are. */
final class MatMul {
    private MatMul() {}

    static Tensor apply(Tensor x, Tensor y, boolean transposed) {
        if (y.rank() != 2 || x.rank() < 1) {
            throw misfit(x, y, transposed);
        }
        if (x.rank() == 2) {
            return Function.apply(new Product(transposed), x, y);
        }
        long[] shape = x.shape();
        Tensor rows = Function.apply(new Product(transposed), x.reshape(-1, x.size(-1)), y);
        shape[shape.length - 1] = rows.size(1);
        return rows.reshape(shape);
    }

    /** x·wᵀ + b of matrices in one product: the bias is what the result is accumulated on. */
    static Tensor affine(Tensor x, Tensor w, Tensor b) {
        if (x.rank() < 1 || w.rank() != 2 || x.size(-1) != w.size(1) || b.rank() != 1 || b.size(0) != w.size(0)) {
            throw new TensorException("linear: " + x.describe() + " by " + w.describe() + " plus " + b.describe());
        }
        if (x.rank() == 2) {
            return Function.apply(new Affine(), x, w, b);
        }
        long[] shape = x.shape();
        shape[shape.length - 1] = w.size(0);
        return Function.apply(new Affine(), x.reshape(-1, x.size(-1)), w, b).reshape(shape);
    }

    private record Affine() implements Function {
        @Override
        public String name() {
            return "linear";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in[0], in[1]);
            Tensor z = c.empty(in[0].size(0), in[1].size(0));
            Kernels.copy(in[2], z);
            into(in[0], false, in[1], true, 1f, z);
            return z;
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor x = c.saved(0);
            Tensor gw = null;
            if (c.needsGradient(1)) {
                Tensor buffer = c.accumulator(1);
                if (buffer != null) {
                    into(g[0], true, x, false, 1f, buffer);
                } else {
                    gw = g[0].transpose().matmul(x);
                }
            }
            return new Tensor[] {
                c.needsGradient(0) ? g[0].matmul(c.saved(1)) : null, gw, c.needsGradient(2) ? g[0].sum(0) : null
            };
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    private static TensorException misfit(Tensor x, Tensor y, boolean transposed) {
        return new TensorException((transposed ? "matmulTransposed: " : "matmul: ") + x.describe() + " by " + y.describe());
    }

    /** c = op(x) · op(y) + beta · c for matrices, where op is the transpose if asked for. */
    static void into(Tensor x, boolean tx, Tensor y, boolean ty, float beta, Tensor c) {
        Tensor a = readable(tx ? x.detach().transpose() : x, c.scope());
        Tensor b = readable(ty ? y.detach().transpose() : y, c.scope());
        c.device().gemm().multiply(c.device().stream(), 1f, a.operand(), b.operand(), beta, c.operand());
    }

    /** A matrix with contiguous rows or contiguous columns: itself where it has, else a copy. */
    private static Tensor readable(Tensor t, Scope scope) {
        long[] s = t.stridesArray();
        long[] n = t.shapeArray();
        boolean rows = (s[1] == 1 || n[1] <= 1) && (s[0] >= n[1] || n[0] <= 1);
        boolean columns = (s[0] == 1 || n[0] <= 1) && (s[1] >= n[0] || n[1] <= 1);
        return rows || columns ? t : t.copy(scope);
    }

    /** x·y or x·yᵀ of matrices. */
    private record Product(boolean transposed) implements Function {
        @Override
        public String name() {
            return transposed ? "matmulTransposed" : "matmul";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            Tensor x = in[0];
            Tensor y = in[1];
            if (x.dtype() != DType.F32 || y.dtype() != DType.F32 || x.size(1) != y.size(transposed ? 1 : 0)) {
                throw misfit(x, y, transposed);
            }
            c.save(x, y);
            Tensor z = c.empty(x.size(0), y.size(transposed ? 0 : 1));
            into(x, false, y, transposed, 0f, z);
            return z;
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor x = c.saved(0);
            Tensor y = c.saved(1);
            Tensor z = g[0];
            Tensor gx = null;
            Tensor gy = null;
            if (c.needsGradient(0)) {
                gx = transposed ? z.matmul(y) : z.matmulTransposed(y);
            }
            if (c.needsGradient(1)) {
                Tensor buffer = c.accumulator(1);
                if (buffer != null) {
                    // a parameter: the library adds to its gradient
                    into(transposed ? z : x, true, transposed ? x : z, false, 1f, buffer);
                } else {
                    gy = transposed ? z.transpose().matmul(x) : x.transpose().matmul(z);
                }
            }
            return new Tensor[] {gx, gy};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import dev.gatun.primitives.DType;
import org.jspecify.annotations.Nullable;

/**
 * Matrix product through the device's {@link Gemm}; transposed views are read as they are. Operands have one dtype, f32, bf16 or f16, and the
 * result has it too; sums are f32, and so are the buffers of parameters' gradients, to which the library adds.
 */
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

    /** x·wᵀ + b in one call where the library offers it; otherwise the bias is what the product is added to. */
    static Tensor affine(Tensor x, Tensor w, Tensor b) {
        boolean dtypes = multiplies(x.dtype()) && w.dtype() == x.dtype() && (b.dtype() == x.dtype() || b.dtype() == DType.F32);
        if (!dtypes || x.rank() < 1 || w.rank() != 2 || x.size(-1) != w.size(1) || b.rank() != 1 || b.size(0) != w.size(0)) {
            throw new TensorException("linear: " + x.describe() + " by " + w.describe() + " plus " + b.describe());
        }
        if (x.rank() == 2) {
            return Function.apply(new Affine(), x, w, b);
        }
        long[] shape = x.shape();
        shape[shape.length - 1] = w.size(0);
        return Function.apply(new Affine(), x.reshape(-1, x.size(-1)), w, b).reshape(shape);
    }

    private static boolean multiplies(DType dtype) {
        return dtype == DType.F32 || dtype == DType.BF16 || dtype == DType.F16;
    }

    /** linear of matrices. */
    record Affine() implements Function {
        @Override
        public String name() {
            return "linear";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            c.save(in[0], in[1]);
            Tensor z = c.scope().empty(in[0].dtype(), in[0].size(0), in[1].size(0));
            try (Scope work = c.scope().open()) {
                Tensor x = readable(in[0], work);
                Tensor w = readable(in[1].detach().transpose(), work);
                Tensor b = in[2];
                if (b.dtype() != z.dtype() || !b.isContiguous()) {
                    // a library's bias has the result's dtype
                    b = work.empty(z.dtype(), b.size(0));
                    Kernels.copy(in[2], b);
                }
                Gemm gemm = c.device().gemm();
                if (gemm.offers(Gemm.Epilogue.BIAS, x.operand(), w.operand(), 0f, z.operand())) {
                    gemm.multiply(work, x.operand(), w.operand(), 0f, z.operand(), Gemm.Epilogue.BIAS, b.operand());
                } else {
                    Kernels.copy(b, z);
                    gemm.multiply(work, 1f, x.operand(), w.operand(), 1f, z.operand());
                }
            }
            return z;
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor x = c.saved(0);
            Tensor gx = c.needsGradient(0) ? g[0].matmul(c.saved(1)) : null;
            if (c.createsGraph()) {
                Tensor gw = c.needsGradient(1) ? g[0].transpose().matmul(x) : null;
                return new Tensor[] {gx, gw, columnSums(c, g[0])};
            }
            if (!c.needsGradient(1)) {
                return new Tensor[] {gx, null, columnSums(c, g[0])};
            }
            Tensor buffer = c.accumulator(1);
            Tensor gw = buffer != null ? buffer : c.emptyGradient(1);
            Tensor gb = null;
            try (Scope work = c.scope().open()) {
                Tensor left = readable(g[0].detach().transpose(), work);
                Tensor right = readable(x, work);
                float beta = buffer != null ? 1f : 0f;
                Gemm gemm = c.device().gemm();
                Gemm.Epilogue sums = Gemm.Epilogue.BIAS_GRADIENT;
                if (c.needsGradient(2) && gemm.offers(sums, left.operand(), right.operand(), beta, gw.operand())) {
                    gb = c.scope().empty(gw.dtype(), c.inputShape(2));
                    gemm.multiply(work, left.operand(), right.operand(), beta, gw.operand(), sums, gb.operand());
                } else {
                    gemm.multiply(work, 1f, left.operand(), right.operand(), beta, gw.operand());
                    gb = columnSums(c, g[0]);
                }
            }
            return new Tensor[] {gx, buffer != null ? null : gw, gb == null ? null : gb.to(c.gradientType(2))};
        }

        /** The gradient of the bias by itself, rounded once. */
        private static @Nullable Tensor columnSums(FunctionContext c, Tensor g) {
            return c.needsGradient(2) ? Reductions.sumTo(g, c.inputShape(2), c.gradientType(2)) : null;
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
        try (Scope work = Scope.youngest(Scope.youngest(x.scope(), y.scope()), c.scope()).open()) {
            Tensor a = readable(tx ? x.detach().transpose() : x, work);
            Tensor b = readable(ty ? y.detach().transpose() : y, work);
            c.device().gemm().multiply(work, 1f, a.operand(), b.operand(), beta, c.operand());
        }
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
            if (!multiplies(x.dtype()) || y.dtype() != x.dtype() || x.size(1) != y.size(transposed ? 1 : 0)) {
                throw misfit(x, y, transposed);
            }
            c.save(x, y);
            Tensor z = c.scope().empty(x.dtype(), x.size(0), y.size(transposed ? 0 : 1));
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

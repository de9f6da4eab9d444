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

    private static TensorException misfit(Tensor x, Tensor y, boolean transposed) {
        return new TensorException((transposed ? "matmulTransposed: " : "matmul: ") + x.describe() + " by " + y.describe());
    }

    /** C = alpha · x · op(y) + beta · C for matrices of any strides that a leading dimension can express. */
    static void into(Tensor x, boolean tx, Tensor y, boolean ty, float beta, Tensor c) {
        Matrix a = Matrix.of(x);
        Matrix b = Matrix.of(y);
        Matrix out = Matrix.of(c);
        if (out.transposed || out.tensor != c) {
            throw new TensorException("matmul: the result " + c.describe() + " is not row-major");
        }
        long k = tx ? x.size(0) : x.size(1);
        c.device()
                .gemm()
                .multiply(
                        a.transposed ^ tx,
                        b.transposed ^ ty,
                        c.size(0),
                        c.size(1),
                        k,
                        1f,
                        a.tensor.segment(),
                        a.leading,
                        b.tensor.segment(),
                        b.leading,
                        beta,
                        c.segment(),
                        out.leading);
    }

    /** How a library sees a matrix: stored row-major, perhaps transposed. */
    private record Matrix(Tensor tensor, boolean transposed, long leading) {
        static Matrix of(Tensor t) {
            long[] s = t.stridesArray();
            long[] n = t.shapeArray();
            // a single row or column fits either way; prefer the one that needs no copy
            if ((s[1] == 1 || n[1] == 1) && (s[0] >= Math.max(1, n[1]) || n[0] == 1)) {
                return new Matrix(t, false, n[0] == 1 ? Math.max(1, n[1]) : s[0]);
            }
            if ((s[0] == 1 || n[0] == 1) && (s[1] >= Math.max(1, n[0]) || n[1] == 1)) {
                return new Matrix(t, true, n[1] == 1 ? Math.max(1, n[0]) : s[1]);
            }
            Tensor dense = t.detach().contiguous();
            return new Matrix(dense, false, Math.max(1, n[1]));
        }
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

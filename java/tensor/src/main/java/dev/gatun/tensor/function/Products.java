// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.Elementwise;
import dev.gatun.primitives.GatunStream;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.LayerNorm;
import dev.gatun.primitives.Matmul;
import dev.gatun.primitives.Operand;
import dev.gatun.primitives.Reduction;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** The matrix products of {@link PreNormBranch} with what is done on their way into and out of the cache. */
final class Products {
    private final GatunStream stream;
    private final Scope scope;

    Products(GatunStream stream, Scope scope) {
        this.stream = stream;
        this.scope = scope;
    }

    GatunStream stream() {
        return stream;
    }

    Scope scope() {
        return scope;
    }

    private void run(Matmul product) {
        try (Scope work = scope.open()) {
            product.run(stream, work.workspace(product.workspace(stream)));
        }
    }

    private static Operand transposed(Tensor t) {
        Operand o = t.operand();
        Layout layout = Layout.strided(t.dtype(), new long[] {t.size(1), t.size(0)}, new long[] {1, t.size(1)});
        return new Operand(o.segment(), layout);
    }

    private static Operand optional(@Nullable Tensor t) {
        return t == null ? Operand.NONE : t.operand();
    }

    /** y = norm(x)·wᵀ + b; mean and rstd are written. */
    void normLinear(Tensor x, Tensor gamma, Tensor beta, float epsilon, Tensor mean, Tensor rstd, Tensor w, Tensor b, Tensor y) {
        run(Matmul.of(x.operand(), transposed(w), y.operand())
                .layerNormA(epsilon, gamma.operand(), beta.operand(), mean.operand(), rstd.operand())
                .bias(b.operand()));
    }

    /** y = residual + scale ⊙ (f(x)·wᵀ + b), f GELU or nothing. */
    void linear(Tensor x, boolean gelu, Tensor w, Tensor b, @Nullable Tensor scale, @Nullable Tensor residual, Tensor y) {
        Matmul product = Matmul.of(x.operand(), transposed(w), y.operand())
                .bias(b.operand())
                .factors(Operand.NONE, optional(scale))
                .residual(optional(residual));
        run(gelu ? product.geluA() : product);
    }

    /** dw = dyᵀ·f(x), db = the sums of dy's rows, or added to what is there. */
    void weightGradient(Tensor dy, Tensor x, boolean gelu, boolean add, Tensor dw, Tensor db) {
        Matmul product = Matmul.of(transposed(dy), x.operand(), dw.operand()).sumsOfA(db.operand());
        gradient(gelu ? product.geluB() : product, add);
    }

    private void gradient(Matmul product, boolean add) {
        run(add ? product.accumulate() : product);
    }

    /** dx = (scale ⊙ dy)·w, times GELU's derivative at {@code hidden} if there is one. */
    void inputGradient(Tensor dy, Tensor w, @Nullable Tensor scale, @Nullable Tensor hidden, Tensor dx) {
        Matmul product = Matmul.of(dy.operand(), w.operand(), dx.operand()).scaleA(Operand.NONE, optional(scale));
        run(hidden == null ? product : product.geluGradient(hidden.operand()));
    }

    /** dw = dyᵀ·norm(x), db = the sums of dy's rows, or added to what is there. */
    void normWeightGradient(Tensor dy, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor rstd, boolean add, Tensor dw, Tensor db) {
        gradient(Matmul.of(transposed(dy), x.operand(), dw.operand())
                .layerNormB(gamma.operand(), beta.operand(), mean.operand(), rstd.operand())
                .sumsOfA(db.operand()), add);
    }

    /** The norm's gradients: {@code dy} becomes that of x; those of gamma and beta are added to what is given. */
    void normBackward(
            Tensor x, Tensor gamma, Tensor mean, Tensor rstd, Tensor dy, @Nullable Tensor dgamma, @Nullable Tensor dbeta) {
        try (Scope work = scope.open()) {
            Tensor g = dgamma == null ? null : work.empty(gamma.shape());
            Tensor b = dbeta == null ? null : work.empty(gamma.shape());
            long bytes = LayerNorm.backwardWorkspace(stream, x.operand(), gamma.operand(), mean.operand(), rstd.operand(), dy.operand(),
                    dy.operand(), optional(g), optional(b));
            LayerNorm.backward(stream, x.operand(), gamma.operand(), mean.operand(), rstd.operand(), dy.operand(), dy.operand(),
                    optional(g), optional(b), work.workspace(bytes));
            if (g != null) {
                accumulate(g, dgamma);
            }
            if (b != null) {
                accumulate(b, dbeta);
            }
        }
    }

    /** to += from. */
    void accumulate(Tensor from, Tensor to) {
        Elementwise.accumulate(stream, 1f, from.operand(), to.operand());
    }

    /**
     * With z = h·wᵀ + b behind LayerScale: from G = dyᵀ·h and s = Σ dy, dscale = Σ over columns of w ⊙ G + b ⊙ s, dw = scale ⊙ G,
     * db = scale ⊙ s. So the branch's result need not be kept.
     */
    void layerScaleGradients(
            Tensor scale, Tensor w, Tensor b, Tensor g, Tensor s, @Nullable Tensor dw, @Nullable Tensor db, @Nullable Tensor dscale) {
        try (Scope work = scope.open()) {
            if (dscale != null) {
                Tensor product = work.empty(w.shape());
                Elementwise.binary(stream, Elementwise.Binary.MULTIPLY, w.operand(), g.operand(), product.operand());
                Tensor sums = work.empty(w.size(0), 1);
                long bytes = Reduction.workspace(stream, Reduction.Kind.SUM, product.operand(), sums.operand());
                Reduction.reduce(stream, Reduction.Kind.SUM, product.operand(), sums.operand(), work.workspace(bytes));
                accumulate(sums.reshape(-1), dscale);
                Tensor biases = work.empty(b.shape());
                Elementwise.binary(stream, Elementwise.Binary.MULTIPLY, b.operand(), s.operand(), biases.operand());
                accumulate(biases, dscale);
            }
            if (dw != null) {
                Elementwise.binary(stream, Elementwise.Binary.MULTIPLY, g.operand(), scale.reshape(-1, 1).operand(), g.operand());
                accumulate(g, dw);
            }
            if (db != null) {
                Elementwise.binary(stream, Elementwise.Binary.MULTIPLY, s.operand(), scale.operand(), s.operand());
                accumulate(s, db);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor;

import java.util.Optional;

import dev.gatun.primitives.DType;

/** What is computed from tensors, under the names it has in formulas; recorded where an input is tracked. */
abstract sealed class TensorArithmetic permits Tensor {
    abstract Tensor self();

    /**
     * The values of a floating tensor in another floating type, each rounded once; itself where it has the type. Recorded: the gradient is
     * cast back.
     *
     * @throws TensorException if this or the type is not f32, bf16 or f16, or the device computes in f32 only
     */
    public Tensor to(DType type) {
        return Cast.apply(self(), type);
    }

    /** Sum, with broadcasting: sizes are equal or 1, shapes aligned at the right. */
    public Tensor add(Tensor other) {
        return Elementary.add(self(), other);
    }

    /** Difference, with broadcasting. */
    public Tensor sub(Tensor other) {
        return Elementary.sub(self(), other);
    }

    /** Product of elements, with broadcasting. */
    public Tensor mul(Tensor other) {
        return Elementary.mul(self(), other);
    }

    /** Quotient of elements, with broadcasting. */
    public Tensor div(Tensor other) {
        return Elementary.div(self(), other);
    }

    /** Adds a constant. */
    public Tensor add(float value) {
        return Elementary.addScalar(self(), value);
    }

    /** Multiplies by a constant. */
    public Tensor mul(float value) {
        return Elementary.mulScalar(self(), value);
    }

    /** −x. */
    public Tensor neg() {
        return mul(-1f);
    }

    /** eˣ. */
    public Tensor exp() {
        return Elementary.exp(self());
    }

    /** Natural logarithm. */
    public Tensor log() {
        return Elementary.log(self());
    }

    /** Square root. */
    public Tensor sqrt() {
        return Elementary.sqrt(self());
    }

    /** x². */
    public Tensor square() {
        return Elementary.square(self());
    }

    /** The sum of all elements, a scalar. */
    public Tensor sum() {
        return Reductions.sum(self());
    }

    /** The mean of all elements, a scalar. */
    public Tensor mean() {
        return Reductions.mean(self());
    }

    /** Sums along a dimension, which disappears. */
    public Tensor sum(int dim) {
        return Reductions.sum(self(), dim);
    }

    /** Means along a dimension, which disappears. */
    public Tensor mean(int dim) {
        return Reductions.mean(self(), dim);
    }

    /** Matrix product x·y: (M, K)·(K, N); leading dimensions of x are rows when y is a matrix. */
    public Tensor matmul(Tensor y) {
        return MatMul.apply(self(), y, false);
    }

    /** x·yᵀ: (M, K)·(N, K)ᵀ, the form of a linear layer and of similarities. */
    public Tensor matmulTransposed(Tensor y) {
        return MatMul.apply(self(), y, true);
    }

    /** The linear layer x·wᵀ + b: (..., K), (N, K), (N) to (..., N). */
    public Tensor linear(Tensor weight, Tensor bias) {
        return MatMul.affine(self(), weight, bias);
    }

    /**
     * Tensors that lie one after the other in one memory, such as slices of a tensor, as one along their first dimension, without a copy.
     *
     * @return empty if they are not contiguous, not neighbours in this order, tracked, or differ in dtype or their other sizes
     */
    public static Optional<Tensor> adjacent(Tensor... parts) {
        return Views.adjacent(parts);
    }
}

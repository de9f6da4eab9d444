// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.Attention;
import dev.gatun.primitives.DType;
import dev.gatun.primitives.Layout;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.lang.foreign.MemorySegment;

/** x + factor · γ ⊙ proj(attention(qkv(norm(x)))), every sequence attending to itself alone. */
public final class PreNormAttention extends PreNormBranch {
    private static final int QKV = 0;
    private static final int LOG_SUM_EXP = 1;
    private static final int MIXED = 2;

    private final int heads;

    private PreNormAttention(Sequences sequences, int heads, double epsilon, boolean consumes) {
        super(sequences, epsilon, consumes);
        this.heads = heads;
    }

    /**
     * The branch added to x.
     *
     * @param sequences how x's tokens belong to sequences, and which run through the branch
     * @param heads divides C
     * @param epsilon the norm's
     * @param consumes whether x is not used any more by the caller: the result may take its memory, if nobody else needs it
     * @param x f32 (..., C), the tokens one after the other
     * @param parameters f32: the norm's weight (C) and bias (C), qkv's weight (3C, C) and bias (3C), proj's weight (C, C) and bias (C), and
     *     LayerScale's γ (C) if there is one
     * @return shape of x
     * @throws TensorException if a shape does not fit, or the device does not offer it ({@link #offered})
     */
    public static Tensor apply(Sequences sequences, int heads, double epsilon, boolean consumes, Tensor x, Tensor... parameters) {
        Tensor[] in = inputs(x, parameters);
        require("pre-norm attention", sequences, in, 3);
        if (heads < 1 || x.size(-1) % heads != 0 || in[OUT_WEIGHT].size(1) != x.size(-1)) {
            throw new TensorException("pre-norm attention: " + heads + " heads in " + x.describe() + ", projected by " + in[OUT_WEIGHT].describe());
        }
        return Function.apply(new PreNormAttention(sequences, heads, epsilon, consumes), in);
    }

    @Override
    public String name() {
        return "pre-norm attention";
    }

    @Override
    int owns() {
        return 3;
    }

    @Override
    Tensor[] own(Scope keeps, long rows, Tensor... in) {
        long width = in[OUT_WEIGHT].size(1);
        return new Tensor[] {keeps.empty(rows, 3 * width), keeps.empty(rows, heads), keeps.empty(rows, width)};
    }

    @Override
    boolean gelu() {
        return false;
    }

    /** Queries, keys or values of a piece's tokens. */
    private Operand part(Tensor qkv, Sequences.Piece piece, int index) {
        long width = qkv.size(1) / 3;
        long length = piece.group().length();
        long[] shape = {piece.sequences(), length, heads, width / heads};
        long[] strides = {3 * width * length, 3 * width, width / heads, 1};
        Layout layout = Layout.strided(DType.F32, shape, strides);
        MemorySegment memory = qkv.segment();
        long start = index * width * Float.BYTES;
        return new Operand(memory.asSlice(Math.min(start, memory.byteSize()), layout.spanBytes()), layout);
    }

    private Attention.Inputs inputs(Tensor qkv, Sequences.Piece piece) {
        float scale = (float) (1 / Math.sqrt(qkv.size(1) / 3.0 / heads));
        return Attention.Inputs.batched(part(qkv, piece, 0), part(qkv, piece, 1), part(qkv, piece, 2), scale);
    }

    private Operand mixed(Tensor rows, Sequences.Piece piece) {
        return rows.part(0, piece.sequences(), piece.group().length(), heads, rows.size(1) / heads).operand();
    }

    private Operand logSumExp(Tensor kept, Sequences.Piece piece) {
        return kept.part(piece.keptRow() * heads, piece.sequences(), heads, piece.group().length()).operand();
    }

    @Override
    void between(Products products, Sequences.Piece piece, Tensor[] own) {
        Attention.Inputs inputs = inputs(of(own[QKV], piece), piece);
        Operand out = mixed(of(own[MIXED], piece), piece);
        Operand logSumExp = logSumExp(own[LOG_SUM_EXP], piece);
        try (Scope work = products.scope().open()) {
            long bytes = Attention.forwardWorkspace(products.stream(), inputs, out, logSumExp);
            Attention.forward(products.stream(), inputs, out, logSumExp, work.workspace(bytes));
        }
    }

    @Override
    Tensor betweenBackward(Products products, Scope work, Sequences.Piece piece, Tensor[] own, Tensor gradient) {
        Tensor dqkv = scratch(work, piece, own[QKV].size(1));
        Attention.Inputs inputs = inputs(of(own[QKV], piece), piece);
        Attention.Gradients gradients = new Attention.Gradients(part(dqkv, piece, 0), part(dqkv, piece, 1), part(dqkv, piece, 2));
        Operand out = mixed(of(own[MIXED], piece), piece);
        Operand logSumExp = logSumExp(own[LOG_SUM_EXP], piece);
        Operand dout = mixed(gradient, piece);
        try (Scope inner = work.open()) {
            long bytes = Attention.backwardWorkspace(products.stream(), inputs, out, logSumExp, dout, gradients);
            Attention.backward(products.stream(), inputs, out, logSumExp, dout, gradients, inner.workspace(bytes));
        }
        return dqkv;
    }

    @Override
    public String composedForm() {
        return "a TransformerBlock that is composed, and in place of its layer norm and attention tensor operations";
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Device;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A residual branch of a pre-norm transformer block as one function: x + factor · γ ⊙ branch(norm(x)). It goes through the tokens in
 * pieces of whole sequences, so that what lies between two products is still in the cache when it is read. For backward it keeps what
 * products need, and computes what is cheap once more: normalised rows from x and the rows' statistics, activations, the branch's result.
 *
 * <p>Inputs: x, the norm's weight and bias, weight and bias of the first and of the last linear layer, and LayerScale's γ if there is one.
 */
public abstract sealed class PreNormBranch implements Function permits PreNormAttention, PreNormMlp {
    static final int X = 0;
    static final int NORM_WEIGHT = 1;
    static final int NORM_BIAS = 2;
    static final int IN_WEIGHT = 3;
    static final int IN_BIAS = 4;
    static final int OUT_WEIGHT = 5;
    static final int OUT_BIAS = 6;
    static final int LAYER_SCALE = 7;

    /** Rows of a piece: few enough that what lies between two products stays in the cache. */
    private static final int PIECE = 1600;

    /** Pieces are gone through in so many chains side by side; each has its own sums of the gradients of weights. */
    private static final int CHAINS = 4;

    private final Sequences sequences;
    private final float epsilon;
    private final boolean consumes;

    PreNormBranch(Sequences sequences, double epsilon, boolean consumes) {
        this.sequences = sequences;
        this.epsilon = (float) epsilon;
        this.consumes = consumes;
    }

    /** Whether a device has such branches in a dtype. Where not, they are composed of other functions. */
    public static boolean offered(Device device, DType type) {
        return device.sharesHostMemory() && type == DType.F32;
    }

    static Tensor[] inputs(Tensor x, Tensor... parameters) {
        if (parameters.length != OUT_BIAS && parameters.length != LAYER_SCALE) {
            throw new TensorException("a pre-norm branch has six parameters, or seven with LayerScale, not " + parameters.length);
        }
        Tensor[] in = new Tensor[parameters.length + 1];
        in[X] = x;
        System.arraycopy(parameters, 0, in, 1, parameters.length);
        return in;
    }

    /** Checks the sizes of everything but x. @param hidden width of what the last layer takes; null: any */
    static void require(String name, Sequences sequences, Tensor[] in, long factor) {
        long width = in[X].rank() < 2 ? -1 : in[X].size(-1);
        boolean fits = width >= 0 && in[X].elements() == sequences.tokens() * width && offered(in[X].device(), in[X].dtype());
        long hidden = in[OUT_WEIGHT].rank() == 2 ? in[OUT_WEIGHT].size(1) : -1;
        long[][] shapes = {in[X].shape(), {width}, {width}, {factor * hidden, width}, {factor * hidden}, {width, hidden}, {width}, {width}};
        for (int i = 1; i < in.length && fits; i++) {
            fits = Arrays.equals(in[i].shape(), shapes[i]) && in[i].dtype() == DType.F32 && in[i].isContiguous();
        }
        if (!fits) {
            throw new TensorException(name + ": " + sequences.tokens() + " tokens, "
                    + String.join(", ", Arrays.stream(in).map(Tensor::describe).toList()));
        }
    }

    /** How many tensors {@link #own} makes. */
    abstract int owns();

    /** Makes what the branch keeps of so many rows: first its first layer's result, last what its last layer takes. */
    abstract Tensor[] own(Scope keeps, long rows, Tensor... in);

    /** From the first layer's result to what is kept for the last. */
    abstract void between(Products products, Sequences.Piece piece, Tensor[] own);

    /** The gradient of the first layer's result, in scratch memory, from that of what the last layer takes. */
    abstract Tensor betweenBackward(Products products, Scope work, Sequences.Piece piece, Tensor[] own, Tensor gradient);

    /** A piece's rows of something that is kept. */
    static Tensor of(Tensor kept, Sequences.Piece piece) {
        long columns = kept.size(1);
        return kept.part(piece.keptRow() * columns, piece.rows(), columns);
    }

    /** Whether what the last layer takes is the GELU of what is kept. */
    abstract boolean gelu();

    /** A group's sequences in the matrix of all tokens. */
    private static Tensor group(Tensor all, Sequences.Piece piece, long width) {
        return all.part(piece.groupToken() * width, piece.group().count(), piece.group().length(), width);
    }

    private static Tensor sequences(Tensor rows, Sequences.Piece piece, long width) {
        return rows.part(0, piece.sequences(), piece.group().length(), width);
    }

    private static Operand indices(Sequences.Piece piece) {
        return piece.group().kept().part(piece.first(), piece.sequences()).operand();
    }

    private Tensor rows(Tensor x, Sequences.Piece piece, long width) {
        return sequences.some()
                ? x.part(piece.keptRow() * width, piece.rows(), width)
                : x.part(piece.token() * width, piece.rows(), width);
    }

    @Override
    public final Tensor forward(FunctionContext c, Tensor... in) {
        long width = in[X].size(-1);
        boolean some = sequences.some();
        Tensor x = c.dense(in[X]);
        Tensor y = some && consumes && c.overwritable(x) ? x : c.like(x);
        if (y == x) {
            x.written();
        } else if (some) {
            y.copyFrom(x);
        }
        List<List<Sequences.Piece>> chains = sequences.chains(CHAINS, PIECE);
        try (Scope work = c.scope().open()) {
            // what nobody will read in backward need not outlive this call
            Scope keeps = c.needsGradient() ? c.scope() : work;
            Tensor rows = some ? keeps.empty(sequences.rows(), width) : x;
            Tensor mean = keeps.empty(sequences.rows());
            Tensor rstd = keeps.empty(sequences.rows());
            Tensor[] kept = own(keeps, sequences.rows(), in);
            c.device().lanes().run(work, chains.size(), (stream, own, chain) -> {
                Products products = new Products(stream, own);
                for (Sequences.Piece piece : chains.get(chain)) {
                    forward(products, piece, in, x, rows, mean, rstd, kept, y);
                }
            });
            List<Tensor> saved = new ArrayList<>(Arrays.asList(in));
            saved.set(X, rows);
            saved.add(mean);
            saved.add(rstd);
            saved.addAll(Arrays.asList(kept));
            c.save(saved.toArray(Tensor[]::new));
        }
        return y;
    }

    private void forward(
            Products products, Sequences.Piece piece, Tensor[] in, Tensor x, Tensor rows, Tensor mean, Tensor rstd, Tensor[] own, Tensor y) {
        long width = in[NORM_WEIGHT].elements();
        Tensor scale = in.length > LAYER_SCALE ? in[LAYER_SCALE] : null;
        Tensor read = rows(rows, piece, width);
        if (sequences.some()) {
            dev.gatun.primitives.GatherRows.forward(
                    products.stream(), group(x, piece, width).operand(), indices(piece), sequences(read, piece, width).operand());
        }
        products.normLinear(read, in[NORM_WEIGHT], in[NORM_BIAS], epsilon, statistics(mean, piece), statistics(rstd, piece),
                in[IN_WEIGHT], in[IN_BIAS], of(own[0], piece));
        between(products, piece, own);
        Tensor last = of(own[own.length - 1], piece);
        if (!sequences.some()) {
            products.linear(last, gelu(), in[OUT_WEIGHT], in[OUT_BIAS], scale, read, rows(y, piece, width));
            return;
        }
        try (Scope work = products.scope().open()) {
            Tensor out = scratch(work, piece, width);
            products.linear(last, gelu(), in[OUT_WEIGHT], in[OUT_BIAS], null, null, out);
            Operand all = group(y, piece, width).operand();
            dev.gatun.primitives.StochasticDepth.forward(products.stream(), all, sequences(out, piece, width).operand(), indices(piece),
                    Operand.NONE, scale == null ? Operand.NONE : scale.operand(), all, piece.group().factor());
        }
    }

    /** Rows for a piece, of memory whose size does not depend on how many sequences were drawn. */
    static Tensor scratch(Scope work, Sequences.Piece piece, long columns) {
        long length = piece.group().length();
        long most = Math.min(Math.max(1, PIECE / length), piece.group().most() / CHAINS + 1) * length;
        return work.empty(Math.max(most, piece.rows()) * columns).part(0, piece.rows(), columns);
    }

    private static Tensor statistics(Tensor of, Sequences.Piece piece) {
        return of.part(piece.keptRow(), piece.rows());
    }

    @Override
    public final @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        int inputs = c.inputs();
        Tensor[] in = new Tensor[inputs];
        Tensor[] gradients = new Tensor[inputs];
        Tensor[] into = new Tensor[inputs];
        for (int i = 0; i < inputs; i++) {
            in[i] = c.saved(i);
            into[i] = i == X || !c.needsGradient(i) ? null : c.accumulator(i);
            if (i != X && c.needsGradient(i) && into[i] == null) {
                into[i] = c.emptyGradient(i).zero();
                gradients[i] = into[i];
            }
        }
        Tensor[] kept = new Tensor[owns()];
        for (int i = 0; i < kept.length; i++) {
            kept[i] = c.saved(inputs + 2 + i);
        }
        Tensor dx = c.reuse(g[0]);
        if (dx != g[0]) {
            dx.copyFrom(g[0]);
        }
        if (c.needsGradient(X)) {
            gradients[X] = dx;
        }
        Tensor mean = c.saved(inputs);
        Tensor rstd = c.saved(inputs + 1);
        List<List<Sequences.Piece>> chains = sequences.chains(CHAINS, PIECE);
        try (Scope work = c.scope().open()) {
            Products products = new Products(c.stream(), work);
            BranchGradients[] sums = new BranchGradients[chains.size()];
            for (int i = 0; i < sums.length; i++) {
                sums[i] = new BranchGradients(work, in, into, i == 0);
            }
            c.device().lanes().run(work, chains.size(), (stream, own, chain) -> {
                Products its = new Products(stream, own);
                for (Sequences.Piece piece : chains.get(chain)) {
                    backward(its, piece, in, mean, rstd, kept, dx, sums[chain]);
                }
            });
            for (int i = 1; i < sums.length; i++) {
                sums[0].add(products, sums[i]);
            }
            if (sums.length > 0) {
                sums[0].finish(products, in, into);
            }
        }
        return gradients;
    }

    /** A piece's part of the gradients; {@code dx}, at first the gradient of the result, becomes that of x. */
    private void backward(
            Products products, Sequences.Piece piece, Tensor[] in, Tensor mean, Tensor rstd, Tensor[] own, Tensor dx, BranchGradients sums) {
        long width = in[NORM_WEIGHT].elements();
        Tensor scale = in.length > LAYER_SCALE ? in[LAYER_SCALE] : null;
        Tensor last = of(own[own.length - 1], piece);
        try (Scope work = products.scope().open()) {
            Tensor dy = sequences.some() ? scratch(work, piece, width) : rows(dx, piece, width);
            if (sequences.some()) {
                dev.gatun.primitives.StochasticDepth.backward(products.stream(), group(dx, piece, width).operand(), Operand.NONE,
                        indices(piece), Operand.NONE, Operand.NONE, sequences(dy, piece, width).operand(), Operand.NONE,
                        piece.group().factor(), MemorySegment.NULL);
            }
            sums.last(products, dy, last, gelu());
            Tensor dlast = scratch(work, piece, last.size(1));
            products.inputGradient(dy, in[OUT_WEIGHT], scale, gelu() ? last : null, dlast);
            Tensor din = betweenBackward(products, work, piece, own, dlast);
            Tensor read = rows(in[X], piece, width);
            sums.first(products, din, read, in, statistics(mean, piece), statistics(rstd, piece));
            Tensor dnorm = scratch(work, piece, width);
            products.inputGradient(din, in[IN_WEIGHT], null, null, dnorm);
            sums.norm(products, read, in, statistics(mean, piece), statistics(rstd, piece), dnorm);
            if (sequences.some()) {
                Operand all = group(dx, piece, width).operand();
                dev.gatun.primitives.StochasticDepth.forward(products.stream(), all, sequences(dnorm, piece, width).operand(),
                        indices(piece), Operand.NONE, Operand.NONE, all, 1f);
            } else {
                products.accumulate(dnorm, dy);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.DeviceKind;
import dev.gatun.primitives.LinearCrossEntropy.Inputs;
import dev.gatun.primitives.LinearCrossEntropy.Result;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Cross-entropy between soft targets and softmax(z·prototypesᵀ / temperature), from features and prototypes: on the CPU no matrix of scores
 * is kept, as loss and gradients are computed together (Caron et al., 2020, section 3.1: a swapped prediction).
 */
public final class LinearCrossEntropy implements Function {
    private final Tensor targets;
    private final float temperature;
    private final @Nullable Tensor scores;

    private LinearCrossEntropy(Tensor targets, float temperature, @Nullable Tensor scores) {
        this.targets = targets;
        this.temperature = temperature;
        this.scores = scores;
    }

    /**
     * The mean over rows of −Σₖ tₖ log softmax(z·prototypesᵀ / temperature)ₖ. Targets are constants.
     *
     * @param z (N, D)
     * @param prototypes (K, D), in the dtype of z
     * @param targets f32 (R, K), of any row sum, where R divides N: row n has target n mod R, so that views of a batch share theirs
     * @param temperature positive
     * @return a scalar
     * @throws TensorException where shapes do not fit or targets have a gradient
     */
    public static Tensor apply(Tensor z, Tensor prototypes, Tensor targets, float temperature) {
        return apply(z, prototypes, targets, temperature, null);
    }

    /**
     * As {@link #apply(Tensor, Tensor, Tensor, float)}, where the scores are at hand.
     *
     * @param scores (N, K): z·prototypesᵀ, in the dtype of z, without a gradient; they are not computed again, and the call may overwrite
     *     them, so nothing is to read them afterwards
     * @return a scalar
     * @throws TensorException where shapes do not fit, targets or scores have a gradient, or scores are of other dtype or shape
     */
    public static Tensor apply(Tensor z, Tensor prototypes, Tensor targets, float temperature, @Nullable Tensor scores) {
        if (targets.tracked() || scores != null && scores.tracked()) {
            throw new TensorException("linear cross-entropy: targets and scores have no gradient; detach() them");
        }
        if (z.rank() != 2 || prototypes.rank() != 2 || targets.rank() != 2 || targets.size(0) == 0 || z.size(1) != prototypes.size(1)
                || z.size(0) % targets.size(0) != 0) {
            throw new TensorException("linear cross-entropy: needs z (N, D), prototypes (K, D) and targets (R, K), where R divides N; given "
                    + z.describe() + ", " + prototypes.describe() + ", " + targets.describe());
        }
        boolean f32 = z.dtype() == DType.F32 && prototypes.dtype() == DType.F32 && targets.dtype() == DType.F32;
        if (z.device().kind() == DeviceKind.CPU && f32) {
            return Function.apply(new LinearCrossEntropy(targets, temperature, scores), z, prototypes);
        }
        Tensor logits = scores == null ? z.matmulTransposed(prototypes) : Function.apply(new AtHand(scores), z, prototypes);
        Tensor[] repeated = new Tensor[(int) (z.size(0) / targets.size(0))];
        Arrays.fill(repeated, targets);
        return CrossEntropy.apply(logits, repeated.length == 1 ? targets : Tensor.concat(0, repeated), temperature);
    }

    /** The product of z and the prototypes, whose values are at hand: multiplies for the gradients only. */
    private record AtHand(Tensor scores) implements Function {
        @Override
        public String name() {
            return "linear cross-entropy";
        }

        @Override
        public Tensor forward(FunctionContext c, Tensor... in) {
            long[] shape = {in[0].size(0), in[1].size(0)};
            if (scores.dtype() != in[0].dtype() || in[1].dtype() != in[0].dtype() || !Arrays.equals(scores.shape(), shape)) {
                throw new TensorException("linear cross-entropy: the scores of " + in[0].describe() + " with " + in[1].describe()
                        + " are given as " + scores.describe());
            }
            c.save(in[0], in[1]);
            return Scope.youngest(c.scope(), scores.scope()).attach(scores.detach());
        }

        @Override
        public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
            Tensor gz = c.needsGradient(0) ? g[0].matmul(c.saved(1)) : null;
            Tensor sum = c.needsGradient(1) ? c.accumulator(1) : null;
            if (sum == null) {
                return new Tensor[] {gz, c.needsGradient(1) ? g[0].transpose().matmul(c.saved(0)) : null};
            }
            // a parameter: the product is added in f32, not rounded first
            Tensor left = c.dense(g[0]).detach().transpose();
            Tensor right = c.dense(c.saved(0));
            try (Scope work = c.scope().open()) {
                c.device().gemm().multiply(work, 1f, left.operand(), right.operand(), 1f, sum.operand());
            }
            return new Tensor[] {gz, null};
        }

        @Override
        public boolean twiceDifferentiable() {
            return true;
        }
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor z = c.channels(in[0]);
        Tensor prototypes = c.channels(in[1]);
        Tensor loss = c.empty(z.size(0));
        Tensor dz = c.needsGradient(0) ? c.empty(in[0].shape()) : null;
        Tensor dprototypes = c.needsGradient(1) ? c.empty(in[1].shape()) : null;
        Inputs inputs = new Inputs(
                z.operand(), prototypes.operand(), c.channels(targets).operand(), operand(scores == null ? null : c.channels(scores)), temperature);
        Result result = new Result(loss.operand(), operand(dz), operand(dprototypes), 1f / z.size(0));
        try (Scope work = c.scope().open()) {
            long bytes = dev.gatun.primitives.LinearCrossEntropy.workspace(c.stream(), inputs, result);
            dev.gatun.primitives.LinearCrossEntropy.run(c.stream(), inputs, result, work.workspace(bytes));
        }
        // in the place of one that nobody asked for, anything
        c.save(dz == null ? loss : dz, dprototypes == null ? loss : dprototypes);
        return loss.mean();
    }

    private static Operand operand(@Nullable Tensor tensor) {
        return tensor == null ? Operand.NONE : tensor.operand();
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        return new Tensor[] {
            c.needsGradient(0) ? c.saved(0).mul(g[0]) : null, c.needsGradient(1) ? c.saved(1).mul(g[0]) : null
        };
    }

    @Override
    public String composedForm() {
        return "CrossEntropy of z.matmulTransposed(prototypes), and its composed form";
    }
}

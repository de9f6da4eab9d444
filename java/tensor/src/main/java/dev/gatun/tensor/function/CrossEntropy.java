// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.function;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Function;
import dev.gatun.tensor.FunctionContext;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import org.jspecify.annotations.Nullable;

/**
 * Cross-entropy between targets and softmax(logits / temperature), row by row. Targets are soft (f32, for instance codes) or labels
 * (i32, below 0 for none); they are constants without a gradient.
 */
public final class CrossEntropy implements Function {
    private final float temperature;
    private final Tensor targets;

    private CrossEntropy(float temperature, Tensor targets) {
        this.temperature = temperature;
        this.targets = targets;
    }

    /** The mean over rows with temperature 1; see {@link #apply(Tensor, Tensor, float)}. */
    public static Tensor apply(Tensor logits, Tensor targets) {
        return apply(logits, targets, 1f);
    }

    /**
     * The mean over rows of −Σₖ tₖ log softmax(logits / temperature)ₖ; with labels, over the rows that have one (0 if none has).
     *
     * @param logits (..., K), f32, or on a CUDA device bf16 or f16; the loss is f32
     * @param targets f32 of logits' shape, or i32 (rows)
     * @param temperature positive
     * @return a scalar
     */
    public static Tensor apply(Tensor logits, Tensor targets, float temperature) {
        Tensor rows = rows(logits, targets, temperature);
        return targets.dtype() == DType.I32 ? rows.sum().mul(Share.of(targets, 0)) : rows.mean();
    }

    /** The loss of each row (rows), 0 for rows without a label. */
    public static Tensor rows(Tensor logits, Tensor targets, float temperature) {
        if (targets.tracked()) {
            throw new TensorException("cross-entropy: targets have no gradient; detach() them");
        }
        return Function.apply(new CrossEntropy(temperature, targets), logits);
    }

    @Override
    public Tensor forward(FunctionContext c, Tensor... in) {
        Tensor logits = c.rows(in[0]);
        Tensor rows = targets.dtype() == DType.F32 ? c.rows(targets) : targets;
        Tensor loss = c.empty(logits.elements() / Math.max(1, logits.size(-1)));
        Tensor kept = c.empty(2 * loss.elements());
        dev.gatun.primitives.CrossEntropy.forward(
                c.stream(), temperature, logits.operand(), rows.operand(), loss.operand(), Operand.NONE, kept.operand());
        c.save(logits, rows, kept);
        return loss;
    }

    @Override
    public @Nullable Tensor[] backward(FunctionContext c, Tensor... g) {
        Tensor dlogits = c.empty(c.inputType(0), c.inputShape(0));
        dev.gatun.primitives.CrossEntropy.backward(
                c.stream(),
                temperature,
                c.saved(0).operand(),
                c.saved(1).operand(),
                c.saved(2).operand(),
                c.dense(g[0]).operand(),
                dlogits.operand());
        return new Tensor[] {dlogits};
    }

    @Override
    public String composedForm() {
        return "logits.exp().sum(dim).log() and arithmetic of tensors";
    }
}

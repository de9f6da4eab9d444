// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.primitives.DType;
import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Scope;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.Predicate;

/**
 * What optimizers share: one sweep over the flat buffers of a {@link Parameters}, with the table of where each tensor starts. What
 * changes from step to step (learning rate, gradient scale, skip flag) is read by the kernel from memory.
 */
public abstract class FlatOptimizer implements Optimizer {
    final Parameters parameters;
    private final List<Parameter> order;
    private final Tensor offsets;
    private final Tensor rateScale;
    private final Tensor decayScale;
    private final Tensor learningRate;
    private final Tensor gradientScale;
    private Tensor skip;
    private final Tensor norm;
    private final MemorySegment normWorkspace;

    FlatOptimizer(Parameters parameters, Predicate<Parameter> decays) {
        if (!parameters.isWhole()) {
            throw new TensorException("an optimizer updates a whole store, not the part " + parameters.prefix());
        }
        this.parameters = parameters;
        this.order = parameters.all();
        Scope scope = scope();
        long[] starts = new long[order.size() + 1];
        float[] decay = new float[order.size()];
        for (int i = 0; i < order.size(); i++) {
            starts[i] = order.get(i).offset();
            decay[i] = decays.test(order.get(i)) ? 1f : 0f;
        }
        starts[order.size()] = parameters.values().elements();
        offsets = scope.ofLongs(starts);
        rateScale = scope.full(1f, order.size());
        decayScale = scope.of(decay);
        learningRate = scope.zeros(1);
        gradientScale = scope.full(1f, 1);
        skip = scope.zeros(DType.I32, 1);
        norm = scope.zeros(1);
        normWorkspace = workspace(dev.gatun.primitives.Optimizer.gradientNormWorkspace(
                parameters.values().device().stream(), parameters.gradients().operand()));
    }

    final Scope scope() {
        return parameters.values().scope();
    }

    final Tensor buffer() {
        return scope().zeros(parameters.values().elements());
    }

    final MemorySegment workspace(long bytes) {
        return scope().workspace(bytes);
    }

    final List<Parameter> order() {
        return order;
    }

    final dev.gatun.primitives.Optimizer.Parameters table() {
        return new dev.gatun.primitives.Optimizer.Parameters(
                parameters.values().operand(),
                parameters.gradients().operand(),
                offsets.operand(),
                rateScale.operand(),
                decayScale.operand());
    }

    /** The parameters that {@link #step} updates. */
    public final Parameters parameters() {
        return parameters;
    }

    @Override
    public final void step(float rate) {
        step(learningRate.fill(rate));
    }

    @Override
    public final void step(Tensor rate) {
        if (order.isEmpty()) {
            return;
        }
        update(new dev.gatun.primitives.Optimizer.Control(rate.operand(), gradientScale.operand(), skip.operand()));
        parameters.written();
    }

    abstract void update(dev.gatun.primitives.Optimizer.Control control);

    /** Multiplies the learning rate of one parameter from now on; 0 keeps it (and its decay) as it is. 1 at first. */
    public final void rateScale(Parameter parameter, float scale) {
        int at = order.indexOf(parameter);
        if (at < 0) {
            throw new TensorException("parameter " + parameter.name() + " is not this optimizer's");
        }
        rateScale.slice(0, at, at + 1).fill(scale);
    }

    /** Multiplies all gradients as they are read: 1/n makes n accumulated batches a mean. 1 at first. */
    public final void gradientScale(float scale) {
        gradientScale.fill(scale);
    }

    /** While true, {@link #step} leaves values and state as they are: for a step whose loss was not finite. */
    public final void skip(boolean on) {
        skip.copyFrom(on ? 1 : 0);
    }

    /**
     * Skips by a flag of the caller's, which several optimizers may share.
     *
     * @param flag i32 (1): not 0 leaves values and state as they are
     */
    public final void skipBy(Tensor flag) {
        skip = flag;
    }

    /**
     * Measures the Euclidean norm of all gradients, unscaled, without a trip to the host. Where it is not finite, the skip flag is set.
     *
     * @return f32 (1), overwritten by the next call
     */
    public final Tensor gradientNorm() {
        measure(Operand.NONE, skip.operand(), Float.POSITIVE_INFINITY);
        return norm;
    }

    /**
     * Measures the Euclidean norm of all gradients, unscaled, and sets the gradient scale to min(1, maxNorm / norm); what
     * {@link #gradientScale(float)} set before is forgotten.
     *
     * @param maxNorm positive; infinity only measures
     * @return the norm before clipping; not finite if a gradient is not
     */
    public final float clip(float maxNorm) {
        measure(gradientScale.operand(), Operand.NONE, maxNorm);
        return norm.item();
    }

    private void measure(Operand scale, Operand flag, float maxNorm) {
        dev.gatun.primitives.Optimizer.gradientNorm(
                parameters.values().device().stream(), parameters.gradients().operand(), norm.operand(), scale, flag, maxNorm, normWorkspace);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.util.List;
import java.util.function.Predicate;

/** AdamW (Loshchilov and Hutter, 2019, algorithm 2): decoupled decay, both moments with bias correction. */
public final class AdamW extends FlatOptimizer {
    private final float beta1;
    private final float beta2;
    private final float epsilon;
    private final float weightDecay;
    private final Tensor firstMoment = buffer();
    private final Tensor secondMoment = buffer();
    private final Tensor step = scope().zeros(DType.I64, 1);

    /** With β = (.9, .999), ε = 1e-8 and decay on the parameters that say so. */
    public AdamW(Parameters parameters, float weightDecay) {
        this(parameters, .9f, .999f, 1e-8f, weightDecay, Parameter::decay);
    }

    /** @param decays to which parameters the decay applies */
    public AdamW(
            Parameters parameters, float beta1, float beta2, float epsilon, float weightDecay, Predicate<Parameter> decays) {
        super(parameters, decays);
        this.beta1 = beta1;
        this.beta2 = beta2;
        this.epsilon = epsilon;
        this.weightDecay = weightDecay;
    }

    @Override
    void update(dev.gatun.primitives.Optimizer.Control control) {
        dev.gatun.primitives.Optimizer.advance(step.device().stream(), step.operand(), control.skip());
        dev.gatun.primitives.Optimizer.adamw(
                step.device().stream(),
                table(),
                firstMoment.operand(),
                secondMoment.operand(),
                step.operand(),
                control,
                beta1,
                beta2,
                epsilon,
                weightDecay);
    }

    @Override
    public List<NamedTensor> state() {
        return List.of(
                new NamedTensor("adamw.first_moment", firstMoment),
                new NamedTensor("adamw.second_moment", secondMoment),
                new NamedTensor("adamw.step", step));
    }
}

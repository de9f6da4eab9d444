// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.util.List;
import java.util.function.Predicate;

/** Stochastic gradient descent with momentum: m ← μm + g + wd·p; p ← p − lr·m, or with Nesterov p − lr·(g + wd·p + μm). */
public final class Sgd extends FlatOptimizer {
    private final float momentum;
    private final boolean nesterov;
    private final float weightDecay;
    private final Tensor velocity = buffer();

    /** With decay on the parameters that say so. */
    public Sgd(Parameters parameters, float momentum, boolean nesterov, float weightDecay) {
        this(parameters, momentum, nesterov, weightDecay, Parameter::decay);
    }

    /** @param decays to which parameters the decay applies */
    public Sgd(Parameters parameters, float momentum, boolean nesterov, float weightDecay, Predicate<Parameter> decays) {
        super(parameters, decays);
        this.momentum = momentum;
        this.nesterov = nesterov;
        this.weightDecay = weightDecay;
    }

    @Override
    void update(dev.gatun.primitives.Optimizer.Control control) {
        dev.gatun.primitives.Optimizer.sgd(
                velocity.device().stream(), table(), velocity.operand(), control, momentum, weightDecay, nesterov);
    }

    @Override
    public List<NamedTensor> state() {
        return List.of(new NamedTensor("sgd.velocity", velocity));
    }
}

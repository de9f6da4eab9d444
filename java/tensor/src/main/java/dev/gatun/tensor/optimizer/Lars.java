// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.primitives.DType;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.layer.Parameters;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.Predicate;

/**
 * LARS (You, Gitman, Ginsburg, 2017) as BYOL uses it: u = g + wd·p; u ← u·η‖p‖/‖u‖ per tensor (factor 1 if a norm is 0);
 * m ← μm + u; p ← p − lr·m. Biases and norm weights skip both decay and adaptation.
 */
public final class Lars extends FlatOptimizer {
    private final float momentum;
    private final float weightDecay;
    private final float trust;
    private final Tensor velocity = buffer();
    private final Tensor adapt;
    private final MemorySegment workspace;

    /** With momentum .9, η = .001, decay and adaptation on the parameters that say so. */
    public Lars(Parameters parameters, float weightDecay) {
        this(parameters, .9f, weightDecay, .001f, Parameter::decay);
    }

    /** @param adapts to which parameters decay and adaptation apply */
    public Lars(Parameters parameters, float momentum, float weightDecay, float trust, Predicate<Parameter> adapts) {
        super(parameters, adapts);
        this.momentum = momentum;
        this.weightDecay = weightDecay;
        this.trust = trust;
        byte[] flags = new byte[order().size()];
        for (int i = 0; i < flags.length; i++) {
            flags[i] = (byte) (adapts.test(order().get(i)) ? 1 : 0);
        }
        adapt = scope().empty(DType.U8, flags.length);
        adapt.copyFrom(flags);
        workspace = workspace(dev.gatun.primitives.Optimizer.larsWorkspace(velocity.device().stream(), table()));
    }

    @Override
    void update(dev.gatun.primitives.Optimizer.Control control) {
        dev.gatun.primitives.Optimizer.lars(
                velocity.device().stream(),
                table(),
                velocity.operand(),
                adapt.operand(),
                control,
                momentum,
                weightDecay,
                trust,
                workspace);
    }

    @Override
    public List<NamedTensor> state() {
        return List.of(new NamedTensor("lars.velocity", velocity));
    }
}

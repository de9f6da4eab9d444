// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.primitives.Operand;
import dev.gatun.tensor.NamedTensor;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.layer.Parameters;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * LARC without clipping as SwAV uses it, on every tensor, biases included: u = (g + wd·p)·η‖p‖ / (‖g‖ + wd·‖p‖ + 1e-8) (u = g if
 * a norm is 0), then momentum without decay: m ← μm + u; p ← p − lr·m.
 */
public final class Larc extends FlatOptimizer {
    private final float momentum;
    private final float weightDecay;
    private final float trust;
    private final Tensor velocity = buffer();
    private final MemorySegment workspace;

    /** With momentum .9 and η = .001. */
    public Larc(Parameters parameters, float weightDecay) {
        this(parameters, .9f, weightDecay, .001f);
    }

    /** @param trust η: length of an update relative to the values, before the learning rate */
    public Larc(Parameters parameters, float momentum, float weightDecay, float trust) {
        super(parameters, p -> true);
        this.momentum = momentum;
        this.weightDecay = weightDecay;
        this.trust = trust;
        workspace = workspace(dev.gatun.primitives.Optimizer.larsWorkspace(velocity.device().stream(), table()));
    }

    @Override
    void update(dev.gatun.primitives.Optimizer.Control control) {
        dev.gatun.primitives.Optimizer.larc(
                velocity.device().stream(),
                table(),
                velocity.operand(),
                Operand.NONE,
                control,
                momentum,
                weightDecay,
                trust,
                workspace);
    }

    @Override
    public List<NamedTensor> state() {
        return List.of(new NamedTensor("larc.velocity", velocity));
    }
}

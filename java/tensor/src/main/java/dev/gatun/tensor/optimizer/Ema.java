// SPDX-License-Identifier: Apache-2.0
package dev.gatun.tensor.optimizer;

import dev.gatun.primitives.Operand;
import dev.gatun.tensor.Tensor;
import dev.gatun.tensor.TensorException;
import dev.gatun.tensor.layer.Parameters;

/**
 * Exponential moving average of one network's parameters in another of the same shape: θ′ ← τθ′ + (1 − τ)θ, one sweep over the
 * flat buffers. State such as running statistics is not averaged.
 */
public final class Ema {
    private final Parameters average;
    private final Parameters values;
    private final Tensor momentum;

    /**
     * @param average the target network's parameters, updated
     * @param values the online network's parameters
     */
    public Ema(Parameters average, Parameters values) {
        if (average.values().elements() != values.values().elements()
                || average.all().size() != values.all().size()) {
            throw new TensorException("EMA: the two networks differ: " + average.count() + " and " + values.count() + " values");
        }
        this.average = average;
        this.values = values;
        this.momentum = average.values().scope().zeros(1);
    }

    /** @param tau in [0, 1]: how much of the average is kept */
    public void update(float tau) {
        momentum.fill(tau);
        dev.gatun.primitives.Optimizer.ema(
                momentum.device().stream(),
                average.values().operand(),
                values.values().operand(),
                momentum.operand(),
                Operand.NONE);
        average.written();
    }

    /** The two networks start equal: copies values and state. */
    public void copy() {
        average.copyFrom(values);
    }
}

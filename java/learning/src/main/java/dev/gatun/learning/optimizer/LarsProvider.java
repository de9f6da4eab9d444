// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.optimizer;

import dev.gatun.learning.OptimizerEntry;
import dev.gatun.learning.pipeline.Ranges;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.optimizer.Lars;

/** Offers {@link Lars} as {@code lars}. */
public final class LarsProvider extends OptimizerEntry<LarsProvider.Settings> {
    /**
     * The {@code optimizer} section.
     *
     * @param lr base learning rate
     * @param weightDecay decay of tensors with two or more dimensions
     * @param momentum of the velocity
     * @param trust trust coefficient; biases and norm weights are not adapted
     */
    public record Settings(double lr, float weightDecay, float momentum, float trust) {
        /** The usual settings. */
        public Settings() {
            this(.2, 1.5e-6f, .9f, 1e-3f);
        }

        /** Checks the values. */
        public Settings {
            Ranges.atLeast("lr", lr, 0);
            Ranges.atLeast("weight_decay", weightDecay, 0);
            Ranges.part("momentum", momentum);
            Ranges.above("trust", trust, 0);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public LarsProvider() {
        super("lars", Settings.class, Settings::lr, (s, parameters) ->
                new Lars(parameters, s.momentum(), s.weightDecay(), s.trust(), Parameter::decay));
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.optimizer;

import dev.gatun.learning.OptimizerEntry;
import dev.gatun.learning.pipeline.Ranges;
import dev.gatun.tensor.optimizer.Sgd;

/** Offers {@link Sgd} as {@code sgd}. */
public final class SgdProvider extends OptimizerEntry<SgdProvider.Settings> {
    /**
     * The {@code optimizer} section.
     *
     * @param lr base learning rate
     * @param weightDecay decay of tensors with two or more dimensions
     * @param momentum of the velocity
     * @param nesterov whether the gradient is that after the momentum's step
     */
    public record Settings(double lr, float weightDecay, float momentum, boolean nesterov) {
        /** The usual settings. */
        public Settings() {
            this(.1, 1e-4f, .9f, false);
        }

        /** Checks the values. */
        public Settings {
            Ranges.atLeast("lr", lr, 0);
            Ranges.atLeast("weight_decay", weightDecay, 0);
            Ranges.part("momentum", momentum);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public SgdProvider() {
        super("sgd", Settings.class, Settings::lr, (s, parameters) -> new Sgd(parameters, s.momentum(), s.nesterov(), s.weightDecay()));
    }
}

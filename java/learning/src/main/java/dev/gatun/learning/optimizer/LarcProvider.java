// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.optimizer;

import dev.gatun.learning.OptimizerEntry;
import dev.gatun.learning.pipeline.Ranges;
import dev.gatun.tensor.optimizer.Larc;

/** Offers {@link Larc} as {@code larc}. */
public final class LarcProvider extends OptimizerEntry<LarcProvider.Settings> {
    /**
     * The {@code optimizer} section.
     *
     * @param lr base learning rate
     * @param weightDecay decay of every tensor
     * @param momentum of the velocity
     * @param trust trust coefficient, applied to every tensor
     */
    public record Settings(double lr, float weightDecay, float momentum, float trust) {
        /** The usual settings. */
        public Settings() {
            this(.6, 1e-6f, .9f, 1e-3f);
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
    public LarcProvider() {
        super("larc", Settings.class, Settings::lr, (s, parameters) -> new Larc(parameters, s.momentum(), s.weightDecay(), s.trust()));
    }
}

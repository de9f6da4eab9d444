// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.optimizer;

import dev.gatun.learning.OptimizerEntry;
import dev.gatun.learning.pipeline.Ranges;
import dev.gatun.tensor.layer.Parameter;
import dev.gatun.tensor.optimizer.AdamW;

/** Offers {@link AdamW} as {@code adamw}. */
public final class AdamWProvider extends OptimizerEntry<AdamWProvider.Settings> {
    /**
     * The {@code optimizer} section.
     *
     * @param lr base learning rate
     * @param weightDecay decoupled decay of tensors with two or more dimensions
     * @param beta1 decay of the first moment
     * @param beta2 decay of the second moment
     * @param epsilon added to the root of the second moment
     */
    public record Settings(double lr, float weightDecay, float beta1, float beta2, float epsilon) {
        /** The usual settings. */
        public Settings() {
            this(2e-3, .01f, .9f, .999f, 1e-8f);
        }

        /** Checks the values. */
        public Settings {
            Ranges.atLeast("lr", lr, 0);
            Ranges.atLeast("weight_decay", weightDecay, 0);
            Ranges.part("beta1", beta1);
            Ranges.part("beta2", beta2);
            Ranges.above("epsilon", epsilon, 0);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public AdamWProvider() {
        super("adamw", Settings.class, Settings::lr, (s, parameters) ->
                new AdamW(parameters, s.beta1(), s.beta2(), s.epsilon(), s.weightDecay(), Parameter::decay));
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;

/** Offers {@link Cosub} as {@code cosub}. */
public final class CosubProvider extends MethodEntry<CosubProvider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param loss {@code bce}: a sigmoid for each class, as the authors' code; {@code softmax}: cross-entropy, the paper's alternative
     * @param weight lambda, the share of the loss with which the two submodels teach each other
     */
    public record Settings(
            String loss,
            float weight) {
        /** The paper's settings. */
        public Settings() {
            this("bce", .5f);
        }

        /** Checks the values. */
        public Settings {
            if (!loss.equals("bce") && !loss.equals("softmax")) {
                throw new IllegalArgumentException("loss: no loss " + loss + "; known losses: bce, softmax");
            }
            Ranges.within("weight", weight, 0, 1);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public CosubProvider() {
        super(
                new About(
                        "cosub",
                        "Touvron, Cord, Oquab, Bojanowski, Verbeek, Jegou: Co-training 2^L Submodels for Visual Recognition, 2022",
                        "Touvron et al., 2022",
                        "labels, model.drop_path > 0",
                        "fashion-mnist-cosub.yaml",
                        ""),
                Settings.class,
                Cosub::new);
    }
}

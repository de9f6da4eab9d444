// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link Byol} as {@code byol}. */
public final class ByolProvider extends MethodEntry<ByolProvider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param hidden widths of the projector's and the predictor's hidden layers, each with batch norm and ReLU
     * @param output D, the width of projection and prediction
     * @param tau how much of the target network an update keeps at first; rises to 1 along a cosine
     * @param predictor false leaves the predictor out, which collapses: a negative control
     */
    public record Settings(
            List<Integer> hidden,
            int output,
            double tau,
            boolean predictor) {
        /** The paper's settings for ResNet-50 and 1000 epochs. */
        public Settings() {
            this(List.of(4096), 256, .996, true);
        }

        /** Checks the values. */
        public Settings {
            Ranges.head(hidden, output);
            Ranges.within("tau", tau, 0, 1);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public ByolProvider() {
        super(
                new About(
                        "byol",
                        "Grill, Strub, Altche, Tallec, Richemond, Buchatskaya, Doersch, Pires, Guo, Azar, Piot, Kavukcuoglu, Munos, "
                        + "Valko: Bootstrap Your Own Latent, 2020",
                        "Grill et al., 2020",
                        "2 views",
                        "fashion-mnist-byol.yaml",
                        ""),
                Settings.class,
                Byol::new);
    }
}

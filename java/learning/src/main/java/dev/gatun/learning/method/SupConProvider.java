// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link SupCon} as {@code supcon}. */
public final class SupConProvider extends MethodEntry<SupConProvider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param hidden widths of the projection head's hidden layers, each with a ReLU
     * @param output D, the embedding's width
     * @param temperature of the softmax over the batch
     */
    public record Settings(
            List<Integer> hidden,
            int output,
            float temperature) {
        /** The paper's settings for ResNet-50. */
        public Settings() {
            this(List.of(2048), 128, .07f);
        }

        /** Checks the values. */
        public Settings {
            Ranges.head(hidden, output);
            Ranges.above("temperature", temperature, 0);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public SupConProvider() {
        super(
                new About(
                        "supcon",
                        "Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan: Supervised Contrastive Learning, 2020",
                        "Khosla et al., 2020",
                        "2 views, labels",
                        "fashion-mnist-supcon.yaml",
                        ""),
                Settings.class,
                SupCon::new);
    }
}

// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.method;

import dev.gatun.learning.MethodEntry;
import dev.gatun.learning.pipeline.Ranges;
import java.util.List;

/** Offers {@link SimClr} as {@code simclr}. */
public final class SimClrProvider extends MethodEntry<SimClrProvider.Settings> {
    /**
     * The {@code method} section.
     *
     * @param hidden widths of the projection head's hidden layers, each with batch norm and ReLU
     * @param output D, the embedding's width
     * @param outputNorm whether a batch norm follows the head's last layer, as in the authors' code
     * @param temperature of the softmax over the batch
     */
    public record Settings(
            List<Integer> hidden,
            int output,
            boolean outputNorm,
            float temperature) {
        /** The paper's settings for ResNet-50. */
        public Settings() {
            this(List.of(2048), 128, true, .1f);
        }

        /** Checks the values. */
        public Settings {
            Ranges.head(hidden, output);
            Ranges.above("temperature", temperature, 0);
        }
    }

    /** Found by {@link java.util.ServiceLoader}. */
    public SimClrProvider() {
        super(
                new About(
                        "simclr",
                        "Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations, 2020",
                        "Chen et al., 2020",
                        "2 views",
                        "fashion-mnist-simclr.yaml",
                        "softer views, a larger batch or temperature"),
                Settings.class,
                SimClr::new);
    }
}
